//! Merges series into groups by their labels, and tells how far an answer is complete.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, wire};
use hashbrown::HashSet;

use super::plan::Range;
use crate::{
    selector::label_value,
    store::{Gap, GatewayEntry, SeriesEntry, SeriesId},
};

/// The longest interval that a store merges windows into.
const DAY_MS: i64 = 86_400_000;
/// Most gaps of an answer, as they fit into one message. `until_ms` takes all into account.
pub(super) const GAPS_MAX: usize = 10_000;
/// Latest gaps among which the same one is looked for.
const GAPS_COMPARED: usize = 64;

/// Series merged into one.
#[derive(Clone, Debug, PartialEq)]
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
    /// The gateways of the series.
    gateways: HashSet<GatewayId>,
    bytes: usize,
}

#[derive(Debug)]
struct Members {
    series: Vec<SeriesId>,
    windows: (Timestamp, Timestamp),
}

/// Approximate memory of a group without its labels, of a label without its text, and of a gateway.
const GROUP_BYTES: usize = 128;
const LABEL_BYTES: usize = 40;
const GATEWAY_BYTES: usize = 64;

impl Groups {
    pub(super) fn new(by: &[String]) -> Self {
        let mut by = by.to_vec();
        by.sort();
        Self { by, groups: BTreeMap::new(), gateways: HashSet::new(), bytes: 0 }
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
        if !self.gateways.contains(&entry.gateway) {
            self.bytes += GATEWAY_BYTES;
            self.gateways.insert(entry.gateway.clone());
        }
    }

    /// Approximate memory of the groups, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The gateways of the collected series.
    pub(super) fn gateways(&self) -> &HashSet<GatewayId> {
        &self.gateways
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

/// How far an answer is complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Completeness {
    /// Complete up to here, Unix milliseconds. `None` if a gateway has delivered nothing yet, if the start of a loss
    /// is unknown, or if nothing is selected.
    pub(super) until_ms: Option<i64>,
    /// Losses within the range.
    pub(super) gaps: Vec<wire::Gap>,
}

impl Completeness {
    /// For an answer requested at `now_ms`, before its gateways are known.
    pub(super) fn new(now_ms: i64) -> Self {
        Self { until_ms: Some(now_ms), gaps: Vec::new() }
    }

    /// Adds a gateway that holds selected series, in order of their names. An answer over a range is complete up to
    /// the least watermark, but not beyond the start of a known loss within the range, nor beyond the present.
    pub(super) fn add(&mut self, entry: &GatewayEntry, range: &Range, now_ms: i64) {
        let touching = || entry.gaps.iter().filter(|gap| touches(gap, range));
        for bound in std::iter::once(entry.watermark).chain(touching().map(|gap| gap.from)) {
            self.until_ms = self.until_ms.zip(bound).map(|(until_ms, bound)| until_ms.min(bound.as_millis()));
        }
        let room = GAPS_MAX.saturating_sub(self.gaps.len());
        self.gaps.extend(touching().take(room).map(|gap| gap_message(&entry.epoch.gateway, gap, now_ms)));
    }

    /// Adds a span of time in which stored partials of a gateway's series are damaged.
    pub(super) fn add_damaged(&mut self, gateway: &GatewayId, (from, to): (Timestamp, Timestamp)) {
        self.until_ms = self.until_ms.map(|until_ms| until_ms.min(from.as_millis()));
        let gap = gap_message(gateway, &Gap { from: Some(from), to: Some(to), batches: 0 }, 0);
        // Blocks hold several series of a gateway, and are damaged for all of them.
        let known = self.gaps.iter().rev().take(GAPS_COMPARED).any(|known| *known == gap);
        if !known && self.gaps.len() < GAPS_MAX {
            self.gaps.push(gap);
        }
    }

    /// Call after all known gateways: of `gateways` that hold selected series, `taken` were added.
    pub(super) fn finish(mut self, taken: usize, gateways: usize) -> Self {
        if gateways == 0 || taken < gateways {
            self.until_ms = None;
        }
        self
    }
}

/// Whether windows of a range may be in a gap. Window starts and ends are multiples of the width: a window that
/// starts before the gap's beginning ends there at the latest.
fn touches(gap: &Gap, range: &Range) -> bool {
    let before_end = gap.to.is_none_or(|to| range.from_ms < to.as_millis());
    before_end && gap.from.is_none_or(|from| range.to_ms > from.as_millis())
}

fn gap_message(gateway: &GatewayId, gap: &Gap, now_ms: i64) -> wire::Gap {
    let from_ms = gap.from.map(Timestamp::as_millis);
    wire::Gap {
        site: gateway.site.to_string(),
        gateway: gateway.name.to_string(),
        from_ms,
        to_ms: gap.to.map_or(from_ms.map_or(now_ms, |from| from.max(now_ms)), Timestamp::as_millis),
        batches: gap.batches,
    }
}

#[cfg(test)]
mod tests;
