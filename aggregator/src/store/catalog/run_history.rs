//! Records which runs of a gateway delivered the batches of a shard, so that a gateway notices when its data folder
//! went back.

use crate::store::RunDelivered;

/// Runs kept per shard: a gateway that went back finds those that delivered last.
pub(in crate::store) const RUNS_KEPT: usize = 4;

/// The last runs that delivered batches of a shard, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct DeliveredRuns([RunDelivered; RUNS_KEPT]);

impl DeliveredRuns {
    /// Records that a run has delivered a batch; the oldest run is forgotten.
    pub(in crate::store) fn note(&mut self, delivered: RunDelivered) {
        if let Some(last) = self.0.last_mut().filter(|last| last.number > 0 && last.run == delivered.run) {
            last.number = last.number.max(delivered.number);
            return;
        }
        self.0.rotate_left(1);
        if let Some(last) = self.0.last_mut() {
            *last = delivered;
        }
    }

    /// The runs, in order.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = RunDelivered> {
        self.0.into_iter().filter(|run| run.number > 0)
    }
}

impl FromIterator<RunDelivered> for DeliveredRuns {
    fn from_iter<I: IntoIterator<Item = RunDelivered>>(runs: I) -> Self {
        let mut all = Self::default();
        runs.into_iter().for_each(|run| all.note(run));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::previous_runs;

    #[test]
    fn the_last_runs_are_kept_in_order() {
        let entry = |run, number| RunDelivered { run, previous: previous_runs(&[run - 1]), number };
        let mut runs = DeliveredRuns::default();
        for (run, number) in [(1, 1), (1, 3), (2, 4), (3, 5), (3, 6), (4, 9), (5, 12)] {
            runs.note(entry(run, number));
        }
        let kept: Vec<_> = runs.iter().collect();
        assert_eq!(kept, [entry(2, 4), entry(3, 6), entry(4, 9), entry(5, 12)]);
        assert_eq!(kept.into_iter().collect::<DeliveredRuns>(), runs);
    }
}
