//! Functions of windows, and what needs windows of numbers.

use std::sync::Arc;

use catchment_partial::Partial;

use crate::{
    error::{PromqlError, Span},
    evaluate::{
        Context, Held,
        pace::Pace,
        quantile,
        ranges::{Ranges, Reach},
        selector::{first_of, last_of},
        sliding::Sliding,
    },
    figures::{Count, Stamp, Summary},
    function::Function,
    labels::{Labels, METRIC_NAME},
    value::{Column, Samples},
};

/// Windows that are merged at a time.
const MERGES_MAX: usize = 64;
/// Merging two windows takes as long as computing so many numbers.
const MERGE_WORK: usize = 256;

type WindowPane = (i64, Arc<Partial>);

impl Summary<Arc<Partial>> for Count {
    fn of(pane: &Arc<Partial>) -> Self {
        Self(pane.count() as f64)
    }

    fn join(&mut self, later: &Self) {
        self.0 += later.0;
    }
}

/// The values of a function of windows, of all steps; `None`: it has none.
pub(super) async fn samples(
    context: &Context<'_>,
    function: Function,
    panes: &[WindowPane],
    ranges: &Ranges,
) -> Result<Option<Samples>, PromqlError> {
    use Function as F;
    let time = |place: usize, of: fn(&Partial) -> Option<Stamp>| {
        let (start, window) = panes.get(place)?;
        // The values of an expression count by the time of their evaluation.
        let ms = if ranges.sample_lag_ms == 0 { start.saturating_add(1) } else { of(window)?.sample_ms - 1 };
        Some(ms as f64 / 1_000.0)
    };
    let floats = match function {
        F::SumOverTime => return Ok(Some(Samples::Windows(merged(context, panes, ranges).await?))),
        F::FirstOverTime => return Ok(Some(picked(panes, ranges, |reach| reach.from))),
        F::LastOverTime => return Ok(Some(picked(panes, ranges, |reach| reach.to - 1))),
        F::CountOverTime => {
            let mut sliding = Sliding::new();
            column(panes, ranges, |reach| sliding.summary(panes, reach).map(|Count(count)| count))
        }
        F::PresentOverTime => column(panes, ranges, |_| Some(1.0)),
        F::TsOfFirstOverTime => column(panes, ranges, |reach| time(reach.from, first_of)),
        F::TsOfLastOverTime => column(panes, ranges, |reach| time(reach.to - 1, last_of)),
        _ => return Ok(None),
    };
    Ok(Some(Samples::Floats(floats)))
}

/// Quantiles of the readings of each step.
pub(super) async fn quantiles(
    context: &Context<'_>,
    quantiles: &[f64],
    panes: &[WindowPane],
    ranges: &Ranges,
) -> Result<Column, PromqlError> {
    let mut column = Column::absent(ranges.steps());
    let mut merging = Merging::new(context, panes);
    for (reach, quantile) in ranges.reaches(panes).zip(quantiles) {
        if let Some(window) = merging.window(reach).await? {
            column.set(reach.step, quantile::of_window(*quantile, &window));
        }
    }
    Ok(column)
}

/// Says that a function has no values for windows, and what has.
pub(super) fn inform_of_ignored(context: &Context<'_>, function: Function, labels: &Labels, span: Span) {
    use Function as F;
    let instead = match function {
        F::AvgOverTime => "histogram_avg(sum_over_time(…))",
        F::StddevOverTime => "histogram_stddev(sum_over_time(…))",
        F::StdvarOverTime => "histogram_stdvar(sum_over_time(…))",
        F::QuantileOverTime => "histogram_quantile(φ, sum_over_time(…))",
        _ => "the same of the metric's readings, without :window",
    };
    let name = labels.get(METRIC_NAME);
    context.inform(
        &format!("ignored windows of {name:?}, which this function has no answer for: use {instead}"),
        span,
    );
}

/// The merged windows of each step.
async fn merged(
    context: &Context<'_>,
    panes: &[WindowPane],
    ranges: &Ranges,
) -> Result<Vec<Option<Arc<Partial>>>, PromqlError> {
    let mut windows = Vec::with_capacity(ranges.steps());
    let (mut held, mut bytes) = (context.hold(), 0);
    let mut merging = Merging::new(context, panes);
    for reach in ranges.reaches(panes) {
        let window = merging.window(reach).await?;
        bytes += size_of::<Option<Arc<Partial>>>() + window.as_ref().map_or(0, |window| window.memory());
        held.set(bytes)?;
        windows.push(window);
    }
    Ok(windows)
}

/// Merges the windows of ranges.
struct Merging<'p, 'c, 'a> {
    panes: &'p [WindowPane],
    sliding: Sliding<Arc<Partial>>,
    held: Held<'c, 'a>,
    /// Memory of the largest window so far.
    largest: usize,
    pace: Pace<'c, 'a>,
}

impl<'p, 'c, 'a> Merging<'p, 'c, 'a> {
    fn new(context: &'c Context<'a>, panes: &'p [WindowPane]) -> Self {
        let largest = panes.iter().map(|(_, window)| window.memory()).max().unwrap_or(0);
        Self { panes, sliding: Sliding::new(), held: context.hold(), largest, pace: Pace::new(context) }
    }

    /// The windows of a range as one.
    async fn window(&mut self, reach: Reach) -> Result<Option<Arc<Partial>>, PromqlError> {
        if reach.is_empty() {
            return Ok(None);
        }
        if self.sliding.is_behind(reach) {
            self.begin(reach).await?;
        }
        self.pace.did(MERGE_WORK).await?;
        let window = self.sliding.summary(self.panes, reach);
        if let Some(window) = &window {
            self.largest = self.largest.max(window.memory());
        }
        Ok(window)
    }

    /// Merges a range from its end on; charges memory first.
    async fn begin(&mut self, reach: Reach) -> Result<(), PromqlError> {
        self.sliding.begin(reach);
        let mut bytes = 0;
        loop {
            // Beside the suffixes, the prefix and what is cloned to be merged.
            self.held.set(bytes + (MERGES_MAX.min(reach.to - reach.from) + 2) * self.largest)?;
            let added = self.sliding.add_suffixes(self.panes, reach, MERGES_MAX);
            if added.is_empty() {
                return self.held.set(bytes + 2 * self.largest);
            }
            bytes += added.iter().map(|window| window.memory()).sum::<usize>();
            self.largest = added.last().map_or(0, |window| window.memory()).max(self.largest);
            self.pace.did(added.len() * MERGE_WORK).await?;
        }
    }
}

/// One window of each range.
fn picked(panes: &[WindowPane], ranges: &Ranges, pick: impl Fn(Reach) -> usize) -> Samples {
    let pick = |reach: Reach| {
        if reach.is_empty() { None } else { panes.get(pick(reach)).map(|(_, window)| Arc::clone(window)) }
    };
    Samples::Windows(ranges.reaches(panes).map(pick).collect())
}

/// A number of each range that has a window.
fn column(panes: &[WindowPane], ranges: &Ranges, mut number: impl FnMut(Reach) -> Option<f64>) -> Column {
    let mut column = Column::absent(ranges.steps());
    for reach in ranges.reaches(panes).filter(|reach| !reach.is_empty()) {
        if let Some(number) = number(reach) {
            column.set(reach.step, number);
        }
    }
    column
}
