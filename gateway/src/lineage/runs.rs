//! The runs of a gateway on one data folder: the id of each start, and where its batch numbers began.
//!
//! An aggregator reports which run delivered which batches. Compared with this list, that shows whether the folder is
//! still what it was when they were delivered: see [`mod@super::divergence`]. Pure; [`super::Lineage`] keeps it on
//! disk.

use std::time::Duration;

use prost::Message;

/// Runs that are kept. Forgetting older ones never accuses a folder. An aggregator remembers four.
pub const RUNS_MAX: usize = 256;
/// Earlier runs that a Start lists.
const PREVIOUS_MAX: usize = 16;
/// Format of the file.
const VERSION: u8 = 1;

/// One start of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Random, not 0.
    pub id: u64,
    /// When it began, Unix milliseconds by the gateway's clock.
    pub started_ms: i64,
    /// All shards had closed their windows up to here when it began, Unix milliseconds.
    pub watermark_ms: Option<i64>,
    /// The longest that a window may end after its first reading was taken: see
    /// [`crate::shard::ShardLimits::open_max`]; 0: written by an earlier version, unknown.
    pub open_max: Duration,
    /// By shard.
    pub shards: Vec<ShardRun>,
}

/// Where the batch numbers of a run begin in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardRun {
    /// The first number that it made.
    pub base: u64,
    /// Batches before this hold only readings from before the run; `None`: the run ended before it took a reading.
    pub sealed: Option<u64>,
}

/// A run as one shard sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRun {
    /// See [`Run::id`].
    pub id: u64,
    /// See [`ShardRun::base`].
    pub base: u64,
    /// See [`ShardRun::sealed`].
    pub sealed: u64,
}

/// The runs of a folder, in order; the last is the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    list: Vec<Run>,
    /// No run before the first of the list ever delivered anything.
    complete: bool,
    /// Epoch of the identity of the data folder whose runs these are.
    folder: u64,
    /// The folder's present epoch when the list was written.
    epoch: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RunsRecord {
    #[prost(message, repeated, tag = "1")]
    runs: Vec<RunRecord>,
    #[prost(bool, tag = "2")]
    complete: bool,
    /// 0, as `epoch`: written by an earlier version, unknown.
    #[prost(fixed64, tag = "3")]
    folder: u64,
    #[prost(fixed64, tag = "4")]
    epoch: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RunRecord {
    #[prost(fixed64, tag = "1")]
    id: u64,
    #[prost(sint64, tag = "2")]
    started_ms: i64,
    #[prost(sint64, optional, tag = "3")]
    watermark_ms: Option<i64>,
    #[prost(message, repeated, tag = "4")]
    shards: Vec<ShardRecord>,
    #[prost(uint64, tag = "5")]
    open_max_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ShardRecord {
    #[prost(uint64, tag = "1")]
    base: u64,
    #[prost(uint64, optional, tag = "2")]
    sealed: Option<u64>,
}

impl Runs {
    /// No run of the folder whose identity has this epoch; `complete`: it is new, so there was none before.
    pub fn none(folder: u64, complete: bool) -> Self {
        Self { list: Vec::new(), complete, folder, epoch: folder }
    }

    /// Whether these may be runs of the folder whose identity has this epoch.
    pub fn may_be_of(&self, folder: u64) -> bool {
        self.folder == 0 || self.folder == folder
    }

    /// The folder's present epoch when the list was written; 0: unknown.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The folder has this present epoch.
    pub fn set_epoch(&mut self, folder: u64, epoch: u64) {
        (self.folder, self.epoch) = (folder, epoch);
    }

    /// A run begins.
    pub fn begin(&mut self, run: Run) {
        self.list.push(run);
        let excess = self.list.len().saturating_sub(RUNS_MAX);
        if excess > 0 {
            self.list.drain(..excess);
            self.complete = false;
        }
    }

    /// The present run has closed every window that was open before it: batches before these numbers hold none of its
    /// readings.
    pub fn seal(&mut self, sealed: &[u64]) {
        let Some(run) = self.list.last_mut() else { return };
        for (shard, sealed) in run.shards.iter_mut().zip(sealed) {
            shard.sealed = Some(*sealed);
        }
    }

    /// The present run.
    pub fn present(&self) -> Option<&Run> {
        self.list.last()
    }

    /// The runs before the present one, the newest first, as many as a Start lists.
    pub fn previous(&self) -> Vec<u64> {
        self.list.iter().rev().skip(1).take(PREVIOUS_MAX).map(|run| run.id).collect()
    }

    /// The longest of their [`Run::open_max`].
    pub fn open_max(&self) -> Duration {
        self.list.iter().map(|run| run.open_max).max().unwrap_or_default()
    }

    /// A run by its index in the list.
    pub fn get(&self, at: usize) -> Option<&Run> {
        self.list.get(at)
    }

    /// Whether no run before the first of the list ever delivered anything.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The runs as one shard sees them.
    pub fn of_shard(&self, shard: usize) -> Vec<OwnRun> {
        let mut runs: Vec<OwnRun> = Vec::with_capacity(self.list.len());
        for run in self.list.iter().rev() {
            let ShardRun { mut base, sealed } = run.shards.get(shard).copied().unwrap_or_default();
            let mut sealed = sealed.unwrap_or(base);
            if let Some(next) = runs.last() {
                // Batches not durable when the next run began were never delivered: that run used their numbers
                // again.
                base = base.min(next.base);
                // A run whose seal is not durable took no reading that is, so the next run's seal stands for it.
                if next.base < sealed || run.shards.get(shard).is_none_or(|shard| shard.sealed.is_none()) {
                    sealed = next.sealed;
                }
            }
            runs.push(OwnRun { id: run.id, base, sealed });
        }
        runs.reverse();
        runs
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let shard = |shard: &ShardRun| ShardRecord { base: shard.base, sealed: shard.sealed };
        let run = |run: &Run| RunRecord {
            id: run.id,
            started_ms: run.started_ms,
            watermark_ms: run.watermark_ms,
            shards: run.shards.iter().map(shard).collect(),
            open_max_ms: u64::try_from(run.open_max.as_millis()).unwrap_or(u64::MAX),
        };
        let Self { complete, folder, epoch, .. } = *self;
        let record = RunsRecord { runs: self.list.iter().map(run).collect(), complete, folder, epoch };
        let mut bytes = vec![VERSION];
        record.encode_raw(&mut bytes);
        bytes
    }

    /// Reads the bytes of [`Self::encode`]; `None`: they are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, bytes) = bytes.split_first()? else { return None };
        let record = RunsRecord::decode(bytes).ok()?;
        let shard = |shard: ShardRecord| ShardRun { base: shard.base, sealed: shard.sealed };
        let run = |run: RunRecord| Run {
            id: run.id,
            started_ms: run.started_ms,
            watermark_ms: run.watermark_ms,
            shards: run.shards.into_iter().map(shard).collect(),
            open_max: Duration::from_millis(run.open_max_ms),
        };
        let RunsRecord { complete, folder, epoch, .. } = record;
        Some(Self { list: record.runs.into_iter().map(run).collect(), complete, folder, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: u64, base: u64) -> Run {
        let shards = vec![ShardRun { base, sealed: None }];
        Run { id, started_ms: 5, watermark_ms: Some(-3), open_max: Duration::from_millis(7), shards }
    }

    #[test]
    fn the_list_is_bounded_and_comes_back_from_its_bytes() {
        let mut runs = Runs::none(7, true);
        runs.begin(run(1, 1));
        runs.seal(&[4]);
        assert!(runs.is_complete());
        assert!(runs.previous().is_empty());
        assert_eq!(Runs::decode(&runs.encode()), Some(runs.clone()));
        for id in 2..400 {
            runs.begin(run(id, 10 * id));
        }
        assert_eq!((runs.of_shard(0).len(), runs.is_complete()), (RUNS_MAX, false));
        assert_eq!(runs.previous(), (383..399).rev().collect::<Vec<_>>());
        assert_eq!(Runs::decode(&runs.encode()), Some(runs));
    }

    #[test]
    fn a_run_that_took_nothing_made_only_its_seal() {
        let mut runs = Runs::none(7, true);
        runs.begin(run(1, 1));
        runs.seal(&[3]);
        runs.begin(run(2, 9));
        runs.begin(run(3, 12));
        runs.seal(&[13]);
        let own = |id, base, sealed| OwnRun { id, base, sealed };
        assert_eq!(runs.of_shard(0), [own(1, 1, 3), own(2, 9, 13), own(3, 12, 13)]);
        runs.begin(run(4, 11));
        runs.seal(&[14]);
        let lost = [own(1, 1, 3), own(2, 9, 14), own(3, 11, 14), own(4, 11, 14)];
        assert_eq!(runs.of_shard(0), lost, "the seal of run 3 was not durable");
    }

    #[test]
    fn other_bytes_are_no_list() {
        assert_eq!(Runs::decode(&[]), None);
        assert_eq!(Runs::decode(&[9, 1, 2]), None);
        assert_eq!(Runs::decode(&[VERSION, 0xff, 0xff]), None);
    }
}
