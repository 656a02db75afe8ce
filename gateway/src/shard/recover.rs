//! Recovery: from the data folder to a running shard, stage by stage:
//!
//! 1. `files`: opens and mends the files;
//! 2. [`replay::base`]: where the replay begins, at the newest undamaged checkpoint;
//! 3. [`replay::scan_outbox`]: what the outbox has;
//! 4. `replayed`: the replay of the journal from there: the state, and the batches that must go out again;
//! 5. `replayed`: the logs continue after the positions that files lost;
//! 6. `startup_entries`: the first entries: batch numbers, the window width;
//! 7. `open`: the shard runs.
//!
//! Before stage 5 nothing is written except repairs (torn ends are cut, damaged checkpoints set aside), so an
//! interrupted start is repeated from the same files. A start interrupted later leaves files that lead the next start
//! to the same state, under new numbers where it gave any.
//!
//! Batches that the replay emits again are equal to those that left before, by number and content; only those
//! beyond the highest number in the outbox are put there. Batches that the outbox lost to damage go there under new
//! numbers: the aggregator may have taken later ones and would skip lower ones. The names of their partials are
//! the same, so taking them twice is harmless.
//!
//! Invariant: no position of the journal and no batch number is used a second time, also when files are missing.
//!
//! `examine` runs the stages that only read; `report` is what both find.

mod error;
mod examine;
mod files;
mod open;
mod replay;
mod replayed;
mod report;
mod setup;
mod startup_entries;

pub use error::RecoveryError;
pub use examine::examine;
pub(crate) use examine::{check_checkpoints, delivered};
pub(crate) use files::CHECKPOINTS;
pub use report::{LostBatches, RecoveryReport};
pub use setup::Setup;
