//! Plans the epoch that keeps the folder's own line apart from the one that delivered, from an aggregator's report.
//! Pure.

use std::fmt;

use catchment_proto::wire;

use super::{
    divergence::{Cause, DeliveredRun, Divergence, RunHistory, find_divergence},
    epochs::{Epochs, Numbering, ShardEpoch},
    runs::Runs,
};

/// What was delivered of a folder, as an aggregator reports it.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryStatus<'a> {
    /// The answer to the Start.
    pub resume: &'a wire::Resume,
    /// By shard: the highest own number that this process has sent.
    pub sent: &'a [u64],
}

/// A new epoch, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Why.
    pub cause: Cause,
    /// Where it begins in each shard.
    pub shards: Vec<ShardEpoch>,
    /// Readings of windows that end after this may be on the other line alone, Unix milliseconds; `None`: not known.
    pub affected_from_ms: Option<i64>,
    /// The epoch before and the new one.
    pub epochs: (u64, u64),
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.cause {
            Cause::WentBack => "this data folder is in an older state than it was",
            Cause::Doubled => "another copy of this data folder delivers, or did",
        };
        let (old, new) = self.epochs;
        write!(f, "{why}: epoch {new} begins after epoch {old}")?;
        for (number, shard) in self.shards.iter().enumerate() {
            let names = shard.names.first().map_or(0, |(from, _)| *from);
            write!(f, "; shard {number}: from batch {}, names from {names}", shard.offset.saturating_add(1))?;
        }
        Ok(())
    }
}

/// A human-readable time: UTC, to the second.
pub fn format_utc(unix_ms: i64) -> String {
    let (days, seconds) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000) / 1000);
    // Days since 1 March of the year 0, in eras of 400 years: leap days come last.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let (month, day) =
        (if shifted < 10 { shifted + 3 } else { shifted - 9 }, day - (153 * shifted + 2) / 5 + 1);
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What is known of one shard: the folder's side and the aggregator's.
struct ShardView {
    own: Vec<super::runs::OwnRun>,
    delivered: u64,
    seen: Option<Vec<DeliveredRun>>,
    held: u64,
    next: u64,
}

impl ShardView {
    fn of(
        at: usize,
        runs: &Runs,
        epochs: &Epochs,
        delivery_status: &DeliveryStatus<'_>,
        held: &[Option<u64>],
    ) -> Self {
        let numbering = epochs.numbering(at);
        let own = runs.of_shard(at);
        let base = own.last().map_or(1, |run| run.base);
        let next = base.max(delivery_status.sent.get(at).copied().unwrap_or(0).saturating_add(1));
        Self {
            delivered: numbering.own(delivery_status.resume.delivered.get(at).copied().unwrap_or(0)),
            seen: seen(at, &numbering, delivery_status),
            held: held.get(at).copied().flatten().unwrap_or(next),
            next,
            own,
        }
    }

    fn divergence(&self, complete: bool) -> Option<Divergence> {
        let history = RunHistory { runs: &self.own, complete, next: self.next };
        find_divergence(&history, self.delivered, self.seen.as_deref())
    }
}

/// The aggregator's runs of a shard, in the folder's own numbers; `None`: it does not know of runs.
fn seen(at: usize, numbering: &Numbering, delivery_status: &DeliveryStatus<'_>) -> Option<Vec<DeliveredRun>> {
    if delivery_status.resume.runs.is_empty() {
        return None;
    }
    let runs = delivery_status.resume.runs.get(at).map(|shard| shard.runs.as_slice()).unwrap_or_default();
    let seen = |run: &wire::RunDelivered| DeliveredRun {
        run: run.run,
        previous: run.previous_runs.clone(),
        number: numbering.own(run.number),
    };
    Some(runs.iter().map(seen).collect())
}

/// See [`super::Lineage::detect_fork`].
pub(super) fn plan_fork(
    runs: &Runs,
    epochs: &Epochs,
    delivery_status: &DeliveryStatus<'_>,
    held: &[Option<u64>],
    fresh: u64,
) -> Option<Fork> {
    let count = runs.present()?.shards.len();
    let shards: Vec<ShardView> =
        (0..count).map(|at| ShardView::of(at, runs, epochs, delivery_status, held)).collect();
    // Another folder has served in place of this one: readings that it took and did not deliver are missing here.
    let newer = delivery_status.resume.newer_epoch;
    let replaced = newer != 0 && !epochs.holds(newer);
    let verdict = |shard: &ShardView| {
        let since_now = Divergence {
            cause: Cause::Doubled,
            common: shard.delivered,
            run: shard.own.len().saturating_sub(1),
        };
        shard.divergence(runs.is_complete()).or(replaced.then_some(since_now))
    };
    let verdicts: Vec<_> = shards.iter().map(verdict).collect();
    // All shards of the folder diverged from the other line together.
    let earliest = *verdicts.iter().flatten().min_by_key(|verdict| verdict.run)?;
    let last = runs.present()?.id;
    // A copy of a running gateway continues under the same run, so neither may use that run's id for names.
    let parted_now = earliest.run >= shards.first()?.own.len();
    let id = if parted_now || epochs.holds(last) { fresh } else { last };
    let shard = |(shard, verdict): (&ShardView, &Option<Divergence>)| {
        let common = verdict.map_or(shard.delivered, |verdict| verdict.common);
        let apart = shard.own.get(earliest.run..).unwrap_or_default();
        let names = match shard.own.last().filter(|_| parted_now) {
            Some(present) => vec![(present.sealed, id)],
            None => apart.iter().map(|run| (run.sealed, run.id)).collect(),
        };
        // Released batches were delivered: the new epoch has no numbers for them.
        ShardEpoch { offset: common.max(shard.held.saturating_sub(1)), names }
    };
    Some(Fork {
        cause: earliest.cause,
        shards: shards.iter().zip(&verdicts).map(shard).collect(),
        affected_from_ms: runs.get(earliest.run).or(runs.present()).and_then(|run| run.watermark_ms),
        epochs: (epochs.present().id, id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(format_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(format_utc(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(format_utc(-1), "1969-12-31T23:59:59Z");
    }
}
