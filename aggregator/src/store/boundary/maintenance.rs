//! What retention, operators and the server need of a store.

use std::time::Duration;

use catchment_partial::Timestamp;
use catchment_proto::GatewayId;
use futures_util::future::BoxFuture;

use super::{StoreError, StoreFailure, StoreHealth};
use crate::selector::Selector;

/// Removes what is no longer wanted, reports how the store is, and ends it.
pub trait MaintenanceStore: Send + Sync + 'static {
    /// Removes what is older than the rules say, one bounded step after the other, and gives its space back. Series that
    /// no rule matches are kept. Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the disk is full: try again once there is space. [`StoreError::Failed`] if it fails.
    fn retain(&self, rules: &[RetentionRule], now: Timestamp) -> Result<Retained, StoreError>;

    /// Removes the series that a selector selects, with all windows that were durable at the call; returns the number
    /// of series. After a crash in between, fewer are removed. A series delivered again is a new one, with a new id.
    /// Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the disk is full: try again once there is space. [`StoreError::Failed`] if it fails.
    fn forget_series(&self, selector: &Selector) -> Result<u64, StoreError>;

    /// Takes a gateway that is gone for good out of completeness, or back in; durable when this returns. It comes back by
    /// itself with [`IngestStore::begin`](super::IngestStore::begin). Returns whether it was retired before; `None`: it
    /// never delivered anything here. Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Full`] without space: nothing changed. [`StoreError::Failed`].
    fn retire_gateway(&self, gateway: &GatewayId, retired: bool) -> Result<Option<bool>, StoreError>;

    /// Makes durable whatever only memory holds, and stops; called once, for a graceful shutdown.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Why the store acknowledges nothing more, as far as it has noticed; `None`: it works. Answers from memory.
    fn failure(&self) -> Option<StoreFailure>;

    /// How the store is. Looks at what it stands on (the data folder, its file system, a database): call it on a thread
    /// that may block. A store that finds its data gone has then failed.
    fn health(&self) -> StoreHealth;
}

/// How long partials of series are kept, by resolution. The first rule whose selector matches a series counts.
#[derive(Clone, Debug, Default)]
pub struct RetentionRule {
    /// The series; an empty selector matches all.
    pub selector: Selector,
    /// How long to keep windows, minutes, hours and days after their end; `None`: forever.
    pub keep: [Option<Duration>; 4],
}

/// What [`MaintenanceStore::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Rows removed, of all resolutions.
    pub rows: u64,
    /// Bytes given back to the file system.
    pub bytes: u64,
    /// Series removed, because nothing is left of them.
    pub series: u64,
}
