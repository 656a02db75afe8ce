//! When a session that was just served reads on: not before the others have had their turn.
//!
//! A session is served in slices: what one read brought, or a part of that. After a slice it goes to the end of the line,
//! so a device that sends without a pause gets what the others leave, and delays each of them by one slice.
//!
//! A session that brought little reads on once that is durable. Its device cannot have an answer earlier, and what it
//! sends meanwhile comes with one read, shares a commit and is answered with one write: clients write each message by
//! itself, and waking for each would cost more than the message. A lone message waits for nothing: nothing of its
//! session is on its way to the disk when it comes.

use std::{cell::Cell, future::poll_fn, pin::Pin, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
};

use super::{CloseReason, Session, cancel_reason};

/// Bytes read at once that are worth a read, a commit and a write of their own.
pub(super) const LARGE_READ_BYTES: usize = 8 << 10;
/// Ticks of the worker after which a session reads on although the disk has not answered: keep-alives must be read also
/// while a disk hangs.
const TICKS_MAX: u64 = 2;

/// The state of a session's turns.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Round of the worker's syncs in which the session was put in line to be woken.
    queued_round: Cell<u32>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Waits until the session may read on after a slice, for which [`LARGE_READ_BYTES`] were read or less; fails when it is to end.
    pub(super) async fn next_turn(
        &self,
        is_large_read: bool,
        mut cancelled: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), CloseReason> {
        let commit_waiters = &self.context.commit_waiters;
        if is_large_read {
            yield_now().await;
            return Ok(());
        }
        // What it handed on stands before this; what others did since shares the sync.
        let handed_on = self.context.shard.borrow().end();
        if commit_waiters.durable() >= handed_on {
            return Ok(());
        }
        let began = commit_waiters.ticks();
        poll_fn(|task| {
            if cancelled.as_mut().poll(task).is_ready() {
                return Poll::Ready(Err(cancel_reason(&self.context)));
            }
            let over = commit_waiters.durable() >= handed_on
                || commit_waiters.has_failed()
                || commit_waiters.ticks().wrapping_sub(began) >= TICKS_MAX;
            if over {
                return Poll::Ready(Ok(()));
            }
            if self.turn.queued_round.replace(commit_waiters.round()) != commit_waiters.round() {
                commit_waiters.wake_next(task.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
