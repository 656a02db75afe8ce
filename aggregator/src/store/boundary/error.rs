//! Errors of a store.

use std::sync::Arc;

/// Errors of a store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has no room now. The sender must wait and send again.
    #[error("the store has no room: {0}")]
    Full(String),
    /// The batch has new series without room; nothing of it was stored. It can be sent again once there is room.
    #[error("{message}")]
    TooManySeries {
        /// Which bound is full, and what to do.
        message: String,
    },
    /// The batch comes from a new data folder without room; nothing of it was stored.
    #[error("{message}")]
    TooManyEpochs {
        /// Which bound is reached, and what to do.
        message: String,
    },
    /// A batch does not follow its predecessor of the same stream.
    #[error("shard {shard}: batch {got} does not follow {highest}")]
    Gap {
        /// The shard.
        shard: u32,
        /// Highest number that was applied.
        highest: u64,
        /// The number that arrived.
        got: u64,
    },
    /// Another run of the gateway has begun to deliver from the same folder; nothing of the batch was stored.
    #[error("another run of this gateway delivers from the same data folder")]
    Superseded,
    /// A partial of the batch cannot be decoded; nothing of the batch was stored.
    #[error("entry {entry}: {reason}")]
    Body {
        /// Index of the partial in the batch.
        entry: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It failed for good, as after a write or sync that failed; this process acknowledges nothing more.
    #[error("the store has failed and accepts nothing more: {0}")]
    Failed(Arc<str>),
    /// Reading failed.
    #[error("the store cannot be read: {0}")]
    Read(String),
}
