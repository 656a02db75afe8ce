//! Series into groups by their labels, and partials into the points of a group.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{GatewayId, wire};
use hashbrown::HashSet;

use super::{aggregate::Aggregate, plan::Range, selector::label_value};
use crate::store::{Gap, GatewayEntry, SeriesEntry, SeriesId};

/// Most gaps of an answer: they come in one message. `until_ms` takes all into account.
const GAPS_MAX: usize = 10_000;

/// Series that are merged into one.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// What they have in common, of the labels that stay apart; those that they lack are left out.
    pub(super) labels: BTreeMap<String, String>,
    /// The series.
    pub(super) series: Vec<SeriesId>,
    /// Starts of the first and of the last of their windows.
    pub(super) windows: (Timestamp, Timestamp),
}

impl Group {
    /// The part of a range in which the group has windows.
    pub(super) fn overlap(&self, range: &Range) -> Option<Range> {
        range.overlap(self.windows.0.as_millis(), self.windows.1.as_millis())
    }
}

/// Groups series by the labels that stay apart, in the order of the labels.
pub(super) fn groups(series: Vec<SeriesEntry>, by: &[String]) -> Vec<Group> {
    let mut groups: BTreeMap<BTreeMap<String, String>, Group> = BTreeMap::new();
    for entry in series {
        let value = |label: &str| label_value(&entry.gateway, &entry.key, label).to_owned();
        let labels: BTreeMap<String, String> = by
            .iter()
            .map(|label| (label.clone(), value(label)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        match groups.entry(labels) {
            Entry::Vacant(vacant) => {
                let labels = vacant.key().clone();
                vacant.insert(Group { labels, series: vec![entry.id], windows: entry.windows });
            }
            Entry::Occupied(mut group) => {
                let group = group.get_mut();
                group.series.push(entry.id);
                group.windows.0 = group.windows.0.min(entry.windows.0);
                group.windows.1 = group.windows.1.max(entry.windows.1);
            }
        }
    }
    groups.into_values().collect()
}

/// A stored window that does not fit into the points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step of {step_ms} ms is no multiple of the stored window width: selected windows are {width_ms} ms wide; use a step of a multiple of {width_ms} ms, or none"
)]
pub(crate) struct WidthMismatch {
    /// The step asked for.
    pub(crate) step_ms: i64,
    /// The width found.
    pub(crate) width_ms: u32,
}

/// The points of one group, while partials come in.
#[derive(Debug)]
pub(super) struct Points {
    range: Range,
    partials: BTreeMap<i64, Partial>,
}

impl Points {
    /// No points yet. At most [`Range::points`] will be held.
    pub(super) fn new(range: Range) -> Self {
        Self { range, partials: BTreeMap::new() }
    }

    /// Merges the partial of a window that starts in the range.
    ///
    /// # Errors
    /// When the window is not within one point.
    pub(super) fn push(&mut self, window: Window, partial: &Partial) -> Result<(), WidthMismatch> {
        let width_ms = window.width().as_millis();
        if let Some(step_ms) = self.range.step_ms
            && step_ms % i64::from(width_ms) != 0
        {
            return Err(WidthMismatch { step_ms, width_ms });
        }
        match self.partials.entry(self.range.point(window.start().as_millis())) {
            Entry::Vacant(point) => _ = point.insert(partial.clone()),
            Entry::Occupied(mut point) => point.get_mut().merge(partial),
        }
        Ok(())
    }

    /// The figures of each point that has readings, in order of time.
    pub(super) fn evaluate(self, aggregates: &[(String, Aggregate)]) -> Vec<wire::Point> {
        let figures = |partial: &Partial| {
            aggregates
                .iter()
                .map(|(_, aggregate)| wire::Value { number: aggregate.evaluate(partial) })
                .collect::<Vec<_>>()
        };
        self.partials
            .into_iter()
            .filter(|(_, partial)| partial.count() > 0)
            .map(|(start_ms, partial)| wire::Point { start_ms, values: figures(&partial) })
            .collect()
    }
}

/// How far an answer is complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Completeness {
    /// Up to when, Unix milliseconds; `None` where a gateway has delivered nothing yet, where it is not known since when
    /// something is lost, or where nothing is selected.
    pub(super) until_ms: Option<i64>,
    /// What is lost within the range.
    pub(super) gaps: Vec<wire::Gap>,
}

/// How far an answer over a range is complete, asked at `now_ms`: up to the least watermark of the gateways that hold selected
/// series, but not beyond the start of what is known to be lost within the range, nor beyond the present.
pub(super) fn completeness(
    series: &[SeriesEntry],
    gateways: &[GatewayEntry],
    range: &Range,
    now_ms: i64,
) -> Completeness {
    let holders: HashSet<&GatewayId> = series.iter().map(|entry| &entry.gateway).collect();
    let mut holding: Vec<&GatewayEntry> =
        gateways.iter().filter(|entry| holders.contains(&entry.origin.gateway)).collect();
    holding.sort_by(|a, b| a.origin.gateway.cmp(&b.origin.gateway));
    let mut until_ms = (!holders.is_empty() && holding.len() == holders.len()).then_some(now_ms);
    let mut gaps = Vec::new();
    for entry in holding {
        let mut bounds = vec![entry.watermark];
        let touching: Vec<&Gap> = entry.gaps.iter().filter(|gap| touches(gap, range)).collect();
        bounds.extend(touching.iter().map(|gap| gap.from));
        for bound in bounds {
            until_ms = until_ms.zip(bound).map(|(until_ms, bound)| until_ms.min(bound.as_millis()));
        }
        gaps.extend(touching.into_iter().map(|gap| gap_message(&entry.origin.gateway, gap, now_ms)));
    }
    gaps.truncate(GAPS_MAX);
    Completeness { until_ms, gaps }
}

/// Whether windows of a range may be in a gap. Both are of windows, whose starts and ends are multiples of their width: one
/// that starts before the gap's beginning ends there at the latest.
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
