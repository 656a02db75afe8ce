//! Whether a data folder is still what it was when its batches were delivered. Pure.
//!
//! An aggregator reports up to which number each run of the gateway delivered. A run of the folder's own history can
//! only have delivered batches that it or an earlier run made: numbers below the base of the next run. A higher
//! number was made by a run that continued from the same state as the next run did, so the folder went back. A run
//! that is not in the history delivers from another copy of the folder, or from the original of this one.
//!
//! A newer epoch of the gateway that the folder did not begin belongs to another folder, which served in its place
//! (`lineage/fork.rs`).
//!
//! None of these is proof: an aggregator that knows less than before (it was restored), a history that does not reach
//! back (`complete` is false), or a run without an id, as long as the numbers can be the folder's own.

use super::runs::OwnRun;

/// A run that delivered to the aggregator, in the folder's own numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveredRun {
    /// The run; 0: unknown.
    pub run: u64,
    /// Earlier runs on the folder that it delivered from, the newest first, as far as known.
    pub previous: Vec<u64>,
    /// Highest number that it delivered.
    pub number: u64,
}

/// The folder's runs as one shard sees them.
#[derive(Clone, Debug)]
pub struct RunHistory<'a> {
    /// Its runs in order; the last is the present one.
    pub runs: &'a [OwnRun],
    /// See [`super::Runs::is_complete`].
    pub complete: bool,
    /// The present run cannot have delivered this number or a higher one.
    pub next: u64,
}

/// Why a folder begins a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is in an older state than before.
    WentBack,
    /// Another copy of it delivers, or did.
    Doubled,
}

impl Cause {
    /// For metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::WentBack => "folder_went_back",
            Self::Doubled => "folder_is_doubled",
        }
    }
}

/// Where the folder's own line diverged from the one that delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What proves it.
    pub cause: Cause,
    /// Batches up to this number were delivered from the own line.
    pub common: u64,
    /// Index in the history of the first run that is on the own line alone; its length: the present run diverged
    /// while running.
    pub run: usize,
}

/// Judges an aggregator's report on one shard: `seen` in its order, or `None` if it does not know of runs;
/// `delivered` is the highest number.
pub fn find_divergence(
    own: &RunHistory<'_>,
    delivered: u64,
    seen: Option<&[DeliveredRun]>,
) -> Option<Divergence> {
    let last = own.runs.len().checked_sub(1)?;
    let Some(seen) = seen else {
        let base = own.runs.last().map_or(1, |run| run.base);
        let common = base.saturating_sub(1);
        // Such an aggregator takes all names for those of the new epoch: what it may have must not be sent again.
        return (delivered >= own.next).then_some(Divergence { cause: Cause::WentBack, common, run: last });
    };
    let unsaid = [DeliveredRun { number: delivered, ..DeliveredRun::default() }];
    let seen = if seen.is_empty() { &unsaid } else { seen };
    let (mut common, mut reached) = (0, None);
    for entry in seen {
        let at = own.runs.iter().position(|run| run.id == entry.run);
        let diverged = match at {
            _ if entry.run == 0 => {
                let run = reached.map_or(0, |at: usize| at + 1);
                (entry.number >= own.next).then_some(Divergence { cause: Cause::WentBack, common, run })
            }
            Some(at) => {
                let limit = own.runs.get(at + 1).map_or(own.next, |next| next.base);
                reached = reached.max(Some(at));
                let common = limit.saturating_sub(1);
                (entry.number >= limit).then_some(Divergence { cause: Cause::WentBack, common, run: at + 1 })
            }
            None => foreign(own, entry, reached, common),
        };
        if diverged.is_some() {
            return diverged;
        }
        common = common.max(entry.number);
    }
    None
}

/// A run that is not in the history.
fn foreign(
    own: &RunHistory<'_>,
    entry: &DeliveredRun,
    reached: Option<usize>,
    common: u64,
) -> Option<Divergence> {
    let first = own.runs.first().map_or(0, |run| run.base);
    if !own.complete && reached.is_none() && entry.number < first {
        // It may be a run older than the history.
        return None;
    }
    let place = |id: &u64| own.runs.iter().position(|run| run.id == *id);
    let previous = entry.previous.iter().find_map(place);
    // If nothing says when the lines diverged, the present run is the likeliest: it noticed at once.
    let run = previous.or(reached).map_or(own.runs.len().saturating_sub(1), |at| at + 1);
    Some(Divergence { cause: Cause::Doubled, common, run })
}

#[cfg(test)]
mod tests;
