//! Merges series into groups by their labels.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::Timestamp;

use super::plan::Range;
use crate::{
    selector::label_value,
    store::{SeriesEntry, SeriesId},
};

/// The longest interval that a store merges windows into.
const DAY_MS: i64 = 86_400_000;

/// Series merged into one.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// Their common values of the group-by labels; labels that they lack are omitted.
    pub(super) labels: BTreeMap<String, String>,
    /// The series.
    pub(super) series: Vec<SeriesId>,
    /// Start of the first and of the last of their windows.
    pub(super) windows: (Timestamp, Timestamp),
}

impl Group {
    /// The part of a range in which the group has windows.
    pub(super) fn overlap(&self, range: &Range) -> Option<Range> {
        overlap(range, self.windows)
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
    windows: (Timestamp, Timestamp),
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
        // Twice: vectors grow by doubling.
        self.bytes += 2 * size_of::<SeriesId>();
        match self.groups.entry(labels) {
            Entry::Vacant(vacant) => {
                let texts: usize = vacant.key().iter().map(|(_, value)| value.len() + LABEL_BYTES).sum();
                self.bytes += GROUP_BYTES + texts;
                vacant.insert(Members { series: vec![entry.id], windows: entry.windows });
            }
            Entry::Occupied(mut group) => {
                let group = group.get_mut();
                group.series.push(entry.id);
                group.windows.0 = group.windows.0.min(entry.windows.0);
                group.windows.1 = group.windows.1.max(entry.windows.1);
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
        groups.into_iter().map(move |(labels, Members { series, windows })| {
            let named = |(number, value): (usize, Box<str>)| Some((by.get(number)?.clone(), value.into()));
            Group { labels: labels.into_iter().filter_map(named).collect(), series, windows }
        })
    }
}

fn overlap(range: &Range, windows: (Timestamp, Timestamp)) -> Option<Range> {
    // A row of a day begins with it, perhaps before the first window.
    let first_ms = windows.0.as_millis();
    range.overlap(first_ms - first_ms.rem_euclid(DAY_MS), windows.1.as_millis())
}

#[cfg(test)]
mod tests;
