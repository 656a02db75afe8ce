//! Which queries a series belongs to: many series at once come and go when a query does.
//!
//! They do so some at a time. Everybody who opens a watch, reads one or passes on changes needs the state of the hub, and
//! none of them waits until a hundred thousand series are through.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    error::WatchError,
    hub::Hub,
    state::{Member, State},
    watched::{Phase, Watched},
};
use crate::{
    query::{
        error::QueryError,
        groups::{Group, Groups},
    },
    store::SeriesId,
};

/// Series that are added or forgotten while the state is locked.
const SERIES_AT_ONCE: usize = 512;

impl Hub {
    /// Adds the selected series of a query, each with the number of its gateway, to those that are passed on.
    ///
    /// # Errors
    /// There are too many, or nobody watches the query any more.
    pub(super) fn register(
        &self,
        watched: &Arc<Watched>,
        groups: Groups,
        gateways: &HashMap<SeriesId, u32>,
    ) -> Result<(), WatchError> {
        // A series has a group of each selector that selects it.
        let several = watched.query.plan.selectors.len() > 1;
        let mut own = HashSet::new();
        let mut pieces = Pieces::new(groups.into_groups().map(Arc::unwrap_or_clone));
        while let Some(groups) = pieces.next() {
            let mut state = self.lock();
            check_watched(&state, watched)?;
            for mut group in groups {
                // Those that came meanwhile belong already, to all of their groups.
                group.series.retain(|series| own.contains(series) || !state.belongs(*series, watched));
                if several {
                    own.extend(group.series.iter().copied());
                }
                self.add(&mut state, watched, group, gateways)?;
            }
        }
        let state = self.lock();
        check_watched(&state, watched)?;
        watched.selected().phase = Phase::Ready;
        Ok(())
    }

    fn add(
        &self,
        state: &mut State,
        watched: &Arc<Watched>,
        group: Group,
        gateways: &HashMap<SeriesId, u32>,
    ) -> Result<(), WatchError> {
        if group.series.is_empty() {
            return Ok(());
        }
        let series = group.series.clone();
        let number = watched.selected().add(group, self.limits.series_max)?;
        for series in series {
            let gateway = gateways.get(&series).copied().unwrap_or(u32::MAX);
            let member = Member { watched: Arc::clone(watched), group: number, gateway };
            state.by_series.entry(series).or_default().push(member);
        }
        Ok(())
    }

    /// Forgets the series of a query that nobody watches any more. On the hub's thread, like all that adds series to a
    /// query later.
    pub(super) fn forget(&self, watched: &Arc<Watched>) {
        let groups: Vec<Arc<Group>> = watched.selected().groups.clone();
        for series in groups.iter().flat_map(|group| group.series.chunks(SERIES_AT_ONCE)) {
            self.lock().forget(watched, series.iter());
        }
    }
}

fn check_watched(state: &State, watched: &Arc<Watched>) -> Result<(), WatchError> {
    let known = state.watched.get(&watched.key).is_some_and(|known| Arc::ptr_eq(known, watched));
    if known { Ok(()) } else { Err(QueryError::Gone.into()) }
}

/// Groups in pieces of at most [`SERIES_AT_ONCE`] series, some of a long group or several short ones.
struct Pieces<I> {
    groups: I,
    /// The rest of a group.
    rest: Option<(Group, VecDeque<SeriesId>)>,
}

impl<I: Iterator<Item = Group>> Pieces<I> {
    fn new(groups: I) -> Self {
        Self { groups, rest: None }
    }

    fn next(&mut self) -> Option<Vec<Group>> {
        let (mut piece, mut left) = (Vec::new(), SERIES_AT_ONCE);
        while left > 0 {
            let Some((group, mut series)) = self.rest.take().or_else(|| self.next_group()) else { break };
            let now: Vec<SeriesId> = series.drain(..left.min(series.len())).collect();
            left -= now.len();
            if series.is_empty() {
                piece.push(Group { series: now, ..group });
            } else {
                piece.push(Group { series: now, ..group.clone() });
                self.rest = Some((group, series));
            }
        }
        (!piece.is_empty()).then_some(piece)
    }

    fn next_group(&mut self) -> Option<(Group, VecDeque<SeriesId>)> {
        let mut group = self.groups.find(|group| !group.series.is_empty())?;
        let series = std::mem::take(&mut group.series);
        Some((group, series.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use catchment_partial::Timestamp;

    use super::*;

    #[test]
    fn a_piece_has_a_bounded_number_of_series() {
        let mut next = 0;
        let groups = (0..700_usize).map(|number| {
            let count = if number % 300 == 7 { 2_000 } else { number as u64 % 4 };
            let series = (next..next + count).map(SeriesId::new).collect();
            next += count;
            let labels = BTreeMap::from([("n".to_owned(), number.to_string())]);
            Group { selector: 0, number, labels, series, rows: (Timestamp::MIN, Timestamp::MAX) }
        });
        let groups: Vec<Group> = groups.collect();
        let mut pieces = Pieces::new(groups.clone().into_iter());
        let mut found: BTreeMap<usize, Vec<SeriesId>> = BTreeMap::new();
        while let Some(piece) = pieces.next() {
            let series: usize = piece.iter().map(|group| group.series.len()).sum();
            assert!((1..=SERIES_AT_ONCE).contains(&series), "{series}");
            piece.into_iter().for_each(|group| found.entry(group.number).or_default().extend(group.series));
        }
        let expected = groups.into_iter().filter(|group| !group.series.is_empty());
        assert_eq!(found, expected.map(|group| (group.number, group.series)).collect());
    }
}
