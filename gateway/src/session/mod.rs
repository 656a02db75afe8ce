//! A device's connection after the handshake: bytes in, messages to the device's actor, answers out.
//!
//! Two halves run in one task on the device's worker. The reading half decodes what is there, hands it to the
//! actor and awaits the answer before it reads on, so a full journal or a slow disk slows the device and nothing
//! gathers here. The writing half waits for the journal's syncs and sends what may leave. Neither blocks the
//! other: a device that never reads is still read.
//!
//! Both halves may be dropped at any await: what was handed to the actor is in the journal, and a device that
//! got no acknowledgement sends it again.

mod answers;
pub mod protocol;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use actix::Addr;
use catchment_journal::Position;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::{
    clock::Clock,
    decode::Limits,
    device::{Answer as DeviceAnswer, Attach, Detach, DeviceActor, Hello, SessionId, Take},
    intake::{Intake, Refusal, TimeRules},
    metrics::Metrics,
    session::{
        answers::{Answer, Answers},
        protocol::{Closing, Decoder, Encoder, Kind, Stop},
    },
    shard::{ShardLog, Wait},
};

/// Pause before messages for which there was no room are tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// Pause of each session near the bounds: much less is taken then than the aggregator can take away.
const SLOW_PAUSE: Duration = Duration::from_millis(50);
/// Pause before messages are tried again that were ahead of the disk.
const SYNC_PAUSE: Duration = Duration::from_millis(1);
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
                decoder: RefCell::new(Decoder::new(kind, context.limits, context.series_max)),
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
        self.answers.end();
        // The last acknowledgement is waited for; a device that does not read is not.
        let _ = timeout(FAREWELL, writing).await;
        if why != End::Peer {
            linger(&mut read).await;
        }
        why
    }

    /// The reading half.
    async fn read<R: AsyncRead + Unpin>(&self, read: &mut R, mut buffer: Vec<u8>) -> End {
        let mut stopping = self.context.stopping.clone();
        let mut ended = None;
        loop {
            if let Err(why) = self.decode(&mut buffer, ended).await {
                return why;
            }
            if ended.is_some() {
                return End::Peer;
            }
            tokio::select! {
                biased;
                () = self.end.notified() => return End::Replaced,
                _ = stopping.wait_for(|stopping| *stopping) => return End::Stopping,
                read = fill(read, &mut buffer) => ended = match read {
                    Ok(1..) => None,
                    Ok(0) => Some(Closing::Orderly),
                    Err(_) => Some(Closing::Cut),
                },
            }
        }
    }

    /// Decodes and hands on all that is whole in the buffer.
    async fn decode(&self, buffer: &mut Vec<u8>, ended: Option<Closing>) -> Result<(), End> {
        let mut start = 0;
        loop {
            let mut intake = Intake::default();
            let rules = self.context.rules();
            let rest = buffer.get(start..).unwrap_or_default();
            let (consumed, stop) = self.decoder.borrow_mut().decode(rest, ended, &rules, &mut intake);
            start += consumed;
            self.hand_on(intake).await?;
            match stop {
                Stop::Enough => {}
                Stop::More => break,
                Stop::Broken => return Err(End::Broken),
                Stop::Hello(epoch) => self.hello(epoch).await?,
            }
        }
        if start == buffer.len() {
            // An idle session holds no buffer.
            *buffer = Vec::new();
        } else {
            buffer.drain(..start);
        }
        Ok(())
    }

    /// Hands messages to the device's actor until they are taken.
    async fn hand_on(&self, mut intake: Intake) -> Result<(), End> {
        self.refuse(&std::mem::take(&mut intake.refusals));
        if intake.heads.is_empty() && intake.fresh.is_empty() {
            return Ok(());
        }
        let read_at = self.context.clock.mono();
        let silent = intake.heads.is_empty();
        let mut stopping = self.context.stopping.clone();
        loop {
            let answer =
                self.device.send(Take { session: self.id, intake }).await.map_err(|_| End::Stopping)?;
            match answer {
                DeviceAnswer::Taken { ack, durable_at, refusals, slow } => {
                    self.refuse(&refusals);
                    if !silent && self.encoder.answers() {
                        self.answers.ack(durable_at, ack, read_at);
                    }
                    if slow {
                        self.context.metrics.slowed.inc();
                        sleep(SLOW_PAUSE).await;
                    }
                    return Ok(());
                }
                DeviceAnswer::Wait(_, Wait::Failed(_)) => return Err(End::Failed),
                DeviceAnswer::Wait(same, wait) => {
                    intake = same;
                    let pause = if matches!(wait, Wait::Sync) { SYNC_PAUSE } else { ROOM_PAUSE };
                    self.context.metrics.waits.inc();
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.end.notified() => return Err(End::Replaced),
                        _ = stopping.wait_for(|stopping| *stopping) => return Err(End::Stopping),
                    }
                }
            }
        }
    }

    async fn hello(&self, epoch: String) -> Result<(), End> {
        let hello = Hello { session: self.id, epoch: epoch.as_str().into() };
        let welcome = self.device.send(hello).await.map_err(|_| End::Stopping)?;
        let mut bytes = Vec::new();
        self.encoder.welcome(&epoch, welcome.highest, &mut bytes);
        // A device that says hello over and over without reading has lost its right to an answer.
        if self.answers.push(welcome.durable_at, bytes) { Ok(()) } else { Err(End::Broken) }
    }

    fn refuse(&self, refusals: &[Refusal]) {
        for refusal in refusals {
            self.context.metrics.refuse(refusal.reason, refusal.count.into());
            if !self.encoder.answers() {
                continue;
            }
            let mut bytes = Vec::new();
            self.encoder.refusal(refusal, &mut bytes);
            if !self.answers.push(Position::ZERO, bytes) {
                self.context.metrics.answers_dropped.inc();
            }
        }
    }

    /// The writing half.
    async fn write<W: AsyncWrite + Unpin>(&self, mut write: W) -> End {
        let mut commits = self.context.journal.subscribe();
        loop {
            let commit = commits.borrow_and_update().clone();
            if commit.poisoned.is_some() {
                return End::Failed;
            }
            let ready = self.answers.ready(commit.durable);
            if ready.is_empty() && self.answers.is_done() {
                // close_notify, so that the device knows that nothing was cut off.
                let _ = write.shutdown().await;
                return End::Peer;
            }
            if ready.is_empty() {
                tokio::select! {
                    () = self.answers.changed.notified() => {}
                    changed = commits.changed() => if changed.is_err() { return End::Stopping },
                }
                continue;
            }
            let bytes = self.encode(ready);
            if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                return End::Peer;
            }
        }
    }

    fn encode(&self, answers: Vec<Answer>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for answer in answers {
            match answer {
                Answer::Ack { ack, read_at, .. } => {
                    let took = self.context.clock.mono().saturating_sub(read_at);
                    self.context.metrics.ack_seconds.observe(took.as_secs_f64());
                    self.encoder.ack(ack, &mut bytes);
                }
                Answer::Encoded { bytes: encoded, .. } => bytes.extend_from_slice(&encoded),
            }
        }
        bytes
    }
}
