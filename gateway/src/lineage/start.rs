//! The first steps of a start, before anything is accepted.

use std::{thread, time::Duration};

use super::files::{Lineage, LineageError};
use crate::shard::Shard;

/// Records where the batches of this run begin, closes the windows that were open before it, and records where that
/// ends.
pub(crate) fn begin_run(
    lineage: &mut Lineage,
    shards: &mut [Shard],
    now_ms: i64,
    open_max: Duration,
) -> Result<(), LineageError> {
    let bases: Vec<u64> = shards.iter().map(Shard::base).collect();
    let watermark_ms = shards.iter().map(|shard| Some(shard.state().watermark()?.as_millis())).min();
    lineage.begin_run(now_ms, watermark_ms.flatten(), &bases, open_max)?;
    let sealed: Vec<u64> = thread::scope(|scope| {
        let sealing: Vec<_> = shards.iter_mut().map(|shard| scope.spawn(|| shard.seal_waiting())).collect();
        let joined = sealing.into_iter().zip(&bases).map(|(shard, base)| shard.join().unwrap_or(*base));
        joined.collect()
    });
    lineage.seal(&sealed)
}
