//! A device's connection after the handshake: bytes in, messages to the device's actor, answers out.
//!
//! Two halves run in one task on the device's worker. The reading half decodes what is there, hands it to the
//! actor and awaits the answer before it reads on, so a full journal or a slow disk slows the device and nothing
//! gathers here. The writing half waits for the journal's syncs and sends what may leave. Neither blocks the
//! other: a device that never reads is still read.
//!
//! Both halves may be dropped at any await: what was handed to the actor is in the journal, and a device that
//! got no acknowledgement sends it again.
//!
//! - `protocol`, `encode`: bytes to messages and answers to bytes, without sockets;
//! - `read`, `write`: the two halves; `answers`: what is between them.

pub mod answers;
pub mod encode;
pub mod protocol;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{cell::RefCell, future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use actix::Addr;
use catchment_journal::Position;
use rmqtt_codec::v5::DisconnectReasonCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    clock::Clock,
    decode::Limits,
    device::{Attach, Detach, DeviceActor, SessionId},
    intake::TimeRules,
    metrics::Metrics,
    session::{
        answers::Answers,
        encode::Encoder,
        protocol::{Decoder, Kind, Protocols},
    },
    shard::ShardLog,
};

/// How long an ending session waits for its last acknowledgement to be durable and written.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a session that was ended from here waits for the device to close too.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read at once, by all sessions of a thread into the same buffer.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// Idle sessions hold no read buffer: all of a thread read into this one.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// What a session shares with its worker.
#[derive(Clone)]
pub struct Context {
    /// Bounds of one message.
    pub limits: Limits,
    /// Most series of a device.
    pub series_max: usize,
    /// What the protocols need of the configuration.
    pub protocols: Protocols,
    /// Oldest age taken.
    pub past_max: Duration,
    /// Farthest future taken.
    pub future_max: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The shard's journal, to wait for its syncs.
    pub journal: ShardLog,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Turns true when the gateway stops.
    pub stopping: watch::Receiver<bool>,
}

impl Context {
    fn rules(&self) -> TimeRules {
        let now = self.clock.wall();
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        TimeRules {
            now,
            oldest: catchment_partial::Timestamp::from_nanos(
                now.as_nanos().saturating_sub(nanos(self.past_max)),
            ),
            newest: catchment_partial::Timestamp::from_nanos(
                now.as_nanos().saturating_add(nanos(self.future_max)),
            ),
        }
    }
}

/// Why a session ended, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The device closed the connection, or it broke.
    Peer,
    /// The device sent what cannot be read any further.
    Broken,
    /// The device was silent for longer than it said it would be.
    Silent,
    /// The device speaks a protocol that is not spoken here.
    UnknownProtocol,
    /// Another session of the device took its place.
    Replaced,
    /// The gateway stops.
    Stopping,
    /// The journal has failed.
    Failed,
}

/// Serves a connection until it ends.
pub async fn run<S>(
    stream: S,
    alpn: Option<Vec<u8>>,
    id: SessionId,
    device: Addr<DeviceActor>,
    context: Context,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = Arc::new(Notify::new());
    if device.send(Attach { session: id, end: Arc::clone(&end) }).await.is_err() {
        return End::Stopping;
    }
    let (mut read, write) = tokio::io::split(stream);
    let mut stopping = context.stopping.clone();
    let mut buffer = Vec::new();
    // The first bytes tell the protocol when the handshake did not.
    let first = tokio::select! {
        biased;
        () = end.notified() => Err(End::Replaced),
        _ = stopping.wait_for(|stopping| *stopping) => Err(End::Stopping),
        read = fill(&mut read, &mut buffer) => match (read, buffer.first()) {
            (Ok(1..), Some(first)) => Kind::choose(alpn.as_deref(), *first).ok_or(End::UnknownProtocol),
            _ => Err(End::Peer),
        },
    };
    let why = match first {
        Err(why) => why,
        Ok(kind) => {
            let connections = context.metrics.open_connections(kind.name());
            connections.inc();
            let session = Session {
                id,
                device: device.clone(),
                decoder: RefCell::new(Decoder::new(
                    kind,
                    context.limits,
                    context.series_max,
                    &context.protocols,
                )),
                encoder: Encoder::new(kind),
                answers: Answers::default(),
                end,
                context,
            };
            let why = session.serve(read, write, buffer).await;
            connections.dec();
            why
        }
    };
    let _ = device.send(Detach { session: id }).await;
    why
}

/// Reads once, appending to the buffer; `Ok(0)` at the end.
async fn fill<R: AsyncRead + Unpin>(read: &mut R, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    poll_fn(|task| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut target = ReadBuf::new(scratch);
            match Pin::new(&mut *read).poll_read(task, &mut target) {
                Poll::Ready(Ok(())) => {
                    buffer.extend_from_slice(target.filled());
                    Poll::Ready(Ok(target.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    })
    .await
}

/// Reads and discards until the device has closed too: closing a socket with unread bytes resets the connection,
/// and the device could lose its last acknowledgement.
async fn linger<R: AsyncRead + Unpin>(read: &mut R) {
    let mut discarded = Vec::new();
    let until_closed = async {
        while matches!(fill(read, &mut discarded).await, Ok(1..)) {
            discarded.clear();
        }
    };
    let _ = timeout(LINGER, until_closed).await;
}

struct Session {
    id: SessionId,
    device: Addr<DeviceActor>,
    decoder: RefCell<Decoder>,
    encoder: Encoder,
    answers: Answers,
    end: Arc<Notify>,
    context: Context,
}

impl Session {
    /// Both halves, until the connection ends.
    async fn serve<R, W>(&self, mut read: R, write: W, buffer: Vec<u8>) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut writing = std::pin::pin!(self.write(write));
        let why = tokio::select! {
            why = self.read(&mut read, buffer) => why,
            why = &mut writing => return why,
        };
        let goodbye = match why {
            End::Replaced => {
                Some((DisconnectReasonCode::SessionTakenOver, "a newer connection took its place"))
            }
            End::Stopping => Some((DisconnectReasonCode::ServerShuttingDown, "the gateway stops")),
            End::Silent => Some((DisconnectReasonCode::KeepAliveTimeout, "silent for too long")),
            _ => None,
        };
        if let Some((reason, what)) = goodbye {
            let bytes = self.decoder.borrow_mut().goodbye(reason, what);
            let _ = self.answers.push(Position::ZERO, bytes);
        }
        self.answers.end();
        // The last acknowledgement is waited for; a device that does not read is not.
        let _ = timeout(FAREWELL, writing).await;
        if why != End::Peer {
            linger(&mut read).await;
        }
        why
    }
}
