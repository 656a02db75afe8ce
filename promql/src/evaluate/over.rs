//! Functions of a range of time: of readings, and of the values of an expression.

mod floats;
mod windows;

use std::sync::Arc;

use hashbrown::HashSet;

use super::{
    Context, Held, Visit,
    call::absent,
    quantile,
    ranges::{Ranges, fetched_grid, inform_of_alignment},
    selector::{Collected, fetched_bytes},
    subquery,
};
use crate::{
    error::{PromqlError, Span},
    function::Function,
    grid::Grid,
    labels::{Labels, METRIC_NAME},
    plan::{Matcher, Over, Range, Selector, Test},
    source::{Columns, Fetch, FetchRange, FetchedSeries, Panes},
    steps::Steps,
    value::{Column, Samples, Series, Value},
};

/// Its value on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Over,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let mut all = Collected::new(context);
    each_batch(context, of, span, grid, &mut |batch| all.add(batch)).await?;
    let mut series = all.series;
    // Without names, labels may be in another order.
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Value::Vector(series))
}

/// Visits its series batch by batch.
pub(super) async fn each_batch(
    context: &Context<'_>,
    of: &Over,
    span: Span,
    grid: Grid,
    visit: &mut Visit<'_>,
) -> Result<(), PromqlError> {
    let parameter = match of.parameters.first() {
        Some(node) => context.scalar(node, grid).await?,
        None => Vec::new(),
    };
    quantile::warn_beyond(context, &parameter, span);
    match &of.range {
        Range::Selector { selector, range_ms } => {
            let fetch = fetch(of, selector, *range_ms, grid);
            let mut batches = context.source.fetch(&fetch).await?;
            let alignment = batches.alignment();
            inform_of_alignment(context, &fetch, alignment, span);
            let ranges = Ranges::new(fetch.grid, grid.count, alignment);
            let mut work = Work::new(context, of, span, ranges, parameter);
            while let Some(batch) = batches.next().await? {
                work.batch(batch, visit).await?;
            }
            work.finish(visit)
        }
        Range::Subquery { .. } => {
            let samples = subquery::samples(context, &of.range, grid).await?;
            let mut work = Work::new(context, of, span, samples.ranges, parameter);
            let mut held = context.hold();
            held.set(samples.series.iter().map(Series::bytes).sum())?;
            for series in samples.series {
                work.batch(vec![subquery::panes(series, samples.grid)], visit).await?;
            }
            work.finish(visit)
        }
    }
}

fn fetch(of: &Over, selector: &Selector, range_ms: i64, grid: Grid) -> Fetch {
    Fetch {
        matchers: Arc::clone(&selector.matchers),
        grid: fetched_grid(grid, selector.at_ms, selector.offset_ms),
        range: FetchRange::Ms(range_ms),
        columns: columns(of.function),
        group: of.group.clone(),
    }
}

/// What a function needs.
fn columns(function: Function) -> Columns {
    use Function as F;
    let none = Columns::default();
    match function {
        F::AvgOverTime | F::SumOverTime => Columns { sum: true, ..none },
        F::StddevOverTime | F::StdvarOverTime => {
            Columns { sum: true, deviations: true, extent: true, ..none }
        }
        F::Rate | F::Increase | F::Resets | F::Changes => Columns { counter: true, ..none },
        F::QuantileOverTime => Columns { sketch: true, ..none },
        F::FirstOverTime | F::LastOverTime => Columns { extent: true, single_windows: true, ..none },
        F::Delta
        | F::MaxOverTime
        | F::MinOverTime
        | F::TsOfFirstOverTime
        | F::TsOfLastOverTime
        | F::TsOfMaxOverTime
        | F::TsOfMinOverTime => Columns { extent: true, ..none },
        _ => none,
    }
}

/// From the panes of series to the values of a function.
struct Work<'c, 'a> {
    context: &'c Context<'a>,
    of: &'c Over,
    span: Span,
    ranges: Ranges,
    /// φ of each step.
    parameter: Vec<f64>,
    names: Names<'c, 'a>,
    /// The steps at which any series has a sample, for `absent_over_time`.
    present: Steps,
    /// The last metric that was said to be no counter.
    no_counter: String,
}

impl<'c, 'a> Work<'c, 'a> {
    fn new(context: &'c Context<'a>, of: &'c Over, span: Span, ranges: Ranges, parameter: Vec<f64>) -> Self {
        let present = Steps::none(ranges.steps());
        let names = Names::new(context, of);
        Self { context, of, span, ranges, parameter, names, present, no_counter: String::new() }
    }

    async fn batch(&mut self, batch: Vec<FetchedSeries>, visit: &mut Visit<'_>) -> Result<(), PromqlError> {
        let mut held = self.context.hold();
        held.set(batch.iter().map(fetched_bytes).sum())?;
        let mut answers = Vec::with_capacity(batch.len());
        for series in batch {
            self.context.source.yield_point().await?;
            if self.of.function == Function::AbsentOverTime {
                self.note_presence(&series);
                continue;
            }
            let Some(samples) = self.samples(&series).await? else { continue };
            if samples.is_absent() {
                continue;
            }
            if matches!(samples, Samples::Floats(_)) {
                self.inform_of_no_counter(&series.labels);
            }
            answers.push(Series { labels: self.names.labels(series.labels)?, samples });
        }
        held.set(answers.iter().map(Series::bytes).sum())?;
        if answers.is_empty() { Ok(()) } else { visit(answers) }
    }

    /// The values of a series; `None`: the function has none for windows.
    async fn samples(&self, series: &FetchedSeries) -> Result<Option<Samples>, PromqlError> {
        let (context, ranges, function) = (self.context, &self.ranges, self.of.function);
        Ok(match (&series.panes, series.is_windows) {
            (Panes::Figures(panes), _) if function == Function::QuantileOverTime => {
                Some(Samples::Floats(floats::quantiles(context, &self.parameter, panes, ranges).await?))
            }
            (Panes::Figures(panes), _) => Some(Samples::Floats(floats::column(function, panes, ranges))),
            (Panes::Windows(panes), false) => {
                Some(Samples::Floats(windows::quantiles(context, &self.parameter, panes, ranges).await?))
            }
            (Panes::Windows(panes), true) => {
                let samples = windows::samples(context, function, panes, ranges).await?;
                if samples.is_none() {
                    windows::inform_of_ignored(context, function, &series.labels, self.span);
                }
                samples
            }
        })
    }

    fn note_presence(&mut self, series: &FetchedSeries) {
        match &series.panes {
            Panes::Figures(panes) => note_present(&mut self.present, panes, &self.ranges),
            Panes::Windows(panes) => note_present(&mut self.present, panes, &self.ranges),
        }
    }

    /// As Prometheus: names of counters end in one of these.
    fn inform_of_no_counter(&mut self, labels: &Labels) {
        if !matches!(self.of.function, Function::Rate | Function::Increase) {
            return;
        }
        let name = labels.get(METRIC_NAME);
        let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end));
        if !is_counter && !name.is_empty() && self.no_counter != name {
            self.no_counter = name.into();
            let text = format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            );
            self.context.inform(&text, self.span);
        }
    }

    /// Visits what depends on all series.
    fn finish(self, visit: &mut Visit<'_>) -> Result<(), PromqlError> {
        if self.of.function != Function::AbsentOverTime {
            return Ok(());
        }
        let mut absent = Steps::all(self.ranges.steps());
        absent.remove(&self.present);
        if absent.is_empty() {
            return Ok(());
        }
        let labels = match &self.of.range {
            Range::Selector { selector, .. } => absent::labels(&selector.matchers),
            Range::Subquery { .. } => Labels::default(),
        };
        let ones = vec![1.0; self.ranges.steps()];
        visit(vec![Series::floats(labels, Column::at(ones, absent))])
    }
}

fn note_present<T>(present: &mut Steps, panes: &[(i64, T)], ranges: &Ranges) {
    for reach in ranges.reaches(panes).filter(|reach| !reach.is_empty()) {
        present.insert(reach.step);
    }
}

/// Removes names of metrics, and refuses two series that are equal then.
struct Names<'c, 'a> {
    are_kept: bool,
    /// The labels so far, unless they are known to differ.
    seen: Option<HashSet<Labels>>,
    bytes: usize,
    held: Held<'c, 'a>,
}

impl<'c, 'a> Names<'c, 'a> {
    fn new(context: &'c Context<'a>, of: &Over) -> Self {
        let are_kept = matches!(of.function, Function::FirstOverTime | Function::LastOverTime);
        let is_one =
            |matcher: &Matcher| &*matcher.label == METRIC_NAME && matches!(matcher.test, Test::Equal(_));
        let differ = match &of.range {
            Range::Selector { selector, .. } => selector.matchers.iter().any(is_one),
            Range::Subquery { .. } => false,
        };
        let seen = (!are_kept && !differ).then(HashSet::new);
        Self { are_kept, seen, bytes: 0, held: context.hold() }
    }

    fn labels(&mut self, labels: Labels) -> Result<Labels, PromqlError> {
        if self.are_kept {
            return Ok(labels);
        }
        let labels = labels.without_name();
        if let Some(seen) = &mut self.seen {
            self.bytes += size_of::<Labels>() + labels.bytes();
            self.held.set(self.bytes)?;
            if !seen.insert(labels.clone()) {
                return Err(PromqlError::execution("vector cannot contain metrics with the same labelset"));
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests;
