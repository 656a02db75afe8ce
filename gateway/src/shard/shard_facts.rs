//! What the data folder knows of a shard.

use std::time::Duration;

/// What the data folder knows of a shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardFacts {
    /// Epoch of the data folder's identity; 0 in tests and simulations, which have none.
    pub epoch: u64,
    /// How often somebody declared that everything in the shard is lost. If it is not 0, the shard begins anew,
    /// beyond all positions and numbers that the lost files can have used.
    pub given_up: u64,
    /// Salts of journal, outbox and definitions log, for logs that are created.
    pub salts: [Option<u64>; 3],
    /// How long after its first reading a window ended at most in earlier runs, whose bounds may have been different.
    pub open_max: Duration,
}
