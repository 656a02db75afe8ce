//! A device's connection after the handshake: bytes in, decoded messages to the device's desk, answers out.
//!
//! Two halves run in one task, which is that of the device's actor. The reading half decodes what is there and hands
//! it on before it reads on, so a full journal or a slow disk slows the device and nothing gathers here. The writing
//! half waits for the journal's syncs and sends what may leave. Neither blocks the other: a device that never reads
//! is still read.
//!
//! Both halves may be dropped at any await: what was handed on is in the journal, and a device that got no
//! acknowledgement sends it again.
//!
//! - `protocol`, `encode`: bytes to messages and answers to bytes, without sockets;
//! - `read`, `write`: the two halves; `answers`: what is between them, `room`: and how they slow the
//!   device; `syncs`: what the writing half waits for;
//! - `opening`: which protocol the first bytes are of; `guess`: the session before that is known; `agreed`: who agreed on another;
//! - `admit`: its place among the connections of its device;
//! - `patience`: deadlines; `vitals`: how a session is ended from outside; `unfinished`: the bound over all that is not
//!   whole; `end`: why one ended, and what its device hears of it;
//! - `stream`: the socket and the buffers.

mod admit;
mod agreed;
pub mod answers;
pub mod encode;
mod end;
mod guess;
pub mod opening;
mod patience;
pub mod protocol;
mod read;
mod room;
mod stream;
pub mod syncs;
#[cfg(test)]
mod tests;
pub mod unfinished;
pub mod vitals;
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

pub use self::end::End;
use crate::{
    clock::{Clock, nanos},
    decode::Limits,
    device::{Desk, SessionId},
    intake::TimeRules,
    metrics::Metrics,
    session::{
        answers::Answers,
        encode::Encoder,
        protocol::{Decoder, Kind, Protocols},
        stream::{Duplex, Inbox},
        syncs::Syncs,
        vitals::{Sitting, Vitals},
    },
    shard::ShardCell,
};

/// How long an ending session waits for its last acknowledgement to be durable and written.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a session that was ended from here waits for the device to close too.
const LINGER: Duration = Duration::from_secs(1);

/// What a session shares with its worker.
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
    /// The worker's shard.
    pub shard: Rc<ShardCell>,
    /// How far its journal is synced.
    pub syncs: Syncs,
    /// Who learns of a defect that the shard does not survive.
    pub supervisor: Arc<Supervisor>,
    /// The worker's sessions, by when they were heard, and what they may take.
    pub sitting: Sitting,
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
pub fn agreed(accepted: &Accepted) -> Result<Option<Kind>, End> {
    let kind = |alpn| Kind::agreed(alpn).ok_or(End::UnknownProtocol);
    accepted.alpn().map(kind).transpose()
}

/// Serves a connection until it ends.
pub async fn run<S>(
    stream: S,
    agreed: Result<Option<Kind>, End>,
    id: SessionId,
    vitals: Rc<Vitals>,
    desk: Rc<RefCell<Desk>>,
    context: Rc<Context>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, mut inbox) = (Duplex::new(stream), Inbox::default());
    let kind = match agreed {
        Ok(Some(kind)) => Ok(kind),
        Ok(None) => Box::pin(guess::guess(&stream, &mut inbox, &vitals, &context)).await,
        Err(why) => Err(why),
    };
    let kind = match kind {
        Ok(kind) => kind,
        Err(why) => {
            context.metrics.end_session(why.reason());
            return why;
        }
    };
    let _open = Open::of(&context, kind);
    let session = Session {
        id,
        stream,
        desk,
        decoder: RefCell::new(Decoder::new(kind, context.limits, context.series_max, &context.protocols)),
        encoder: Encoder::new(kind),
        answers: Rc::default(),
        deaf: Cell::default(),
        vitals,
        context,
    };
    let why = session.serve(inbox).await;
    session.context.metrics.end_session(why.reason());
    why
}

/// A connection that counts as open until this is dropped, however the session ends.
struct Open(Gauge);

impl Open {
    fn of(context: &Context, kind: Kind) -> Self {
        let connections = context.metrics.open_connections(kind.name());
        connections.inc();
        Self(connections)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Why a session ends whose token was cancelled.
fn ended(context: &Context) -> End {
    if context.ending.is_cancelled() { End::Stopping } else { End::Replaced }
}

struct Session<S> {
    id: SessionId,
    stream: Duplex<S>,
    desk: Rc<RefCell<Desk>>,
    decoder: RefCell<Decoder>,
    encoder: Encoder,
    answers: Rc<Answers>,
    /// What the device had taken when it had not read for too long.
    deaf: Cell<Option<u32>>,
    vitals: Rc<Vitals>,
    context: Rc<Context>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Both halves, until the connection ends.
    async fn serve(&self, inbox: Inbox) -> End {
        let mut writing = std::pin::pin!(self.write());
        let why = tokio::select! {
            // The reading half first: what it answers is looked for by the other one in the same turn.
            biased;
            why = self.read(inbox) => why,
            why = &mut writing => return why,
        };
        // A token that was cancelled does not say by whom.
        let why = if why == End::Replaced { self.vitals.why().unwrap_or(why) } else { why };
        self.tell(why);
        self.answers.end();
        // The last acknowledgement is waited for; a device that does not read is not.
        if Box::pin(timeout(FAREWELL, writing)).await.is_err() {
            self.context.metrics.answers_dropped.inc_by(self.answers.untold() as u64);
        }
        let lives = match why {
            // Whoever gave way has sent nothing that it could lose an answer to.
            End::Peer | End::GaveWay => false,
            End::Displaced => Box::pin(self.see_off()).await,
            _ => Box::pin(linger(&self.stream, LINGER)).await == Lingered::Lives,
        };
        if lives {
            self.vitals.answer();
        }
        why
    }

    /// Waits for the program of a displaced session to close: first after what it was told, then after the end of the stream.
    /// Whether it lives matters, which a slow network tells late.
    async fn see_off(&self) -> bool {
        match linger(&self.stream, LINGER).await {
            Lingered::Lives => true,
            // A reset would be the word of a system, not of a program.
            Lingered::Broken => false,
            Lingered::Silent => {
                timeout(LINGER, self.stream.shutdown()).await.is_ok_and(|ended| ended.is_ok())
                    && linger(&self.stream, FAREWELL).await == Lingered::Lives
            }
        }
    }

    /// Puts the reason in line behind the other answers, where the protocol has words for it.
    fn tell(&self, why: End) {
        let mut bytes = Vec::new();
        if let Some((reason, what)) = why.to_client() {
            bytes = self.decoder.borrow_mut().goodbye(reason, what);
        }
        if let Some(what) = why.to_device() {
            self.encoder.farewell(why.reason(), what, &mut bytes);
        }
        if !bytes.is_empty() {
            self.answers.push(Position::ZERO, bytes);
        }
    }
}

/// What a device did whose session was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lingered {
    /// It has closed its side in time, or sent something: its program lives.
    Lives,
    /// Nothing.
    Silent,
    /// The connection broke.
    Broken,
}

/// Reads and discards until the device has closed too: closing a socket with unread bytes resets the connection, and the
/// device could lose what was last said to it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &Duplex<S>, longest: Duration) -> Lingered {
    let (mut discarded, sent) = (Inbox::default(), Cell::new(false));
    let until_closed = async {
        loop {
            match stream.fill(&mut discarded).await {
                Ok(0) => return Lingered::Lives,
                Ok(_) => {
                    sent.set(true);
                    discarded.consume(discarded.unread().len());
                }
                Err(_) if sent.get() => return Lingered::Lives,
                // Without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Lingered::Lives,
                Err(_) => return Lingered::Broken,
            }
        }
    };
    let silent = || if sent.get() { Lingered::Lives } else { Lingered::Silent };
    timeout(longest, until_closed).await.unwrap_or_else(|_| silent())
}
