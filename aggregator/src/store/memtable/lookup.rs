//! Looks up many names at once, and compares each row that may have one of them once.
//!
//! A series may have any number of parts of one window. Lookups one by one would visit all of these rows for each
//! name, which takes the square of their number.

use catchment_partial::Timestamp;

use super::{Memtable, RowHeader, RowLog, row::PartialName};
use crate::store::catalog::groups::{GROUP_SERIES, group_of};

/// Most rows that a lookup compares: some ten milliseconds while the state is locked. Rows of open windows are few,
/// unless a gateway delivers very many parts of one.
pub(in crate::store) const COMPARED_MAX: usize = 256 << 10;

/// A name to look up.
#[derive(Debug)]
struct Wanted {
    series: u32,
    name: PartialName,
    /// Highest revision found.
    revision: Option<u64>,
}

impl Wanted {
    fn place(&self) -> (u32, &PartialName) {
        (self.series, &self.name)
    }
}

/// The result of a lookup.
#[derive(Debug)]
pub(in crate::store) struct Found {
    /// In order of series and name, each once.
    wanted: Vec<Wanted>,
    /// The lookup ended before the names from here on.
    complete: usize,
    /// Rows that were compared.
    #[cfg(test)]
    pub(in crate::store) compared: usize,
}

impl Found {
    /// Whether the memtable holds this name in this revision or a higher one. `None`: the lookup ended before.
    pub(in crate::store) fn holds(&self, series: u32, name: &PartialName, revision: u64) -> Option<bool> {
        let at = self.wanted.binary_search_by(|wanted| wanted.place().cmp(&(series, name))).ok()?;
        let wanted = self.wanted.get(at).filter(|_| at < self.complete)?;
        Some(wanted.revision.is_some_and(|held| held >= revision))
    }
}

impl Memtable {
    /// Looks up names of series. Ends after the group of series with which it has compared more than `compared_max`
    /// rows.
    pub(in crate::store) fn look_up(
        &self,
        names: impl Iterator<Item = (u32, PartialName)>,
        compared_max: usize,
    ) -> Found {
        let mut wanted: Vec<Wanted> =
            names.map(|(series, name)| Wanted { series, name, revision: None }).collect();
        wanted.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
        wanted.dedup_by(|later, kept| later.place() == kept.place());
        let (mut complete, mut left) = (0, compared_max);
        'groups: for of_group in wanted.chunk_by_mut(|a, b| group_of(a.series) == group_of(b.series)) {
            let Some(group) = of_group.first().map(|wanted| group_of(wanted.series)) else { continue };
            for log in self.logs(group) {
                if !log.look_up(of_group, &mut left) {
                    break 'groups;
                }
            }
            complete += of_group.len();
        }
        Found {
            wanted,
            complete,
            #[cfg(test)]
            compared: compared_max - left,
        }
    }
}

impl RowLog {
    /// Looks up names of one group of series. False: more rows than are `left` would have to be compared.
    fn look_up(&self, wanted: &mut [Wanted], left: &mut usize) -> bool {
        let place = |series: u32| (series % GROUP_SERIES) as usize;
        let mut asked = [false; GROUP_SERIES as usize];
        for series in wanted.iter().map(|wanted| wanted.series) {
            if let Some(asked) = asked.get_mut(place(series)) {
                *asked = true;
            }
        }
        // Such a log is short, and to skip rows of other series takes next to nothing.
        let is_asked = |header: &&RowHeader| asked.get(place(header.series)).is_some_and(|asked| *asked);
        if !self.unlisted().iter().filter(is_asked).all(|header| compare(wanted, header, left)) {
            return false;
        }
        for wanted in wanted.chunk_by_mut(|a, b| a.series == b.series) {
            let Some(rows) = wanted.first().and_then(|first| self.rows_of(first.series)) else { continue };
            for (span, run) in rows.all_runs() {
                if !starts_within(wanted, span) {
                    continue;
                }
                let mut headers = run.iter().filter_map(|row| self.rows.get(*row as usize));
                if !headers.all(|header| compare(wanted, header, left)) {
                    return false;
                }
            }
        }
        true
    }
}

/// Whether any of these names of a series starts in a span, both ends included.
fn starts_within(wanted: &[Wanted], (least, greatest): (Timestamp, Timestamp)) -> bool {
    let at = wanted.partition_point(|wanted| wanted.name.start < least);
    wanted.get(at).is_some_and(|wanted| wanted.name.start <= greatest)
}

/// Notes the revision of a row if its name is wanted. False: it was not compared, because none is left.
fn compare(wanted: &mut [Wanted], header: &RowHeader, left: &mut usize) -> bool {
    let Some(one_less) = left.checked_sub(1) else { return false };
    *left = one_less;
    let place = (header.series, &header.name);
    if let Ok(at) = wanted.binary_search_by(|wanted| wanted.place().cmp(&place))
        && let Some(wanted) = wanted.get_mut(at)
    {
        wanted.revision = wanted.revision.max(Some(header.revision));
    }
    true
}

#[cfg(test)]
mod tests {
    use catchment_partial::Width;

    use super::*;

    fn part(part: u64) -> PartialName {
        let (start, width) = (Timestamp::from_nanos(0), Width::from_millis(1_000).unwrap());
        PartialName { start, width, epoch: 0, shard: 0, part }
    }

    /// The rows and the names of one window, as a gateway that makes parts without end has them.
    #[test]
    fn very_many_parts_of_a_window_are_compared_once() {
        let parts = 5_000;
        let mut memtable = Memtable::default();
        for number in 0..parts {
            if number == parts / 2 {
                memtable.freeze();
            }
            memtable.put(3, part(number), 7, b"");
            memtable.put(4, part(number), 7, b"");
        }
        let names = || (0..parts + 10).rev().map(|number| (3, part(number)));
        let found = memtable.look_up(names(), usize::MAX);
        assert_eq!(found.compared as u64, parts, "and none of another series");
        let holds = |number, revision| found.holds(3, &part(number), revision);
        assert!((0..parts).all(|number| holds(number, 7) == Some(true) && holds(number, 8) == Some(false)));
        assert_eq!(
            (holds(parts, 1), found.holds(4, &part(1), 1)),
            (Some(false), None),
            "not held; not asked"
        );
    }

    #[test]
    fn a_lookup_ends_at_its_bound() {
        let mut memtable = Memtable::default();
        (0..200).for_each(|number| memtable.put(0, part(number), 1, b""));
        (0..200).for_each(|number| memtable.put(GROUP_SERIES, part(number), 1, b""));
        let names = [(0, part(5)), (GROUP_SERIES, part(5))];
        let found = memtable.look_up(names.into_iter(), 300);
        assert_eq!(names.map(|(series, name)| found.holds(series, &name, 1)), [Some(true), None]);
        assert_eq!(found.compared, 300);
        let found = memtable.look_up(names.into_iter(), 400);
        assert_eq!(names.map(|(series, name)| found.holds(series, &name, 1)), [Some(true); 2]);
    }
}
