//! Storage of partials: the trait that ingest and query use, and its implementations.
//!
//! A partial has a name (gateway, epoch, shard, series, window, part) and a revision. A store keeps the highest
//! revision under each name, so delivering anything twice, late or in another order changes nothing.
//!
//! [`EmbeddedStore`] is one state machine. Its folders, in the order in which a batch passes them:
//! - `boundary`: the trait [`Store`] and its data;
//! - `embedded`: the store as a whole: its state, configuration, threads;
//! - `wal`: the write-ahead log: which batches enter, what an entry is, the state as the fold of the entries, recovery;
//! - `memtable`: windows in memory, final ones and open ones;
//! - `blocks`: flushing, the encoding of blocks, reading them together with memory;
//! - `tables`: immutable sorted files of rows, by resolution and partition of time;
//! - `tree`: the ordered map of keys and values below: sled, or memory for tests and simulation;
//! - `catalog`: series, gateways, their epochs, quotas and losses;
//! - `removal`: forgetting windows and series;
//! - `salvage`: checking, verifying, repairing, copying a folder.

mod blocks;
mod boundary;
mod catalog;
#[cfg(test)]
mod conformance;
mod embedded;
mod error;
mod flush;
mod memtable;
mod removal;
mod salvage;
mod tables;
#[cfg(test)]
mod testing;
mod tree;
mod wal;

#[cfg(any(test, feature = "sim"))]
pub use self::tree::memory::MemoryTree;
pub use self::{
    boundary::{
        Change, ChangeListener, Delivered, Gap, GatewayEntry, GatewayEpoch, Merged, Page, Retained,
        RetentionRule, RowReader, RowRequest, Selection, SeriesEntry, SeriesId, Store,
    },
    catalog::{
        progress_report::ProgressReport,
        run_history::{PreviousRuns, RunDelivered, previous_runs},
    },
    embedded::{
        EmbeddedStore,
        config::{OpenReport, Shortage, StoreConfig, StoreStats},
    },
    error::StoreError,
    salvage::{
        repair::{RepairReport, repair},
        verify::{VerifyReport, verify},
    },
    wal::open::OpenError,
};
pub(crate) use self::{salvage::verify::lock_existing, wal::open::KIND};
