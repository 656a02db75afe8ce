//! The series of a catalog by number, in groups of consecutive numbers that share a record in the tree and a log in the
//! memtable.
//!
//! Changing the tree costs as much for a group as for a single series, so thousands of series with a few windows each
//! are flushed as quickly as few series with many. A lookup takes two index steps and no comparison.

use crate::store::{catalog::Series, tree::records::BlockManifest};

/// Series per group. Part of the format of the keys. More would make flushes of very many series cheaper, and reading
/// a single series from the memtable more expensive: its log holds the others' windows too.
pub(in crate::store) const GROUP_SERIES: u32 = 32;

/// Number of the group of a series.
pub(in crate::store) fn group_of(series: u32) -> u32 {
    series / GROUP_SERIES
}

/// Number of the first series of a group.
pub(in crate::store) fn first_of(group: u32) -> u32 {
    group.saturating_mul(GROUP_SERIES)
}

/// A group of series, and its stored state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::store) struct Group {
    /// By their index in the group.
    places: Vec<Option<Series>>,
    /// Manifest of the group's blocks.
    pub(in crate::store) manifest: BlockManifest,
    /// Whether its record is in the tree.
    pub(in crate::store) stored: bool,
    /// Whether the record in the tree is out of date.
    pub(in crate::store) dirty: bool,
}

impl Group {
    /// Puts a series at its index; false if there is no such index or it is taken.
    pub(in crate::store) fn put(&mut self, place: u32, series: Series) -> bool {
        if place >= GROUP_SERIES {
            return false;
        }
        let place = place as usize;
        if self.places.len() <= place {
            self.places.resize(place + 1, None);
        }
        match self.places.get_mut(place) {
            Some(free @ None) => {
                *free = Some(series);
                true
            }
            _ => false,
        }
    }

    /// Its series with their indices.
    pub(in crate::store) fn series(&self) -> impl Iterator<Item = (u32, &Series)> {
        (0..).zip(&self.places).filter_map(|(place, series)| Some((place, series.as_ref()?)))
    }

    /// Number of its series.
    pub(in crate::store) fn len(&self) -> usize {
        self.places.iter().flatten().count()
    }
}

/// All series of a catalog.
#[derive(Debug, Default)]
pub(in crate::store) struct AllSeries {
    /// By group number. Numbers are never reused, so this grows with all groups that ever existed, 8 bytes each.
    groups: Vec<Option<Box<Group>>>,
    len: usize,
}

impl AllSeries {
    /// Number of series.
    pub(in crate::store) fn len(&self) -> usize {
        self.len
    }

    /// A series.
    pub(in crate::store) fn get(&self, id: u32) -> Option<&Series> {
        self.group(group_of(id))?.places.get((id % GROUP_SERIES) as usize)?.as_ref()
    }

    /// A series, with the dirty flag of its group.
    pub(in crate::store) fn get_mut(&mut self, id: u32) -> Option<(&mut Series, &mut bool)> {
        let group = self.group_mut(group_of(id))?;
        let series = group.places.get_mut((id % GROUP_SERIES) as usize)?.as_mut()?;
        Some((series, &mut group.dirty))
    }

    /// A group that has series.
    pub(in crate::store) fn group(&self, group: u32) -> Option<&Group> {
        self.groups.get(group as usize)?.as_deref()
    }

    /// A group that has series.
    pub(in crate::store) fn group_mut(&mut self, group: u32) -> Option<&mut Group> {
        self.groups.get_mut(group as usize)?.as_deref_mut()
    }

    /// Adds a group whose number is free.
    pub(in crate::store) fn put_group(&mut self, number: u32, group: Group) {
        let index = number as usize;
        if self.groups.len() <= index {
            self.groups.resize(index + 1, None);
        }
        self.len += group.len();
        if let Some(free) = self.groups.get_mut(index) {
            *free = Some(Box::new(group));
        }
    }

    /// Adds a series whose number is free.
    pub(in crate::store) fn insert(&mut self, id: u32, series: Series) {
        let number = group_of(id);
        if self.group(number).is_none() {
            self.put_group(number, Group::default());
        }
        if let Some(group) = self.group_mut(number)
            && group.put(id % GROUP_SERIES, series)
        {
            self.len += 1;
        }
    }

    /// Removes a series; with the last series of its group, also the group.
    pub(in crate::store) fn remove(&mut self, id: u32) -> Option<(Series, Option<Box<Group>>)> {
        let number = group_of(id);
        let group = self.group_mut(number)?;
        let series = group.places.get_mut((id % GROUP_SERIES) as usize)?.take()?;
        let empty = group.len() == 0;
        self.len -= 1;
        let gone = if empty { self.groups.get_mut(number as usize).and_then(Option::take) } else { None };
        Some((series, gone))
    }

    /// The first group at or after this one.
    pub(in crate::store) fn next_group(&self, from: u32) -> Option<u32> {
        let rest = self.groups.get(from as usize..)?;
        Some(from + rest.iter().position(Option::is_some)? as u32)
    }

    /// All group numbers from one on, each with its group if that has series.
    pub(in crate::store) fn groups_from(&self, from: u32) -> impl Iterator<Item = (u32, Option<&Group>)> {
        let rest = self.groups.get(from as usize..).unwrap_or_default();
        (from..).zip(rest.iter().map(Option::as_deref))
    }

    /// Groups with their numbers.
    pub(in crate::store) fn groups(&self) -> impl Iterator<Item = (u32, &Group)> {
        (0..).zip(&self.groups).filter_map(|(number, group)| Some((number, group.as_deref()?)))
    }

    /// Counts the series of a range, looking only at its first `groups_max` groups. Returns also where to continue.
    pub(in crate::store) fn count_in(&self, first: u32, last: u32, groups_max: u32) -> (u64, Option<u32>) {
        let end = group_of(first).saturating_add(groups_max);
        let groups = self.groups_from(group_of(first)).take_while(|(n, _)| *n < end && *n <= group_of(last));
        let series = groups.filter_map(|(number, group)| Some((first_of(number), group?)));
        let series = series.flat_map(|(base, group)| group.series().map(move |(place, _)| base + place));
        let count = series.filter(|id| (first..=last).contains(id)).count() as u64;
        let ended = end > group_of(last) || end as usize >= self.groups.len();
        (count, (!ended).then(|| first_of(end)))
    }

    /// Series with their numbers, in order.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = (u32, &Series)> {
        self.groups().flat_map(|(number, group)| {
            group.series().map(move |(place, series)| (first_of(number) + place, series))
        })
    }
}

#[cfg(test)]
mod tests {
    use catchment_partial::Timestamp;

    use super::*;
    use crate::store::testing::key;

    #[test]
    fn series_of_a_range_are_counted_a_few_groups_at_a_time() {
        let mut all = AllSeries::default();
        let time = Timestamp::from_nanos(0);
        let series = Series {
            gateway: 0,
            key: key("metric").into(),
            first: time,
            last: time,
            end: time,
            newest: time,
            epoch: None,
            flushed: time,
        };
        let ids: Vec<u32> =
            (0..10 * GROUP_SERIES).filter(|id| id % 3 != 0 && id / GROUP_SERIES != 4).collect();
        ids.iter().for_each(|id| all.insert(*id, series.clone()));
        for (first, last) in [(0, u32::MAX), (40, 41), (70, 70), (33, 200), (200, 100), (9_999, u32::MAX)] {
            let (mut counted, mut next, mut calls) = (0, Some(first), 0);
            while let Some(from) = next {
                let (series, rest) = all.count_in(from, last, 2);
                assert!(series <= u64::from(2 * GROUP_SERIES), "only two groups are looked at");
                (counted, next, calls) = (counted + series, rest, calls + 1);
            }
            let inside = |id: &&u32| (first..=last).contains(*id);
            assert_eq!(counted, ids.iter().filter(inside).count() as u64, "{first} to {last}");
            // Only those of the range, and none after the last group.
            let groups = group_of(last.min(10 * GROUP_SERIES - 1)).saturating_sub(group_of(first)) + 1;
            assert_eq!(calls, groups.div_ceil(2), "{first} to {last}");
        }
    }
}
