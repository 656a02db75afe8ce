//! Storage of partials: the boundary that ingest, queries and the server use, and the store behind it.
//!
//! A partial has a name (gateway, epoch, shard, series, window, part) and a revision. A store keeps the highest
//! revision under each name, so delivering anything twice, late or in another order changes nothing.
//!
//! [`EmbeddedStore`] is one state machine. Its folders, in the order in which a batch passes them:
//! - `boundary`: what every store promises: the traits of ingest, queries and maintenance, and their data;
//! - `embedded`: the store as a whole: its state, configuration, threads;
//! - `wal`: the write-ahead log: which batches enter, what an entry is, the state as the fold of the entries, recovery;
//! - `catalog`: series and the index of their labels, gateways, their epochs, quotas and losses;
//! - `memtable`: windows in memory, final ones and open ones;
//! - `flush`: from memory to tables;
//! - `tables`: immutable sorted files of rows, by resolution and partition of time, and reading them together with memory;
//! - `tree`: the ordered map of the catalog's records: sled, or memory for tests and simulation;
//! - `blocks`: windows of earlier versions, which kept them in the tree; they are written to tables at the start;
//! - `removal`: forgetting windows and series;
//! - `backup`: a state of the store as files that can be copied, and a folder made of such files;
//! - `salvage`: checking, verifying, repairing, copying a folder.

mod backup;
mod blocks;
mod boundary;
mod catalog;
#[cfg(test)]
mod conformance;
mod embedded;
mod flush;
mod memtable;
#[cfg(any(test, feature = "sim"))]
mod read_all;
mod removal;
mod salvage;
mod tables;
#[cfg(test)]
mod testing;
mod tree;
mod wal;

pub(crate) use self::backup::{
    CATALOG, FORMAT as BACKUP_FORMAT, TABLES,
    build::{Step, io_error},
};
#[cfg(test)]
pub(crate) use self::boundary::selection::Walk;
#[cfg(any(test, feature = "sim"))]
pub use self::read_all::ReadAll;
#[cfg(any(test, feature = "sim"))]
pub use self::tree::memory::{MemoryTree, MemoryTreeCopy};
pub use self::{
    backup::{
        BackupError, BackupFile, BackupSource, Contents, Snapshot,
        build::{FolderBuilder, RestoreError, Restored},
    },
    boundary::{
        Change, ChangeListener, Cursor, Delivered, Gap, GatewayEntry, GatewayEpoch, IngestStore,
        MaintenanceStore, Merged, Page, PreviousRuns, ProgressReport, QueryStore, ROWS_A_CALL, Retained,
        RetentionRule, RowReader, RowRequest, RunDelivered, Selection, SeriesEntry, SeriesId, Shortage,
        Steps, Store, StoreError, StoreFailure, StoreHealth, previous_runs,
    },
    catalog::hourly::{HourlyCounts, LateAndRefused, hour_of},
    embedded::{
        EmbeddedStore,
        config::{OpenReport, StoreConfig, StoreStats},
    },
    salvage::{
        repair::{RepairReport, repair},
        verify::{VerifyReport, verify},
    },
    wal::open::OpenError,
};
pub(crate) use self::{
    salvage::verify::lock_existing,
    wal::open::{KIND, OPEN_FREE_MIN},
};
