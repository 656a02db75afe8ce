//! Series merged into groups by their labels.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use catchment_partial::Timestamp;
use hashbrown::HashSet;

use super::{plan::Grouping, range::Range};
use crate::{
    selector::{METRIC_LABEL, label_value},
    store::{SeriesEntry, SeriesId},
};

/// Series merged into one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// Its number among the groups of the query, in the order of selectors and labels.
    pub(super) number: usize,
    /// Number of the selector that selects its series.
    pub(super) selector: u32,
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

    /// Approximate memory of its labels.
    pub(super) fn label_bytes(&self) -> usize {
        self.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum()
    }

    /// Approximate memory.
    pub(super) fn bytes(&self) -> usize {
        GROUP_BYTES + self.label_bytes() + self.series.len() * size_of::<SeriesId>()
    }
}

/// Name and value of a label. Names are shared.
type Label = (Arc<str>, Box<str>);

/// Collects series into groups, sorted by selector and labels.
#[derive(Debug)]
pub(super) struct Groups {
    grouping: Grouping,
    /// Names of the labels of groups.
    names: HashSet<Arc<str>>,
    /// Keyed by the selector and the labels that their series have, sorted by name.
    groups: BTreeMap<(u32, Vec<Label>), Members>,
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
    pub(super) fn new(grouping: &Grouping) -> Self {
        let mut grouping = grouping.clone();
        match &mut grouping {
            Grouping::By(labels) | Grouping::Without(labels) => labels.sort(),
        }
        Self { grouping, names: HashSet::new(), groups: BTreeMap::new(), bytes: 0 }
    }

    /// Adds a series that the selector of this number selects.
    pub(super) fn push(&mut self, selector: u32, entry: &SeriesEntry) {
        // Twice: vectors grow by doubling.
        self.bytes += 2 * size_of::<SeriesId>();
        let labels = self.labels_of(entry);
        let rows = (entry.rows_from, entry.windows.1);
        match self.groups.entry((selector, labels)) {
            Entry::Vacant(vacant) => {
                let texts: usize = vacant.key().1.iter().map(|(_, value)| value.len() + LABEL_BYTES).sum();
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

    /// The labels of a series that its group has, sorted by name.
    fn labels_of(&mut self, entry: &SeriesEntry) -> Vec<Label> {
        let value = |label: &str| label_value(&entry.gateway, &entry.key, label);
        let (names, bytes) = (&mut self.names, &mut self.bytes);
        match &self.grouping {
            Grouping::By(by) => {
                let given = by.iter().map(|label| (&**label, value(label)));
                given.filter(|(_, value)| !value.is_empty()).map(|of| shared(names, bytes, of)).collect()
            }
            Grouping::Without(without) => {
                let given = ["site", "gateway", "device", METRIC_LABEL];
                let own = entry.key.labels.iter();
                let all = given.into_iter().map(|label| (label, value(label))).chain(own);
                let left = all.filter(|(label, value)| {
                    !value.is_empty() && without.binary_search_by(|known| (**known).cmp(label)).is_err()
                });
                let mut labels: Vec<Label> = left.map(|of| shared(names, bytes, of)).collect();
                labels.sort_unstable();
                labels
            }
        }
    }

    /// Approximate memory of the groups, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The groups, each freed when the caller drops it.
    pub(super) fn into_groups(self) -> impl Iterator<Item = Arc<Group>> {
        self.groups.into_iter().enumerate().map(|(number, ((selector, labels), members))| {
            let labels = labels.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.into()));
            let Members { series, rows } = members;
            Arc::new(Group { number, selector, labels: labels.collect(), series, rows })
        })
    }
}

/// A label with the shared text of its name.
fn shared(names: &mut HashSet<Arc<str>>, bytes: &mut usize, (name, value): (&str, &str)) -> Label {
    let shared = match names.get(name) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<str> = name.into();
            *bytes += name.len() + LABEL_BYTES;
            names.insert(Arc::clone(&new));
            new
        }
    };
    (shared, value.into())
}

#[cfg(test)]
mod tests;
