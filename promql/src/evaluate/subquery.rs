//! Subqueries: the values of an expression at multiples of a step, as if they were readings.
//!
//! The expression is evaluated once for all ranges, on one grid from the first to the last of them.

use std::sync::Arc;

use super::{
    Context,
    ranges::{Ranges, duration, fetched_grid},
};
use crate::{
    error::PromqlError,
    figures::Figures,
    grid::Grid,
    plan::{Matcher, Node, Operation, Range, SUBQUERY_POINTS_MAX},
    source::{Alignment, Columns, Fetch, FetchRange, FetchedSeries, Panes},
    value::{Samples, Series},
};

/// The step where none is given, rounded up to the width of the source's windows.
const DEFAULT_STEP_MS: i64 = 60_000;

/// The values of a subquery.
pub(super) struct SubquerySamples {
    pub(super) series: Vec<Series>,
    /// The times of the values.
    pub(super) grid: Grid,
    /// Which of them belong to which step.
    pub(super) ranges: Ranges,
}

/// Evaluates the expression of a [`Range::Subquery`] where the ranges of a grid need it; no series for another range.
pub(super) async fn samples(
    context: &Context<'_>,
    range: &Range,
    grid: Grid,
) -> Result<SubquerySamples, PromqlError> {
    let (times, range_ms) = match range {
        Range::Subquery { range_ms, at_ms, offset_ms, .. } => {
            (fetched_grid(grid, *at_ms, *offset_ms), *range_ms)
        }
        Range::Selector { range_ms, .. } => (grid, *range_ms),
    };
    let alignment = Alignment { width_ms: 1, range_ms, closed_left: context.source.closed_left() };
    let mut ranges = Ranges::new(times, grid.count, alignment);
    ranges.sample_lag_ms = 0;
    let after = times.start_ms.saturating_sub(range_ms).saturating_sub(i64::from(alignment.closed_left));
    let Range::Subquery { inner, step_ms, .. } = range else {
        return Ok(SubquerySamples { series: Vec::new(), grid: times, ranges });
    };
    let step = match step_ms {
        0 => default_step(context, inner, after, times.end_ms()).await?,
        step => *step,
    };
    let Some(points) = points(after, times.end_ms(), step)? else {
        return Ok(SubquerySamples { series: Vec::new(), grid: times, ranges });
    };
    let series = context.vector(inner, points).await?;
    Ok(SubquerySamples { series, grid: points, ranges })
}

/// The multiples of a step after a time until another; `None`: there are none.
fn points(after_ms: i64, until_ms: i64, step_ms: i64) -> Result<Option<Grid>, PromqlError> {
    let step = step_ms.max(1);
    let start = (after_ms.div_euclid(step).saturating_add(1)).saturating_mul(step);
    let more = until_ms.saturating_sub(start).div_euclid(step);
    if more >= SUBQUERY_POINTS_MAX {
        let (asked, step) = (more.saturating_add(1), duration(step));
        return Err(PromqlError::execution(format!(
            "a subquery of {asked} steps of {step} for all times asked for, at most {SUBQUERY_POINTS_MAX} are allowed: take \
             a longer step in its brackets, or ask for less time"
        )));
    }
    let count = usize::try_from(more.saturating_add(1)).unwrap_or(0);
    Ok((count > 0).then_some(Grid { start_ms: start, step_ms: step, count }))
}

/// One minute, rounded up to the width of the windows that the expression reads.
async fn default_step(
    context: &Context<'_>,
    inner: &Node,
    start_ms: i64,
    end_ms: i64,
) -> Result<i64, PromqlError> {
    let Some(matchers) = first_matchers(inner) else { return Ok(DEFAULT_STEP_MS) };
    let fetch = Fetch {
        matchers: Arc::clone(matchers),
        grid: Grid { start_ms, step_ms: end_ms.saturating_sub(start_ms).max(1), count: 2 },
        range: FetchRange::Lookback,
        columns: Columns::default(),
        group: None,
    };
    let width = context.source.fetch(&fetch).await?.alignment().width_ms.max(1);
    Ok(DEFAULT_STEP_MS.saturating_add(width - 1).div_euclid(width).saturating_mul(width))
}

/// The conditions of the first selector in an expression.
fn first_matchers(node: &Node) -> Option<&Arc<[Matcher]>> {
    match &node.operation {
        Operation::Number(_) | Operation::Text(_) => None,
        Operation::Selector(selector) => Some(&selector.matchers),
        Operation::Negate(of) => first_matchers(of),
        Operation::Binary(of) => first_matchers(&of.left).or_else(|| first_matchers(&of.right)),
        Operation::Aggregate(of) => first_matchers(&of.operand),
        Operation::Call(_, arguments) => arguments.iter().find_map(first_matchers),
        Operation::Over(over) => match &over.range {
            Range::Selector { selector, .. } => Some(&selector.matchers),
            Range::Subquery { inner, .. } => first_matchers(inner),
        },
    }
}

/// The values of a series as panes of one sample each.
pub(super) fn panes(series: Series, grid: Grid) -> FetchedSeries {
    // A sample at `t` is that of a reading one millisecond before.
    let start = |step: usize| grid.time(step).saturating_sub(1);
    let (is_windows, panes) = match series.samples {
        Samples::Floats(column) => {
            let figures =
                column.iter().map(|(step, value)| (start(step), Figures::of_sample(grid.time(step), value)));
            (false, Panes::Figures(figures.collect()))
        }
        Samples::Windows(windows) => {
            let windows = windows.into_iter().enumerate();
            let present = windows.filter_map(|(step, window)| Some((start(step), window?)));
            (true, Panes::Windows(present.collect()))
        }
    };
    FetchedSeries { labels: series.labels, is_windows, panes }
}
