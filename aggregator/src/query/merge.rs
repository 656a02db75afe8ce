//! Series into groups by their labels, and partials into the points of a group.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{GatewayId, wire};
use hashbrown::HashSet;

use super::{aggregate::Aggregate, plan::Range, selector::label_value};
use crate::store::{GatewayEntry, SeriesEntry, SeriesId};

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

/// Up to when an answer is complete: the least watermark of the gateways that hold selected series. `None` where
/// one has none, or nothing is selected.
pub(super) fn complete_until(series: &[SeriesEntry], gateways: &[GatewayEntry]) -> Option<i64> {
    let holders: HashSet<&GatewayId> = series.iter().map(|entry| &entry.gateway).collect();
    let watermark = |holder: &GatewayId| {
        gateways.iter().find(|entry| entry.origin.gateway == *holder)?.watermark.map(Timestamp::as_millis)
    };
    let mut complete: Option<i64> = None;
    for holder in holders {
        let watermark = watermark(holder)?;
        complete = Some(complete.map_or(watermark, |least| least.min(watermark)));
    }
    complete
}

#[cfg(test)]
mod tests;
