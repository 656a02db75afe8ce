//! Where a data folder comes from: its runs and its epochs, and how a folder that went back is handled.
//!
//! A folder can go back to an older state (a copy put back, files that lost their ends together) or exist twice. It
//! then uses batch numbers and names again that an aggregator has seen with other content. [`find_divergence()`]
//! notices, and a new epoch ([`epochs`]) keeps both lines apart. Decision 0015 has the reasons.
//!
//! | file | what |
//! | --- | --- |
//! | `runs` | each start of the gateway, and where its batch numbers began |
//! | `epochs` | the folder's epochs, and how its own numbers stand in them |
//! | `divergence` | proof, from what an aggregator says, that another line of the folder delivered |
//! | `fork` | the new epoch that keeps the folder apart from that line |
//! | `files` | runs and epochs on disk: [`Lineage`] |
//! | `start` | the first steps of a run |

pub mod divergence;
pub mod epochs;
mod files;
mod fork;
pub mod runs;
mod start;

pub use self::{
    divergence::{Cause, DeliveredRun, Divergence, RunHistory, find_divergence},
    epochs::{Epoch, Epochs, Numbering, ShardEpoch},
    files::{FolderPast, Lineage, LineageError},
    fork::{DeliveryStatus, Fork, format_utc},
    runs::{Run, Runs, ShardRun},
};
pub(crate) use self::{
    files::{RUNS, check},
    start::begin_run,
};

#[cfg(test)]
mod tests;
