//! What the core asks of its driver.

use std::time::Duration;

use super::super::close_reason::CloseReason;

/// What the driver does before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All that was whole is handed on: drop so many bytes, then read more.
    ReadMore {
        /// Bytes at the front that are done with.
        consumed: usize,
    },
    /// A slice is handed on: other sessions run first.
    Yield,
    /// The response queue is full: wait for room, or call [`super::ReadCore::give_up_room`].
    AwaitRoom,
    /// Wait for a while.
    Pause(Pause),
    /// The session ends.
    Close(CloseReason),
}

/// Why a session pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Messages are ahead of the disk; they are tried again.
    Sync,
    /// There is no room for messages; they are tried again.
    Room,
    /// Messages were taken, and journal or outbox come near their bound.
    Slow,
    /// The device sends more readings than it may: nothing is decoded for so long.
    Rate(Duration),
}

impl Pause {
    /// How long the session pauses. Near the bounds, much less is taken then than the aggregator can take away.
    pub fn duration(self) -> Duration {
        match self {
            Self::Sync => Duration::from_millis(1),
            Self::Room => Duration::from_millis(100),
            Self::Slow => Duration::from_millis(50),
            // Asked again: other sessions of the device may have been faster.
            Self::Rate(wait) => wait.min(Duration::from_secs(1)),
        }
    }
}
