//! Backpressure: why an entry is refused for now.

use std::sync::Arc;

use catchment_journal::AppendError;

/// Why an entry is refused for now. Nothing has changed; the sender waits and retries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Backpressure {
    /// Journal or outbox have no room.
    #[error("no room: {0}")]
    Room(String),
    /// The device is new, and the gateway knows as many devices as it may: this number.
    #[error("the gateway knows {0} devices, the bound devices_max")]
    Devices(u64),
    /// Too much waits for the next sync, or a checkpoint under way has to encode a device first, step by step.
    #[error("waiting for the journal's sync or a checkpoint's next steps")]
    Sync,
    /// The journal has failed; this gateway takes nothing more.
    #[error("the journal has failed: {0}")]
    Failed(Arc<str>),
}

impl From<AppendError> for Backpressure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(reason) => Self::Room(reason.to_string()),
            AppendError::BufferFull => Self::Sync,
            AppendError::Poisoned(why) => Self::Failed(why),
            other => Self::Failed(other.to_string().into()),
        }
    }
}
