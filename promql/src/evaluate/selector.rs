//! Instant selectors: the last reading, or window, of each series within the lookback.

use std::sync::Arc;

use catchment_partial::Partial;

use super::{
    Context, Held, Visit,
    ranges::{Ranges, fetched_grid, inform_of_alignment},
};
use crate::{
    error::{PromqlError, Span},
    figures::{Figures, Stamp},
    grid::Grid,
    plan::Selector,
    source::{Columns, Fetch, FetchRange, FetchedSeries, Panes},
    value::{Column, Samples, Series, Value},
};

/// Its value on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let mut all = Collected::new(context);
    each_batch(context, of, span, grid, &mut |batch| all.add(batch)).await?;
    Ok(Value::Vector(all.series))
}

/// Visits its series batch by batch.
pub(super) async fn each_batch(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
    visit: &mut Visit<'_>,
) -> Result<(), PromqlError> {
    each_fetched(context, of, span, grid, visit, |series, ranges| {
        let samples = match (&series.panes, series.is_windows) {
            (Panes::Windows(panes), true) => {
                let mut windows = vec![None; ranges.steps()];
                for (step, pane) in last_panes(panes, ranges) {
                    if let Some(place) = windows.get_mut(step) {
                        *place = Some(Arc::clone(pane));
                    }
                }
                Samples::Windows(windows)
            }
            _ => Samples::Floats(last_stamps(series, ranges, |last| last.value)),
        };
        Series { labels: series.labels.clone(), samples }
    })
    .await
}

/// For each step the time of the reading that [`value`] gives, Unix seconds; of a window, that of its last reading. The
/// series keep their names.
pub(super) async fn timestamps(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let mut all = Collected::new(context);
    each_fetched(context, of, span, grid, &mut |batch| all.add(batch), |series, ranges| {
        let time = |last: Stamp| (last.sample_ms - ranges.sample_lag_ms) as f64 / 1_000.0;
        Series::floats(series.labels.clone(), last_stamps(series, ranges, time))
    })
    .await?;
    Ok(Value::Vector(all.series))
}

/// All series of some batches; holds their memory until it is dropped.
pub(super) struct Collected<'c, 'a> {
    pub(super) series: Vec<Series>,
    bytes: usize,
    held: Held<'c, 'a>,
}

impl<'c, 'a> Collected<'c, 'a> {
    pub(super) fn new(context: &'c Context<'a>) -> Self {
        Self { series: Vec::new(), bytes: 0, held: context.hold() }
    }

    pub(super) fn add(&mut self, batch: Vec<Series>) -> Result<(), PromqlError> {
        self.bytes += batch.iter().map(Series::bytes).sum::<usize>();
        self.held.set(self.bytes)?;
        self.series.extend(batch);
        Ok(())
    }
}

async fn each_fetched(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
    visit: &mut Visit<'_>,
    series_of: impl Fn(&FetchedSeries, &Ranges) -> Series + Send + Sync,
) -> Result<(), PromqlError> {
    let fetch = Fetch {
        matchers: Arc::clone(&of.matchers),
        grid: fetched_grid(grid, of.at_ms, of.offset_ms),
        range: FetchRange::Lookback,
        columns: Columns { extent: true, ..Columns::default() },
        group: None,
    };
    let mut batches = context.source.fetch(&fetch).await?;
    let alignment = batches.alignment();
    inform_of_alignment(context, &fetch, alignment, span);
    let ranges = Ranges::new(fetch.grid, grid.count, alignment);
    let mut held = context.hold();
    while let Some(batch) = batches.next().await? {
        held.set(batch.iter().map(fetched_bytes).sum())?;
        let mut answers = Vec::with_capacity(batch.len());
        for series in batch {
            context.source.yield_point().await?;
            let answer = series_of(&series, &ranges);
            if !answer.samples.is_absent() {
                answers.push(answer);
            }
        }
        held.set(answers.iter().map(Series::bytes).sum())?;
        visit(answers)?;
        held.set(0)?;
    }
    Ok(())
}

/// The last pane of each step that has one.
fn last_panes<'r, T>(panes: &'r [(i64, T)], ranges: &'r Ranges) -> impl Iterator<Item = (usize, &'r T)> {
    let within = ranges.reaches(panes).filter(|reach| !reach.is_empty());
    within.filter_map(|reach| Some((reach.step, &panes.get(reach.to - 1)?.1)))
}

/// A number of the last reading of each step.
fn last_stamps(series: &FetchedSeries, ranges: &Ranges, number: impl Fn(Stamp) -> f64) -> Column {
    let mut column = Column::absent(ranges.steps());
    match &series.panes {
        Panes::Figures(panes) => {
            for (step, figures) in last_panes(panes, ranges) {
                column.set(step, number(figures.last));
            }
        }
        Panes::Windows(panes) => {
            for (step, window) in last_panes(panes, ranges) {
                if let Some(last) = last_of(window) {
                    column.set(step, number(last));
                }
            }
        }
    }
    column
}

/// The last reading of a window.
pub(super) fn last_of(window: &Partial) -> Option<Stamp> {
    window.last().map(|point| Stamp { value: point.value, sample_ms: point.time.as_millis() + 1 })
}

/// The first reading of a window.
pub(super) fn first_of(window: &Partial) -> Option<Stamp> {
    window.first().map(|point| Stamp { value: point.value, sample_ms: point.time.as_millis() + 1 })
}

/// Approximate memory of a fetched series.
pub(super) fn fetched_bytes(series: &FetchedSeries) -> usize {
    let panes = match &series.panes {
        Panes::Figures(panes) => panes.capacity() * size_of::<(i64, Figures)>(),
        Panes::Windows(panes) => panes.iter().map(|(_, window)| 24 + window.memory()).sum(),
    };
    size_of::<FetchedSeries>() + series.labels.bytes() + panes
}

#[cfg(test)]
mod tests;
