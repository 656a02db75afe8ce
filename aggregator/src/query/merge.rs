//! Merges series into groups by their labels, and partials into the points of a group.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::{OrderFigures, Partial, Parts, Timestamp, Window};
use catchment_proto::{GatewayId, wire};
use hashbrown::HashSet;

use super::{
    aggregate::{Aggregate, AggregateValue, Figures},
    error::QueryError,
    follow::{Followed, Follower},
    plan::{Needs, Range},
};
use crate::{
    selector::label_value,
    store::{Gap, GatewayEntry, SeriesEntry, SeriesId, StoreError, StoredPartial},
};

/// Most gaps of an answer, as they fit into one message. `until_ms` takes all into account.
const GAPS_MAX: usize = 10_000;
/// Approximate memory of a point, without its partial.
const POINT_BYTES: usize = 64;

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

    /// The part of a range in which each group has windows.
    pub(super) fn overlaps(&self, range: Range) -> impl Iterator<Item = Option<Range>> {
        self.groups.values().map(move |group| overlap(&range, group.windows))
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
    range.overlap(windows.0.as_millis(), windows.1.as_millis())
}

/// A stored window that does not fit into the points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step of {step_ms} ms is not a multiple of the stored window width: selected windows are {width_ms} ms wide; use a multiple of {width_ms} ms, or no step"
)]
pub(crate) struct WidthMismatch {
    /// The requested step.
    pub(crate) step_ms: i64,
    /// The stored width.
    pub(crate) width_ms: u32,
}

/// The points of one group, as partials are merged.
#[derive(Debug)]
pub(super) struct Points {
    range: Range,
    points: BTreeMap<i64, Figures>,
    /// Optional parts that the merged partials keep.
    parts: Parts,
    /// `None`: nothing that was requested depends on the order of readings.
    follower: Option<Follower>,
    bytes: usize,
}

impl Points {
    /// No points yet, of a query over this range; holds at most [`Range::points`].
    pub(super) fn new(range: Range, needs: Needs) -> Self {
        let Needs { parts, order_bounds } = needs;
        let follower = order_bounds.map(|bounds| Follower::new(range, bounds));
        Self { range, points: BTreeMap::new(), parts, follower, bytes: 0 }
    }

    /// Merges the partial of a window that starts in the range. Series come one after the other, each with its windows
    /// in order of their start, and [`Points::end_series`] after each.
    ///
    /// # Errors
    /// The window does not fit into one point, or the stored bytes are damaged.
    pub(super) fn push(&mut self, series: SeriesId, row: &StoredPartial) -> Result<(), QueryError> {
        let start_ms = self.point_of(row.window)?;
        let Some(follower) = &mut self.follower else {
            // Faster than to decode it first.
            return Ok(self.merge(start_ms, |merged| row.merge_into(series, merged))?);
        };
        let partial = row.partial(series)?;
        let left = follower.push(start_ms, row.window, &partial);
        self.merge(start_ms, |merged| {
            merged.merge_across_series(&partial);
            Ok(())
        })?;
        if let Some(left) = left {
            self.add_order(left);
        }
        Ok(())
    }

    /// The point of a window.
    fn point_of(&self, window: Window) -> Result<i64, WidthMismatch> {
        let width_ms = window.width().as_millis();
        if let Some(step_ms) = self.range.step_ms
            && step_ms % i64::from(width_ms) != 0
        {
            return Err(WidthMismatch { step_ms, width_ms });
        }
        Ok(self.range.point(window.start().as_millis()))
    }

    /// Merges into a point, and counts the memory.
    fn merge(
        &mut self,
        start_ms: i64,
        merge: impl FnOnce(&mut Partial) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (merged, before) = match self.points.entry(start_ms) {
            Entry::Vacant(point) => {
                self.bytes += POINT_BYTES;
                (&mut point.insert(Figures::new(self.parts)).partial, 0)
            }
            Entry::Occupied(point) => {
                let merged = &mut point.into_mut().partial;
                let before = merged.memory();
                (merged, before)
            }
        };
        merge(merged)?;
        self.bytes = (self.bytes + merged.memory()).saturating_sub(before);
        Ok(())
    }

    /// The present series has no more windows.
    pub(super) fn end_series(&mut self) {
        if let Some(left) = self.follower.as_mut().and_then(Follower::end_series) {
            self.add_order(left);
        }
    }

    /// Adds the figures of one series in one point to those of the other series there.
    fn add_order(&mut self, (start_ms, figures): Followed) {
        let Some(point) = self.points.get_mut(&start_ms) else { return };
        let before = point.order.as_ref().map_or(0, OrderFigures::memory);
        let order = match &mut point.order {
            Some(order) => {
                order.merge(&figures);
                order
            }
            none => none.insert(figures),
        };
        self.bytes = (self.bytes + order.memory()).saturating_sub(before);
    }

    /// Approximate memory of the points, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.follower.as_ref().map_or(0, Follower::bytes)
    }

    /// Starts of the points and their figures, in order of time; points without readings are omitted.
    pub(super) fn into_points(self) -> impl Iterator<Item = (i64, Figures)> {
        let read = |partial: &Partial| partial.count() > 0 || partial.state_count() > 0;
        self.points.into_iter().filter(move |(_, figures)| read(&figures.partial))
    }
}

/// Computes the values of a point.
pub(super) fn evaluate(start_ms: i64, figures: &Figures, aggregates: &[(String, Aggregate)]) -> wire::Point {
    let value = |(_, aggregate): &(_, Aggregate)| match aggregate.evaluate(figures) {
        None => wire::Value::default(),
        Some(AggregateValue::Number(number)) => wire::Value { number: Some(number), ..Default::default() },
        Some(AggregateValue::Text(text)) => wire::Value { text: Some(text), ..Default::default() },
        Some(AggregateValue::States(states)) => {
            let states = states.into_iter().map(|(state, number)| wire::StateValue { state, number });
            wire::Value { states: states.collect(), ..Default::default() }
        }
    };
    wire::Point { start_ms, values: aggregates.iter().map(value).collect() }
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
