//! One connection from its first byte to its end.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use catchment_certs::Accepted;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::timeout;

use super::{
    close_reason::CloseReason,
    context::Context,
    detect,
    drain::{DISCONNECT_TIMEOUT, DISTRUSTED_TIMEOUT, DRAIN_TIMEOUT, DrainOutcome, drain_until_closed},
    encode::Encoder,
    handle::SessionHandle,
    protocol::{Decoder, Protocol},
    read_core::ReadCore,
    responses::ResponseQueue,
    stream::{Duplex, Inbox, SessionStream},
};
use crate::device::{DeviceSessions, SessionId};

/// The protocol that the handshake negotiated: `None` without an offer, an error for one that is not spoken here.
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
    S: SessionStream,
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
    let decoder = Decoder::new(kind, context.limits, context.series_max, &context.protocols);
    let responses = Rc::<ResponseQueue>::default();
    let session = Session {
        id,
        stream,
        device_sessions,
        core: RefCell::new(ReadCore::new(kind, decoder, Rc::clone(&responses))),
        encoder: Encoder::new(kind),
        responses,
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

/// A connection whose protocol is known.
pub(super) struct Session<S> {
    pub(super) id: SessionId,
    pub(super) stream: Duplex<S>,
    pub(super) device_sessions: Rc<RefCell<DeviceSessions>>,
    pub(super) core: RefCell<ReadCore>,
    pub(super) encoder: Encoder,
    pub(super) responses: Rc<ResponseQueue>,
    /// What the device had taken when it had not read for too long.
    pub(super) stalled_at: Cell<Option<u32>>,
    pub(super) handle: Rc<SessionHandle>,
    pub(super) context: Rc<Context>,
}

impl<S: SessionStream> Session<S> {
    /// Both halves, until the connection ends.
    async fn serve(&self, inbox: Inbox) -> CloseReason {
        let mut writing = std::pin::pin!(self.write());
        let why = tokio::select! {
            // The reading half first: the writing half looks for its responses in the same turn.
            biased;
            why = self.read(inbox) => why,
            why = &mut writing => {
                self.core.borrow_mut().abandon(&mut self.environment());
                return why;
            }
        };
        // The device's sessions do not say whether it was taken over or displaced.
        let why = if why == CloseReason::Replaced { self.handle.why().unwrap_or(why) } else { why };
        self.core.borrow_mut().end(why, &mut self.environment());
        self.responses.end();
        // The last acknowledgement is waited for; a device that does not read is not.
        let (last_words, drain) = match why.distrusts() {
            true => (DISTRUSTED_TIMEOUT, DISTRUSTED_TIMEOUT),
            false => (DISCONNECT_TIMEOUT, DRAIN_TIMEOUT),
        };
        if Box::pin(timeout(last_words, writing)).await.is_err() {
            self.context.metrics.answers_dropped.inc_by(self.responses.unsent_refusals() as u64);
        }
        // Its connection may stay for some seconds.
        self.responses.clear();
        let lives = match why {
            // An evicted connection has sent nothing, so no response can be lost.
            CloseReason::Peer | CloseReason::GaveWay => false,
            CloseReason::Displaced => Box::pin(self.drain_displaced()).await,
            _ => Box::pin(drain_until_closed(&self.stream, drain)).await == DrainOutcome::Lives,
        };
        // What arrived before a reset says nothing of the program.
        if lives && !self.handle.is_broken() {
            self.handle.record_alive();
        }
        why
    }

    /// Waits for the program of a displaced session to close: first after the error, then after the end of the stream.
    /// Whether it lives matters, and on a slow network that shows late.
    async fn drain_displaced(&self) -> bool {
        match drain_until_closed(&self.stream, DRAIN_TIMEOUT).await {
            DrainOutcome::Lives => true,
            // A reset comes from an operating system, not from a program.
            DrainOutcome::Broken => false,
            DrainOutcome::Silent => {
                timeout(DRAIN_TIMEOUT, self.stream.shutdown()).await.is_ok_and(|ended| ended.is_ok())
                    && drain_until_closed(&self.stream, DISCONNECT_TIMEOUT).await == DrainOutcome::Lives
            }
        }
    }
}
