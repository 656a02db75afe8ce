//! Which panes belong to the range of each step.

use super::Context;
use crate::{
    error::Span,
    grid::Grid,
    source::{Alignment, Fetch, FetchRange},
};

/// The ranges of all steps.
pub(super) struct Ranges {
    /// Where the range of each step ends: panes that start there are beyond it. In order.
    ends: Vec<i64>,
    /// How much earlier the first pane of a range may start.
    reach_ms: i64,
    /// The length of a range.
    pub(super) range_ms: i64,
    /// How much later the time of a sample is than that of its reading.
    pub(super) sample_lag_ms: i64,
}

/// The panes `from..to` belong to the range of a step that ends at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) step: usize,
    pub(super) end_ms: i64,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Reach {
    pub(super) fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

impl Ranges {
    /// Ranges of readings; `steps` times the first where all steps look at one time (`@`).
    pub(super) fn new(fetched: Grid, steps: usize, alignment: Alignment) -> Self {
        let width = alignment.width_ms.max(1);
        let ends = (0..steps).map(|step| {
            let time = fetched.time(if fetched.count == 1 { 0 } else { step });
            time.div_euclid(width).saturating_mul(width)
        });
        let closed = if alignment.closed_left { width } else { 0 };
        Self {
            ends: ends.collect(),
            reach_ms: alignment.range_ms.saturating_add(closed),
            range_ms: alignment.range_ms,
            sample_lag_ms: 1,
        }
    }

    /// Number of steps.
    pub(super) fn steps(&self) -> usize {
        self.ends.len()
    }

    /// The panes of each step. At most so many panes are passed as there are, twice.
    pub(super) fn reaches<'r, T>(&'r self, panes: &'r [(i64, T)]) -> impl Iterator<Item = Reach> + 'r {
        let (mut from, mut to) = (0, 0);
        self.ends.iter().enumerate().map(move |(step, end)| {
            let start = end.saturating_sub(self.reach_ms);
            to = passed(panes, to, *end);
            from = passed(panes, from, start);
            Reach { step, end_ms: *end, from, to }
        })
    }
}

/// The first pane from `place` on that does not start before a time.
fn passed<T>(panes: &[(i64, T)], mut place: usize, time: i64) -> usize {
    while panes.get(place).is_some_and(|(start, _)| *start < time) {
        place += 1;
    }
    place
}

/// Where a fetch looks: at all steps, or for all steps at one time (`@`).
pub(super) fn fetched_grid(grid: Grid, at_ms: Option<i64>, offset_ms: i64) -> Grid {
    match at_ms {
        Some(at) => Grid::instant(at.saturating_sub(offset_ms)),
        None => grid.moved(offset_ms.saturating_neg()),
    }
}

/// Says once where times and ranges were rounded.
pub(super) fn inform_of_alignment(context: &Context<'_>, fetch: &Fetch, alignment: Alignment, span: Span) {
    let Alignment { width_ms: width, range_ms, .. } = alignment;
    let Grid { start_ms, step_ms, count } = fetch.grid;
    if width > 1 && (start_ms % width != 0 || (count > 1 && step_ms % width != 0)) {
        context.inform(&format!("times are rounded down to windows of {}", duration(width)), span);
    }
    if let FetchRange::Ms(asked) = fetch.range
        && asked != range_ms
    {
        let (asked, given) = (duration(asked), duration(range_ms));
        context.inform(&format!("the range of {asked} is rounded up to {given}"), span);
    }
}

/// A duration as it is written in PromQL.
pub(super) fn duration(mut ms: i64) -> String {
    const UNITS: [(&str, i64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut text = String::new();
    for (name, unit) in UNITS {
        if ms >= unit {
            text.push_str(&format!("{}{name}", ms / unit));
            ms %= unit;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}
