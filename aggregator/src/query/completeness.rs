//! How complete an answer is: which gateways count, how far each has delivered, what is lost, corrected or refused. Pure.
//!
//! A gateway counts if it is not retired and
//! * holds selected series with windows in the range, or
//! * may still deliver such: it has not delivered its windows up to the range's end, and holds selected series that were
//!   alive lately ([`EXPECTED_MS`]), or
//! * has lost windows within the range.

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, wire};
use hashbrown::HashMap;

use super::range::Range;
use crate::{
    clock_bound::ClockBound,
    store::{Gap, GatewayEntry, LateAndRefused, SeriesEntry},
};

/// Most gaps of an answer, as they fit into one message. `until_ms` takes all into account.
pub(super) const GAPS_MAX: usize = 10_000;
/// Latest gaps among which the same one is looked for.
const GAPS_COMPARED: usize = 64;
/// Most gateways of an answer.
pub(super) const GATEWAYS_MAX: usize = 1_000;
/// A series whose last window starts longer than this before the range's end, or before the present if that is earlier, is
/// not expected to continue, so its gateway's silence leaves nothing out: 30 days.
const EXPECTED_MS: i64 = 30 * 86_400_000;
/// Approximate memory of a gateway that holds selected series.
const HOLDER_BYTES: usize = 96;

/// The gateways that hold selected series, and what they hold in a range.
#[derive(Debug)]
pub(super) struct Holders {
    range: Range,
    now_ms: i64,
    gateways: HashMap<GatewayId, Held>,
}

/// What a gateway holds of the selected series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// Some have windows before the range's end and after its beginning.
    in_range: bool,
    /// Start of their last window that is not in the future.
    last_ms: i64,
    /// Some have windows in the future, by a wrong clock of a device: when they were alive is not known.
    future: bool,
}

impl Holders {
    /// None yet; for an answer over a range, requested at `now_ms`.
    pub(super) fn new(range: Range, now_ms: i64) -> Self {
        Self { range, now_ms, gateways: HashMap::new() }
    }

    /// Adds a selected series.
    pub(super) fn push(&mut self, entry: &SeriesEntry) {
        let windows = (entry.windows.0.as_millis(), entry.windows.1.as_millis());
        self.push_windows(&entry.gateway, windows);
    }

    /// Adds a selected series of a gateway, whose first and last window start at these times.
    pub(super) fn push_windows(&mut self, gateway: &GatewayId, (first_ms, last_ms): (i64, i64)) {
        let future = last_ms > self.now_ms;
        let held = Held {
            in_range: first_ms < self.range.to_ms && last_ms >= self.range.from_ms,
            last_ms: if future { i64::MIN } else { last_ms },
            future,
        };
        match self.gateways.get_mut(gateway) {
            None => _ = self.gateways.insert(gateway.clone(), held),
            Some(known) => {
                known.in_range |= held.in_range;
                known.last_ms = known.last_ms.max(held.last_ms);
                known.future |= held.future;
            }
        }
    }

    /// Whether nothing is selected.
    pub(super) fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }

    /// Approximate memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.gateways.len() * HOLDER_BYTES
    }
}

impl Held {
    /// Whether the selected series may have windows before `end_ms` that are not delivered yet.
    fn may_continue(&self, watermark_ms: Option<i64>, end_ms: i64) -> bool {
        let future_ms = if self.future { watermark_ms.unwrap_or(end_ms) } else { i64::MIN };
        self.last_ms.max(future_ms) >= end_ms.saturating_sub(EXPECTED_MS)
    }
}

/// A gateway that counts.
pub(super) struct Counted {
    /// It has delivered its windows up to here, if that is known and believed.
    watermark_ms: Option<i64>,
}

/// How far an answer is complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Completeness {
    /// Complete up to here, Unix milliseconds. `None` if a gateway that counts has delivered nothing yet, if the start of
    /// a loss is unknown, or if nothing is selected.
    pub(super) until_ms: Option<i64>,
    /// Losses within the range.
    pub(super) gaps: Vec<wire::Gap>,
    /// The gateways that count, at most [`GATEWAYS_MAX`] once finished.
    pub(super) gateways: Vec<wire::GatewayProgress>,
    /// Number of gateways that count, and of those that have not delivered all windows of the range up to now.
    pub(super) expected: u32,
    pub(super) behind: u32,
    /// Late corrections and refused readings of these gateways.
    pub(super) counts: LateAndRefused,
}

impl Completeness {
    /// For an answer requested at `now_ms`, before its gateways are known.
    pub(super) fn new(now_ms: i64) -> Self {
        Self { until_ms: Some(now_ms), ..Self::default() }
    }

    /// Adds a gateway, in order of their names, if it holds selected series. An answer over a range is complete up to the
    /// least watermark of the gateways that count, but not beyond the start of a known loss within the range, nor beyond
    /// the present. A watermark beyond the clock's tolerance is not believed.
    pub(super) fn add(
        &mut self,
        holders: &mut Holders,
        entry: &GatewayEntry,
        clock: ClockBound,
        connected: bool,
    ) {
        let Some(Counted { watermark_ms }) = self.add_bounds(holders, entry, clock) else { return };
        let (range, now_ms) = (&holders.range, holders.now_ms);
        let counts = entry.hours.within(range.from_ms, range.to_ms);
        self.counts.add(counts);
        self.gateways.push(wire::GatewayProgress {
            site: entry.epoch.gateway.site.to_string(),
            gateway: entry.epoch.gateway.name.to_string(),
            complete_until_ms: watermark_ms,
            lag_ms: watermark_ms.map(|time| now_ms.saturating_sub(time).max(0)),
            connected,
            late_corrections: counts.late,
            refused_readings: counts.refused,
        });
    }

    /// As [`Self::add`], without what is listed and counted for each gateway. `None`: it does not count.
    pub(super) fn add_bounds(
        &mut self,
        holders: &mut Holders,
        entry: &GatewayEntry,
        clock: ClockBound,
    ) -> Option<Counted> {
        let held = holders.gateways.remove(&entry.epoch.gateway)?;
        let (range, now_ms) = (&holders.range, holders.now_ms);
        let watermark_ms = entry.watermark.map(Timestamp::as_millis);
        let watermark_ms = watermark_ms.filter(|time| clock.too_far_ahead(*time).is_none());
        let touching = || entry.gaps.iter().filter(|gap| touches(gap, range));
        let room = GAPS_MAX.saturating_sub(self.gaps.len());
        self.gaps.extend(touching().take(room).map(|gap| gap_message(&entry.epoch.gateway, gap, now_ms)));
        let end_ms = range.to_ms.min(now_ms);
        let behind = watermark_ms.is_none_or(|time| time < end_ms);
        let may_deliver = behind && held.may_continue(watermark_ms, end_ms);
        if entry.retired || !(held.in_range || may_deliver || touching().next().is_some()) {
            return None;
        }
        let losses = touching().map(|gap| gap.from.map(Timestamp::as_millis));
        for bound_ms in std::iter::once(watermark_ms).chain(losses) {
            self.until_ms = self.until_ms.zip(bound_ms).map(|(until_ms, bound_ms)| until_ms.min(bound_ms));
        }
        (self.expected, self.behind) = (self.expected + 1, self.behind + u32::from(behind));
        Some(Counted { watermark_ms })
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

    /// Call after all known gateways: of the gateways that hold selected series, those that are left in `holders` are not
    /// known. `any`: something is selected.
    pub(super) fn finish(mut self, holders: &Holders, any: bool) -> Self {
        if !any || !holders.gateways.is_empty() {
            self.until_ms = None;
        }
        if self.gateways.len() > GATEWAYS_MAX {
            // Those that never delivered come first.
            self.gateways.sort_by_key(|gateway| gateway.complete_until_ms);
            self.gateways.truncate(GATEWAYS_MAX);
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
