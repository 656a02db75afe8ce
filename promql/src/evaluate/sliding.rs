//! Summaries of ranges that slide over panes.
//!
//! The panes of a range are cut in two: those to the left of a middle are merged from each of them up to the middle
//! (suffixes), those to the right from the middle on (a prefix that grows). A range is one suffix and the prefix. When it has
//! left the middle behind, its end is the new middle. So a pane is merged at most three times, whatever the range, and
//! nothing is ever subtracted.

use std::sync::Arc;

use catchment_partial::Partial;

use super::ranges::Reach;
use crate::figures::Summary;

impl Summary<Arc<Partial>> for Arc<Partial> {
    fn of(pane: &Arc<Partial>) -> Self {
        Self::clone(pane)
    }

    fn join(&mut self, later: &Self) {
        Self::make_mut(self).merge(later);
    }
}

/// Slides over the panes of one series.
pub(super) struct Sliding<S> {
    /// Of the panes before `middle`, the last first.
    suffixes: Vec<S>,
    middle: usize,
    /// Of the panes from `middle` to before `end`.
    prefix: Option<S>,
    end: usize,
}

impl<S> Sliding<S> {
    pub(super) fn new() -> Self {
        Self { suffixes: Vec::new(), middle: 0, prefix: None, end: 0 }
    }

    /// Whether the next range needs new suffixes, one for each of its panes: [`Sliding::begin`].
    pub(super) fn is_behind(&self, reach: Reach) -> bool {
        reach.from >= self.middle
    }

    /// Makes the end of a range the middle. Then come all its suffixes.
    pub(super) fn begin(&mut self, reach: Reach) {
        self.suffixes.clear();
        self.prefix = None;
        self.middle = reach.to;
        self.end = reach.to;
    }

    /// Adds at most so many suffixes of a range; those added. None: it has all.
    pub(super) fn add_suffixes<P>(&mut self, panes: &[(i64, P)], reach: Reach, most: usize) -> &[S]
    where
        S: Summary<P>,
    {
        let known = self.suffixes.len();
        let to = self.middle.saturating_sub(known);
        let from = to.saturating_sub(most).max(reach.from);
        for (_, pane) in panes.get(from..to).unwrap_or_default().iter().rev() {
            let mut suffix = S::of(pane);
            if let Some(later) = self.suffixes.last() {
                suffix.join(later);
            }
            self.suffixes.push(suffix);
        }
        self.suffixes.get(known..).unwrap_or_default()
    }

    /// The summary of a range, neither end of which is before that of the range before it. `None`: it has no pane.
    #[inline]
    pub(super) fn summary<P>(&mut self, panes: &[(i64, P)], reach: Reach) -> Option<S>
    where
        S: Summary<P>,
    {
        if reach.is_empty() {
            return None;
        }
        if self.is_behind(reach) {
            self.begin(reach);
            self.add_suffixes(panes, reach, usize::MAX);
        }
        for (_, pane) in panes.get(self.end..reach.to).unwrap_or_default() {
            match &mut self.prefix {
                Some(prefix) => prefix.join(&S::of(pane)),
                None => self.prefix = Some(S::of(pane)),
            }
        }
        self.end = reach.to;
        let mut summary = self.suffixes.get(self.middle - 1 - reach.from)?.clone();
        if let Some(prefix) = &self.prefix {
            summary.join(prefix);
        }
        Some(summary)
    }
}
