//! Facts of a shard that its data folder holds.

use std::time::Duration;

/// What the data folder says of a shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardFacts {
    /// Epoch of the data folder's identity; 0: there is none, in tests and simulations.
    pub epoch: u64,
    /// What the shard held is lost, and somebody said so, for so many times; 0: it is not. It begins anew, beyond all that the lost
    /// ones can have used.
    pub given_up: u64,
    /// Salts of journal, outbox and definitions log, where they are made anew.
    pub salts: [Option<u64>; 3],
    /// The longest that a window may end after its first reading was taken, in earlier runs: their bounds may have been others.
    pub open_max: Duration,
}
