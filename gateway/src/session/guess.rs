//! A session before its protocol is known: it waits for the first bytes, and answers those that are of none.

use std::rc::Rc;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Context, End, FAREWELL, LINGER,
    encode::Encoder,
    ended, linger,
    opening::{Foreign, Look, Opening},
    protocol::Kind,
    stream::{Duplex, Inbox},
    unfinished::Held,
    vitals::Vitals,
};
use crate::intake::Reason;

/// The first bytes tell the protocol when the handshake did not. They stay in the inbox, without what stands in front of
/// the protocol's own.
pub(super) async fn guess<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &Duplex<S>,
    inbox: &mut Inbox,
    vitals: &Rc<Vitals>,
    context: &Context,
) -> Result<Kind, End> {
    let mut opening = Opening::default();
    let mut held = Held::new(&context.sitting.unfinished);
    let patience = &context.sitting.patience;
    // White space begins nothing: however it trickles, it puts no deadline off.
    let (mut due, mut begun) = (Instant::now() + patience.first_byte, false);
    loop {
        let read = tokio::select! {
            biased;
            () = vitals.end.cancelled() => {
                let why = vitals.why().unwrap_or(ended(context));
                farewell(stream, why).await;
                return Err(why);
            }
            read = stream.fill(inbox) => read,
            () = sleep_until(due) => {
                let why = if begun { End::Unfinished } else { End::NoFirst };
                farewell(stream, why).await;
                return Err(why);
            }
        };
        let Ok(count) = read else {
            if begun {
                // What has come may have lost its end.
                context.metrics.refuse(Reason::Malformed, 1);
            }
            return Err(End::Peer);
        };
        let (padding, look) = opening.look(inbox.unread(), count == 0);
        inbox.consume(padding);
        match look {
            Look::Speaks(kind) => return Ok(kind),
            Look::Foreign(foreign) => {
                Box::pin(tell(stream, foreign)).await;
                return Err(foreign.end());
            }
            Look::More if count == 0 => return Err(End::Peer),
            Look::More => {}
        }
        let within = !inbox.unread().is_empty();
        if within && !begun {
            due = Instant::now() + patience.message;
        }
        held.set(inbox.held(), within && !begun, vitals);
        begun |= within;
    }
}

/// Ends the connection in order. Which protocol the device speaks is not known: it is told in a line as JSON lines has it, which
/// people can read too.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &Duplex<S>, why: End) {
    let mut bytes = Vec::new();
    if let Some(what) = why.to_device() {
        Encoder::new(Kind::Json).farewell(why.reason(), what, &mut bytes);
    }
    let ended = async {
        let _ = stream.write(&bytes).await;
        let _ = stream.shutdown().await;
    };
    let _ = timeout(LINGER, ended).await;
}

/// Answers in words, and waits for the peer to read them.
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(stream: &Duplex<S>, foreign: Foreign) {
    let answer = foreign.answer();
    let written = async {
        let _ = stream.write(&answer).await;
        let _ = stream.shutdown().await;
    };
    if timeout(FAREWELL, written).await.is_ok() {
        linger(stream, LINGER).await;
    }
}
