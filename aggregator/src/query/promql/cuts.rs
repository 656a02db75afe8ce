//! How time is cut for a fetch: into segments that each lie wholly within or without the range of each time. Pure.

use std::sync::Arc;

use catchment_promql::{Alignment, FetchRange, Grid};

use crate::store::Steps;

/// Least lookback of an instant selector.
const LOOKBACK_MS: i64 = 300_000;
/// A longer gap between ranges is skipped; rows of a shorter one are read and left out, which costs less.
const GAP_MS: i64 = 2 * 3_600_000;

/// Time in segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cuts {
    pub(super) alignment: Alignment,
    /// The points of a store's rows: each segment is one, or several.
    pub(super) steps: Steps,
    /// Begin and end of each, in order. What lies between belongs to no range.
    pub(super) segments: Arc<[(i64, i64)]>,
    /// Spans of time that are each read at once; all segments are in them.
    pub(super) spans: Arc<[(i64, i64)]>,
}

impl Cuts {
    /// The segments of ranges that end at the times of a grid, rounded down to windows of this width, at least 1.
    pub(super) fn new(grid: Grid, range: FetchRange, width_ms: i64) -> Self {
        let rounded_up =
            |ms: i64| ms.saturating_add(width_ms - 1).div_euclid(width_ms).saturating_mul(width_ms);
        let range_ms = match range {
            FetchRange::Lookback => rounded_up(LOOKBACK_MS),
            FetchRange::Ms(ms) => rounded_up(ms),
        };
        let end = |step| grid.time(step).div_euclid(width_ms).saturating_mul(width_ms);
        let ends: Vec<i64> = {
            let mut ends: Vec<i64> = (0..grid.count).map(end).collect();
            ends.dedup();
            ends
        };
        let cuts = merged(&ends, range_ms);
        let segments = segments(&cuts, &ends, range_ms);
        let first = ends.first().copied().unwrap_or_default();
        let is_even =
            grid.step_ms % width_ms == 0 && range_ms % grid.step_ms == 0 && first % grid.step_ms == 0;
        let steps =
            if is_even && grid.count > 1 { Steps::Every(grid.step_ms) } else { Steps::At(cuts.into()) };
        let alignment = Alignment { width_ms, range_ms, closed_left: false };
        Self { alignment, steps, spans: spans(&segments).into(), segments: segments.into() }
    }

    /// Memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let steps = match &self.steps {
            Steps::At(starts) => size_of_val(&**starts),
            Steps::Whole | Steps::Every(_) => 0,
        };
        steps + size_of_val(&*self.segments) + size_of_val(&*self.spans)
    }
}

/// All ends, and all beginnings that lie so much before, sorted, each once.
fn merged(ends: &[i64], range_ms: i64) -> Vec<i64> {
    let (mut cuts, mut later) = (Vec::with_capacity(2 * ends.len()), ends.iter().copied().peekable());
    let mut push = |cut| {
        if cuts.last() != Some(&cut) {
            cuts.push(cut);
        }
    };
    for begin in ends.iter().map(|end| end.saturating_sub(range_ms)) {
        while let Some(end) = later.next_if(|end| *end <= begin) {
            push(end);
        }
        push(begin);
    }
    later.for_each(push);
    cuts
}

/// The stretches between two cuts that lie in a range.
fn segments(cuts: &[i64], ends: &[i64], range_ms: i64) -> Vec<(i64, i64)> {
    let mut ends = ends.iter().copied().peekable();
    let mut segments = Vec::with_capacity(cuts.len());
    for pair in cuts.windows(2) {
        let &[from, to] = pair else { continue };
        while ends.next_if(|end| *end <= from).is_some() {}
        if ends.peek().is_some_and(|end| end.saturating_sub(range_ms) <= from) {
            segments.push((from, to));
        }
    }
    segments
}

fn spans(segments: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for (from, to) in segments {
        match spans.last_mut() {
            Some(last) if from.saturating_sub(last.1) <= GAP_MS => last.1 = *to,
            _ => spans.push((*from, *to)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cuts(start_ms: i64, step_ms: i64, count: usize, range_ms: i64, width_ms: i64) -> Cuts {
        Cuts::new(Grid { start_ms, step_ms, count }, FetchRange::Ms(range_ms), width_ms)
    }

    #[test]
    fn times_are_rounded_down_and_ranges_up() {
        let of = cuts(65_000, 20_000, 2, 25_000, 10_000);
        assert_eq!(of.alignment, Alignment { width_ms: 10_000, range_ms: 30_000, closed_left: false });
        assert_eq!(*of.segments, [(30_000, 50_000), (50_000, 60_000), (60_000, 80_000)]);
        assert_eq!(of.steps, Steps::At([30_000, 50_000, 60_000, 80_000].into()));
        let lookback =
            |width_ms| Cuts::new(Grid::instant(0), FetchRange::Lookback, width_ms).alignment.range_ms;
        assert_eq!([1, 10_000, 7_000, 3_600_000].map(lookback), [300_000, 300_000, 301_000, 3_600_000]);
    }

    #[test]
    fn even_steps_are_no_list_and_long_gaps_are_not_read() {
        assert_eq!(cuts(120_000, 60_000, 9, 60_000, 10_000).steps, Steps::Every(60_000));
        assert_eq!(cuts(120_000, 60_000, 9, 300_000, 10_000).segments.len(), 13);
        assert!(matches!(cuts(130_000, 60_000, 9, 60_000, 10_000).steps, Steps::At(_)));
        let daily = cuts(0, 86_400_000, 3, 60_000, 10_000);
        assert_eq!(daily.spans, daily.segments);
        assert_eq!(cuts(0, 3_600_000, 3, 60_000, 10_000).spans.len(), 1);
    }

    proptest! {
        #[test]
        fn segments_are_the_time_in_ranges_and_no_range_begins_or_ends_within_one(
            start in -50_i64..50, step in 1_i64..40, count in 1_usize..12, range in 1_i64..60, width in 1_i64..15,
        ) {
            let of = cuts(start, step, count, range, width);
            let Alignment { range_ms, .. } = of.alignment;
            prop_assert!(range_ms >= range && range_ms < range + width && range_ms % width == 0);
            let ranges: Vec<_> = (0..count)
                .map(|n| (start + n as i64 * step).div_euclid(width) * width)
                .map(|end| (end - range_ms, end))
                .collect();
            for ms in start - 100..start + 600 {
                let in_range = ranges.iter().any(|(from, to)| (*from..*to).contains(&ms));
                let holding: Vec<_> = of.segments.iter().filter(|(from, to)| (*from..*to).contains(&ms)).collect();
                prop_assert_eq!(usize::from(in_range), holding.len());
                for (from, to) in holding {
                    prop_assert!(ranges.iter().all(|range| (range.0 <= *from && *to <= range.1) || *to <= range.0 || range.1 <= *from));
                    let end = of.steps.end_of(*from);
                    prop_assert!(end.is_none_or(|end| end <= *to), "no point holds more than a segment");
                }
            }
        }
    }
}
