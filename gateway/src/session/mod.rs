//! A device's connection after the handshake: bytes in, decoded messages to the device's sessions, responses out.
//!
//! Two halves run in one task, which is that of the device's actor. The reading half decodes what is there and hands
//! it on before it reads on, so a full journal or a slow disk slows the device and nothing gathers here. The writing
//! half waits for the journal's syncs and sends what may leave. Neither blocks the other: a device that never reads
//! is still read.
//!
//! Both halves may be dropped at any await: what was handed on is in the journal, and a device that got no
//! acknowledgement sends it again.
//!
//! - `protocol`, `encode`: bytes to messages and responses to bytes, without sockets;
//! - `read`, `write`: the two halves; `responses`: the queue between them; `room`: how a full queue slows the device;
//!   `commit_waiters`: what the writing half waits for;
//! - `protocol_detection`: which protocol the first bytes are of; `detect`: the session before that is known;
//!   `alpn_mismatch`: devices that agreed on one protocol by ALPN and speak another;
//! - `admit`: its place among the connections of its device;
//! - `deadlines`: first byte, message and keep-alive deadlines; `table`: the worker's sessions, and how one is closed from
//!   outside; `unfinished`: the bound over all messages that are not whole; `close_reason`: why a session ended, and what
//!   its device hears of it;
//! - `stream`: the socket and the buffers.

mod admit;
mod alpn_mismatch;
mod close_reason;
pub mod commit_waiters;
mod deadlines;
mod detect;
pub mod encode;
pub mod protocol;
pub mod protocol_detection;
mod read;
pub mod responses;
mod room;
mod stream;
pub mod table;
#[cfg(test)]
mod tests;
pub mod unfinished;
mod write;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use catchment_certs::Accepted;
use catchment_journal::Position;
use catchment_settings::supervise::Supervisor;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use self::close_reason::CloseReason;
use crate::{
    clock::{Clock, nanos},
    decode::DecodeLimits,
    device::{DeviceSessions, SessionId},
    intake::TimeRules,
    metrics::Metrics,
    session::{
        commit_waiters::CommitWaiters,
        encode::Encoder,
        protocol::{Decoder, Protocol, ProtocolOptions},
        responses::ResponseQueue,
        stream::{Duplex, Inbox},
        table::{SessionHandle, SessionTable},
    },
    shard::ShardCell,
};

/// How long an ending session waits for its last acknowledgement to be durable and written.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a session that was ended from here waits for the device to close too.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session shares with its worker.
pub struct Context {
    /// Bounds of one message.
    pub limits: DecodeLimits,
    /// Most series of a device.
    pub series_max: usize,
    /// What the protocols need of the configuration.
    pub protocols: ProtocolOptions,
    /// Oldest age taken.
    pub past_max: Duration,
    /// Farthest future taken.
    pub future_max: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The worker's shard.
    pub shard: Rc<ShardCell>,
    /// How far its journal is synced.
    pub commit_waiters: CommitWaiters,
    /// Who learns of a defect that the shard does not survive.
    pub supervisor: Arc<Supervisor>,
    /// The worker's sessions, by when they were heard, and what they may take.
    pub session_table: SessionTable,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the gateway stops.
    pub ending: CancellationToken,
}

impl Context {
    fn rules(&self) -> TimeRules {
        let now = self.clock.wall();
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

/// The protocol that the two sides agreed on: `None` without an offer, an error for one that is not spoken here.
pub fn negotiated_protocol(accepted: &Accepted) -> Result<Option<Protocol>, CloseReason> {
    let kind = |alpn| Protocol::from_alpn(alpn).ok_or(CloseReason::UnknownProtocol);
    accepted.alpn().map(kind).transpose()
}

/// Serves a connection until it ends.
pub async fn run<S>(
    stream: S,
    negotiated: Result<Option<Protocol>, CloseReason>,
    id: SessionId,
    handle: Rc<SessionHandle>,
    device_sessions: Rc<RefCell<DeviceSessions>>,
    context: Rc<Context>,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, mut inbox) = (Duplex::new(stream), Inbox::default());
    let kind = match negotiated {
        Ok(Some(kind)) => Ok(kind),
        Ok(None) => Box::pin(detect::detect_protocol(&stream, &mut inbox, &handle, &context)).await,
        Err(why) => Err(why),
    };
    let kind = match kind {
        Ok(kind) => kind,
        Err(why) => {
            context.metrics.end_session(why.reason());
            return why;
        }
    };
    let _open = OpenConnection::of(&context, kind);
    let session = Session {
        id,
        stream,
        device_sessions,
        decoder: RefCell::new(Decoder::new(kind, context.limits, context.series_max, &context.protocols)),
        encoder: Encoder::new(kind),
        responses: Rc::default(),
        stalled_at: Cell::default(),
        handle,
        context,
    };
    let why = session.serve(inbox).await;
    session.context.metrics.end_session(why.reason());
    why
}

/// A connection that counts as open until this is dropped, however the session ends.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn of(context: &Context, kind: Protocol) -> Self {
        let connections = context.metrics.open_connections(kind.name());
        connections.inc();
        Self(connections)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Why a session ends whose token was cancelled.
fn cancel_reason(context: &Context) -> CloseReason {
    if context.ending.is_cancelled() { CloseReason::Stopping } else { CloseReason::Replaced }
}

struct Session<S> {
    id: SessionId,
    stream: Duplex<S>,
    device_sessions: Rc<RefCell<DeviceSessions>>,
    decoder: RefCell<Decoder>,
    encoder: Encoder,
    responses: Rc<ResponseQueue>,
    /// What the device had taken when it had not read for too long.
    stalled_at: Cell<Option<u32>>,
    handle: Rc<SessionHandle>,
    context: Rc<Context>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Both halves, until the connection ends.
    async fn serve(&self, inbox: Inbox) -> CloseReason {
        let mut writing = std::pin::pin!(self.write());
        let why = tokio::select! {
            // The reading half first: what it answers is looked for by the other one in the same turn.
            biased;
            why = self.read(inbox) => why,
            why = &mut writing => return why,
        };
        // A token that was cancelled does not say by whom.
        let why = if why == CloseReason::Replaced { self.handle.why().unwrap_or(why) } else { why };
        self.push_close_reason(why);
        self.responses.end();
        // The last acknowledgement is waited for; a device that does not read is not.
        if Box::pin(timeout(DISCONNECT_TIMEOUT, writing)).await.is_err() {
            self.context.metrics.answers_dropped.inc_by(self.responses.unsent_refusals() as u64);
        }
        let lives = match why {
            // Whoever gave way has sent nothing that it could lose an answer to.
            CloseReason::Peer | CloseReason::GaveWay => false,
            CloseReason::Displaced => Box::pin(self.drain_displaced()).await,
            _ => Box::pin(drain_until_closed(&self.stream, DRAIN_TIMEOUT)).await == DrainOutcome::Lives,
        };
        if lives {
            self.handle.record_alive();
        }
        why
    }

    /// Waits for the program of a displaced session to close: first after the error, then after the end of the stream.
    /// Whether it lives matters, which a slow network tells late.
    async fn drain_displaced(&self) -> bool {
        match drain_until_closed(&self.stream, DRAIN_TIMEOUT).await {
            DrainOutcome::Lives => true,
            // A reset would be the word of a system, not of a program.
            DrainOutcome::Broken => false,
            DrainOutcome::Silent => {
                timeout(DRAIN_TIMEOUT, self.stream.shutdown()).await.is_ok_and(|ended| ended.is_ok())
                    && drain_until_closed(&self.stream, DISCONNECT_TIMEOUT).await == DrainOutcome::Lives
            }
        }
    }

    /// Puts the reason in line behind the other responses, where the protocol has words for it.
    fn push_close_reason(&self, why: CloseReason) {
        let mut bytes = Vec::new();
        if let Some((reason, what)) = why.to_client() {
            bytes = self.decoder.borrow_mut().close_packet(reason, what);
        }
        if let Some(what) = why.to_device() {
            self.encoder.close_reason(why.reason(), what, &mut bytes);
        }
        if !bytes.is_empty() {
            self.responses.push(Position::ZERO, bytes);
        }
    }
}

/// What a device did whose session was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DrainOutcome {
    /// It has closed its side in time, or sent something: its program lives.
    Lives,
    /// Nothing.
    Silent,
    /// The connection broke.
    Broken,
}

/// Reads and discards until the device has closed too: closing a socket with unread bytes resets the connection, and the
/// device could lose what was last said to it.
async fn drain_until_closed<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &Duplex<S>,
    longest: Duration,
) -> DrainOutcome {
    let (mut discarded, sent) = (Inbox::default(), Cell::new(false));
    let until_closed = async {
        loop {
            match stream.fill(&mut discarded).await {
                Ok(0) => return DrainOutcome::Lives,
                Ok(_) => {
                    sent.set(true);
                    discarded.consume(discarded.unread().len());
                }
                Err(_) if sent.get() => return DrainOutcome::Lives,
                // Without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return DrainOutcome::Lives,
                Err(_) => return DrainOutcome::Broken,
            }
        }
    };
    let silent = || if sent.get() { DrainOutcome::Lives } else { DrainOutcome::Silent };
    timeout(longest, until_closed).await.unwrap_or_else(|_| silent())
}
