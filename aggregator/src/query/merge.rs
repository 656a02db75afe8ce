//! Merges series into groups by their labels.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::Timestamp;

use super::plan::Range;
use crate::{
    selector::label_value,
    store::{SeriesEntry, SeriesId},
};

/// Series merged into one.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// Their common values of the group-by labels; labels that they lack are omitted.
    pub(super) labels: BTreeMap<String, String>,
    /// The series.
    pub(super) series: Vec<SeriesId>,
    /// None of their rows starts before the first time, nor after the second.
    pub(super) rows: (Timestamp, Timestamp),
}

impl Group {
    /// The part of a range in which the group may have rows.
    pub(super) fn overlap(&self, range: &Range) -> Option<Range> {
        range.overlap(self.rows.0.as_millis(), self.rows.1.as_millis())
    }
}

/// Collects series into groups by the group-by labels, sorted by label values.
#[derive(Debug)]
pub(super) struct Groups {
    /// The group-by labels, sorted.
    by: Vec<String>,
    /// Keyed by the values of the labels that their series have.
    groups: BTreeMap<Vec<(usize, Box<str>)>, Members>,
    bytes: usize,
}

#[derive(Debug)]
struct Members {
    series: Vec<SeriesId>,
    rows: (Timestamp, Timestamp),
}

/// Approximate memory of a group without its labels, and of a label without its text.
const GROUP_BYTES: usize = 128;
const LABEL_BYTES: usize = 40;

impl Groups {
    pub(super) fn new(by: &[String]) -> Self {
        let mut by = by.to_vec();
        by.sort();
        Self { by, groups: BTreeMap::new(), bytes: 0 }
    }

    /// Adds a series.
    pub(super) fn push(&mut self, entry: &SeriesEntry) {
        let value = |label: &str| label_value(&entry.gateway, &entry.key, label);
        let values = self.by.iter().map(|label| value(label)).enumerate();
        let labels: Vec<(usize, Box<str>)> =
            values.filter(|(_, value)| !value.is_empty()).map(|(n, value)| (n, value.into())).collect();
        let rows = (entry.rows_from, entry.windows.1);
        // Twice: vectors grow by doubling.
        self.bytes += 2 * size_of::<SeriesId>();
        match self.groups.entry(labels) {
            Entry::Vacant(vacant) => {
                let texts: usize = vacant.key().iter().map(|(_, value)| value.len() + LABEL_BYTES).sum();
                self.bytes += GROUP_BYTES + texts;
                vacant.insert(Members { series: vec![entry.id], rows });
            }
            Entry::Occupied(mut group) => {
                let group = group.get_mut();
                group.series.push(entry.id);
                group.rows = (group.rows.0.min(rows.0), group.rows.1.max(rows.1));
            }
        }
    }

    /// Approximate memory of the groups, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The groups, each freed when the caller drops it.
    pub(super) fn into_groups(self) -> impl Iterator<Item = Group> {
        let Self { by, groups, .. } = self;
        groups.into_iter().map(move |(labels, Members { series, rows })| {
            let named = |(number, value): (usize, Box<str>)| Some((by.get(number)?.clone(), value.into()));
            Group { labels: labels.into_iter().filter_map(named).collect(), series, rows }
        })
    }
}

#[cfg(test)]
mod tests;
