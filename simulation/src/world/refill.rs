//! The aggregator's machine loses its data: it is restored from an earlier copy, or empty. Gateways refill it.

use std::time::Duration;

use catchment_aggregator::store::MemoryTreeCopy;
use catchment_gateway::{kept::KeepLimits, shard::ShardLimits};
use catchment_journal::sim::SimCopy;

use super::World;
use crate::limits::limits;

/// A copy of the aggregator's disk and blocks.
pub type StoreCopy = (SimCopy, MemoryTreeCopy);

/// Whether the aggregator may lose what it acknowledged, and what gateways keep for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refill {
    /// It does not, and nothing is kept.
    Never,
    /// Gateways keep everything, so it has everything in the end.
    Whole,
    /// Gateways keep some, and lose some of that: what it lacks in the end is reported.
    Partly,
}

impl Refill {
    /// By seed, without a draw: the histories of the other seeds stay what they are.
    pub(super) fn of(seed: u64) -> Self {
        match seed % 8 {
            4 | 5 => Self::Whole,
            6 => Self::Partly,
            _ => Self::Never,
        }
    }

    /// Bounds of the gateways.
    pub(super) fn limits(self) -> ShardLimits {
        let limits = limits();
        match self {
            Self::Never => limits,
            Self::Whole => ShardLimits {
                outbox_bytes_max: 64 << 20,
                // Journals that stay change nothing.
                raw_keep: KeepLimits { time: Duration::from_secs(20), bytes: 64 << 10 },
                outbox_keep: KeepLimits { time: Duration::from_secs(1 << 30), bytes: u64::MAX },
                ..limits
            },
            Self::Partly => ShardLimits {
                outbox_keep: KeepLimits { time: Duration::from_secs(60), bytes: 64 << 10 },
                ..limits
            },
        }
    }
}

impl World {
    /// Somebody copies the aggregator's folder while it is stopped.
    pub fn copy_store(&mut self) {
        self.stop_aggregator();
        self.store_copy = Some((self.disk.copy(), self.tree.copy()));
    }

    /// The aggregator's folder is replaced by the copy, or by an empty one.
    pub fn restore_store(&mut self, emptied: bool) {
        let copy = if emptied { Some(StoreCopy::default()) } else { self.store_copy.clone() };
        let Some((disk, tree)) = copy else { return };
        self.stop_aggregator();
        self.disk.put_back(&disk);
        self.tree.put_back(&tree);
        self.stats.store_restores += 1;
    }

    /// A difference of the aggregator's results from the truth, once everything is delivered.
    ///
    /// # Errors
    /// There is no aggregator, or it cannot be read.
    pub fn difference(&self) -> Result<Option<String>, String> {
        let aggregator = self.aggregator.as_ref().ok_or("the aggregator is gone")?;
        let answer = aggregator.answer()?;
        if self.refill != Refill::Partly || self.stats.store_restores == 0 {
            return Ok(self.truth.difference(&answer));
        }
        // A gateway dates what it does not know by its clock.
        let is_missing =
            |gateway: &str, from, to| !self.clocks_are_right || aggregator.is_missing(gateway, from, to);
        Ok(self.truth.unreported(&answer, is_missing))
    }
}
