//! Aggregations that keep one cell for each group and step.

use std::sync::Arc;

use catchment_partial::Partial;

use super::{cells::Cell, groups, groups::Groups, ignored};
use crate::{
    error::PromqlError,
    evaluate::{Context, Held, pace::Pace},
    grid::Grid,
    labels::Labels,
    plan::Aggregation,
    steps::Steps,
    value::{Column, Samples, Series},
};

/// What becomes of windows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Windows {
    /// They are merged.
    Merged,
    /// They count as series.
    Counted,
    /// They are left out, with a note.
    Ignored,
    /// They would have to be divided by their number, which partials cannot be: left out, with a note.
    NotScaled,
}

/// The aggregation's series, in the order of their labels.
pub(super) async fn value<C: Cell>(
    context: &Context<'_>,
    of: &Aggregation,
    grid: Grid,
    windows: Windows,
) -> Result<Vec<Series>, PromqlError> {
    let mut fold = Fold::<C> {
        of,
        policy: windows,
        steps: grid.count,
        groups: Groups::default(),
        rows: Vec::new(),
        held: context.hold(),
        bytes: 0,
        seen_windows: false,
    };
    context
        .each_batch(&of.operand, grid, &mut |batch| {
            batch.into_iter().try_for_each(|series| fold.add(series))?;
            fold.held.set(fold.bytes)
        })
        .await?;
    fold.finish(context).await
}

/// A group.
struct Row<C> {
    labels: Labels,
    cells: Vec<C>,
    /// Empty while there are none.
    windows: Vec<Option<Arc<Partial>>>,
}

struct Fold<'f, 'c, 'a, C> {
    of: &'f Aggregation,
    policy: Windows,
    steps: usize,
    groups: Groups,
    rows: Vec<Row<C>>,
    held: Held<'c, 'a>,
    bytes: usize,
    seen_windows: bool,
}

impl<C: Cell> Fold<'_, '_, '_, C> {
    fn add(&mut self, series: Series) -> Result<(), PromqlError> {
        if matches!(series.samples, Samples::Windows(_)) {
            self.seen_windows = true;
            if self.policy == Windows::Ignored {
                return Ok(());
            }
        }
        let labels = groups::labels_of(&self.of.grouping, &series.labels);
        let (place, is_new) = self.groups.place(&labels);
        if is_new {
            self.bytes += self.steps * size_of::<C>() + size_of::<Row<C>>() + 2 * labels.bytes();
            self.held.set(self.bytes)?;
            self.rows.push(Row { labels, cells: vec![C::default(); self.steps], windows: Vec::new() });
        }
        let Some(row) = self.rows.get_mut(place) else { return Ok(()) };
        match series.samples {
            Samples::Floats(column) => column.zip_each(&mut row.cells, C::add),
            Samples::Windows(windows) if self.policy == Windows::Counted => {
                let present = row.cells.iter_mut().zip(&windows).filter(|(_, window)| window.is_some());
                present.for_each(|(cell, _)| cell.add(0.0));
            }
            Samples::Windows(windows) => {
                if row.windows.is_empty() {
                    self.bytes += self.steps * size_of::<Option<Arc<Partial>>>();
                    self.held.set(self.bytes)?;
                    row.windows = vec![None; self.steps];
                }
                for (place, window) in row.windows.iter_mut().zip(windows) {
                    self.bytes += merge(place, window, self.policy == Windows::Merged);
                }
            }
        }
        Ok(())
    }

    async fn finish(mut self, context: &Context<'_>) -> Result<Vec<Series>, PromqlError> {
        if self.seen_windows {
            match self.policy {
                Windows::Ignored => ignored(context, self.of, self.of.operand.span),
                Windows::NotScaled => context.inform(
                    "ignored histogram in avg aggregation: windows are not scaled; use sum, of which histogram_avg is \
                     the mean of all readings",
                    self.of.operand.span,
                ),
                Windows::Merged | Windows::Counted => {}
            }
        }
        self.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut pace = Pace::new(context);
        let mut series = Vec::with_capacity(self.rows.len());
        for row in std::mem::take(&mut self.rows) {
            let is_mixed = row.finish(self.policy == Windows::Merged, &mut series);
            if is_mixed {
                let text = "encountered a mix of histograms and floats for aggregation";
                context.warn(text, self.of.operand.span);
            }
            pace.did(self.steps).await?;
        }
        Ok(series)
    }
}

/// Merges a window into another; returns the memory that this takes.
fn merge(place: &mut Option<Arc<Partial>>, window: Option<Arc<Partial>>, merged: bool) -> usize {
    match (place, window) {
        (_, None) => 0,
        (place @ None, window) => {
            *place = window;
            0
        }
        (Some(_), Some(_)) if !merged => 0,
        (Some(all), Some(window)) => {
            let before = if Arc::strong_count(all) > 1 { 0 } else { all.memory() };
            let all = Arc::make_mut(all);
            all.merge_across_series(&window);
            all.memory().saturating_sub(before)
        }
    }
}

impl<C: Cell> Row<C> {
    /// Appends its series; returns whether there were windows and numbers at one step, which then has no result.
    fn finish(self, has_windows: bool, series: &mut Vec<Series>) -> bool {
        let mut column = Column::absent(self.cells.len());
        let results = self.cells.iter().enumerate();
        results.for_each(|(step, cell)| cell.result().into_iter().for_each(|value| column.set(step, value)));
        let mut is_mixed = false;
        let mut windows = Samples::Windows(self.windows);
        if let Samples::Windows(some) = &windows
            && !some.is_empty()
        {
            let mut numbers = Samples::Floats(column);
            let (mut only_numbers, mut only_windows): (Steps, Steps) = (numbers.steps(), windows.steps());
            let both = only_numbers.and(&only_windows);
            is_mixed = !both.is_empty();
            only_numbers.remove(&both);
            only_windows.remove(&both);
            numbers.keep(&only_numbers);
            windows.keep(&only_windows);
            if has_windows && !windows.is_absent() {
                series.push(Series { labels: self.labels.clone(), samples: windows });
            }
            if !numbers.is_absent() {
                series.push(Series { labels: self.labels, samples: numbers });
            }
        } else if !column.is_absent() {
            series.push(Series::floats(self.labels, column));
        }
        is_mixed
    }
}
