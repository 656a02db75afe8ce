//! How a session is ended from outside, from any thread: with the first reason that is given.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio_util::sync::CancellationToken;

use super::close_reason::CloseReason;

/// No reason yet: the token may have been cancelled because the gateway stops.
const NONE: u8 = u8::MAX;

/// Ends a session, and tells its task why. Clones share it.
#[derive(Clone, Debug)]
pub struct EndSignal(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    /// Position in [`CloseReason::ALL`], or [`NONE`].
    why: AtomicU8,
    token: CancellationToken,
}

impl EndSignal {
    /// A session that also ends when this token is cancelled: the gateway stops.
    pub fn new(stopping: CancellationToken) -> Self {
        Self(Arc::new(Signal { why: AtomicU8::new(NONE), token: stopping }))
    }

    /// The session must end, for this reason unless there was one before.
    pub fn end(&self, why: CloseReason) {
        // The token publishes the reason: its reader sees it before it sees the end.
        let _ = self.0.why.compare_exchange(NONE, why as u8, Ordering::AcqRel, Ordering::Acquire);
        self.0.token.cancel();
    }

    /// Why the session must end, if it was ended by [`Self::end`].
    pub fn why(&self) -> Option<CloseReason> {
        CloseReason::ALL.get(usize::from(self.0.why.load(Ordering::Acquire))).copied()
    }

    /// Resolves when the session must end.
    pub async fn ended(&self) {
        self.0.token.cancelled().await;
    }

    /// Whether the session must end.
    pub fn is_ended(&self) -> bool {
        self.0.token.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_crosses_threads() {
        for (at, why) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at, "{why:?}");
            let signal = EndSignal::new(CancellationToken::new());
            assert_eq!((signal.why(), signal.is_ended()), (None, false));
            let elsewhere = signal.clone();
            std::thread::spawn(move || elsewhere.end(why)).join().unwrap();
            signal.end(CloseReason::Idle);
            assert_eq!((signal.why(), signal.is_ended()), (Some(why), true));
        }
        let stopping = CancellationToken::new();
        let signal = EndSignal::new(stopping.child_token());
        stopping.cancel();
        assert_eq!((signal.why(), signal.is_ended()), (None, true));
    }
}
