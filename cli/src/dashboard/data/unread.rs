//! Answers that are made and not yet sent: what they hold together is bounded.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory of answers that are not sent: three of the longest.
const BYTES_MAX: u32 = 64 << 20;

/// The room for answers that are not sent.
pub(super) struct Unread {
    room: Arc<Semaphore>,
    bytes_max: u32,
}

/// An answer with its room.
struct Held {
    text: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Default for Unread {
    fn default() -> Self {
        Self::of(BYTES_MAX)
    }
}

impl Unread {
    /// Room for so many bytes.
    pub(super) fn of(bytes_max: u32) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Waits for room, which the answer keeps until it is sent or given up. A longer one than fits takes all room.
    pub(super) async fn hold(&self, text: Vec<u8>) -> Bytes {
        let bytes = u32::try_from(text.capacity()).unwrap_or(u32::MAX).min(self.bytes_max);
        match Arc::clone(&self.room).acquire_many_owned(bytes).await {
            Ok(room) => Bytes::from_owner(Held { text, _room: room }),
            // It is never closed.
            Err(_) => text.into(),
        }
    }
}
