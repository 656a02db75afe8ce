//! A session before its protocol is known: it waits for the first bytes, and answers bytes of no known protocol.

use std::rc::Rc;

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    close_reason::CloseReason,
    context::Context,
    drain::{DISCONNECT_TIMEOUT, DISTRUSTED_TIMEOUT, DRAIN_TIMEOUT, drain_until_closed},
    encode::Encoder,
    handle::SessionHandle,
    protocol::Protocol,
    protocol_detection::{Detection, Foreign, ProtocolDetector},
    stream::{Duplex, Inbox, SessionStream},
    unfinished::UnfinishedGuard,
};
use crate::intake::Reason;

/// Detects the protocol by the first bytes when the handshake did not decide it. The bytes stay in the inbox, without
/// the padding in front.
pub(super) async fn detect_protocol<S: SessionStream>(
    stream: &Duplex<S>,
    inbox: &mut Inbox,
    handle: &Rc<SessionHandle>,
    context: &Context,
) -> Result<Protocol, CloseReason> {
    let mut detector = ProtocolDetector::default();
    let mut held = UnfinishedGuard::new(&context.session_table.unfinished);
    let deadlines = &context.session_table.deadlines;
    // White space begins no message: however slowly it comes, it extends no deadline.
    let (mut due, mut begun) = (Instant::now() + deadlines.first_byte, false);
    loop {
        let read = tokio::select! {
            biased;
            why = handle.ended() => {
                send_close_reason(stream, why).await;
                return Err(why);
            }
            read = stream.fill(inbox, &context.session_table.waiting) => read,
            () = sleep_until(due) => {
                let why = if begun { CloseReason::Unfinished } else { CloseReason::NoFirst };
                send_close_reason(stream, why).await;
                return Err(why);
            }
        };
        let Ok(count) = read else {
            if begun {
                // What has come may have lost its end.
                context.metrics.refuse(Reason::Malformed, 1);
                context.shard.borrow_mut().note_refused(1);
            }
            return Err(CloseReason::Peer);
        };
        let (padding, detection) = detector.inspect(inbox.unread(), count == 0);
        inbox.consume(padding);
        match detection {
            Detection::Speaks(kind) => return Ok(kind),
            Detection::Foreign(foreign) => {
                Box::pin(reject_foreign(stream, foreign)).await;
                return Err(foreign.close_reason());
            }
            Detection::More if count == 0 => return Err(CloseReason::Peer),
            Detection::More => {}
        }
        let within = !inbox.unread().is_empty();
        if within && !begun {
            due = Instant::now() + deadlines.message;
        }
        held.set(inbox.held(), within && !begun, handle);
        begun |= within;
    }
}

/// Ends the connection in order. Which protocol the device speaks is not known: the reason is sent as a line of JSON,
/// which people can read too.
async fn send_close_reason<S: SessionStream>(stream: &Duplex<S>, why: CloseReason) {
    let mut bytes = Vec::new();
    if let Some(what) = why.to_device() {
        Encoder::new(Protocol::Json).close_reason(why.reason(), what, &mut bytes);
    }
    let ended = async {
        let _ = stream.write(&bytes).await;
        let _ = stream.shutdown().await;
    };
    let _ = timeout(if why.distrusts() { DISTRUSTED_TIMEOUT } else { DRAIN_TIMEOUT }, ended).await;
}

/// Answers in words, and waits for the peer to read them.
async fn reject_foreign<S: SessionStream>(stream: &Duplex<S>, foreign: Foreign) {
    let answer = foreign.answer();
    let written = async {
        let _ = stream.write(&answer).await;
        let _ = stream.shutdown().await;
    };
    if timeout(DISCONNECT_TIMEOUT, written).await.is_ok() {
        drain_until_closed(stream, DRAIN_TIMEOUT).await;
    }
}
