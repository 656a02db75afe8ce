//! How far an answer is complete.

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, wire};

use super::range::Range;
use crate::store::{Gap, GatewayEntry};

/// Most gaps of an answer, as they fit into one message. `until_ms` takes all into account.
pub(super) const GAPS_MAX: usize = 10_000;
/// Latest gaps among which the same one is looked for.
const GAPS_COMPARED: usize = 64;

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
