//! Samples in memory, each in a pane of its own of 1 ms: may be infinite or NaN, which a partial refuses.

use std::{collections::BTreeMap, sync::Arc};

use catchment_partial::{Partial, Timestamp};
use catchment_promql::{
    Alignment, Batches, Columns, Fetch, FetchRange, FetchedSeries, Figures, Grouping, Labels, METRIC_NAME,
    Panes, PromqlError, Source, Stamp,
};
use futures_util::future::{BoxFuture, FutureExt as _, ready};

/// As in Prometheus.
const LOOKBACK_MS: i64 = 300_000;
/// Small, so that the series of a selector come in several batches.
const BATCH: usize = 3;

/// All samples.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    /// Merge series where the fetch allows it.
    pub(crate) merge: bool,
}

impl Samples {
    pub(crate) fn clear(&mut self) {
        self.series.clear();
    }

    pub(crate) fn add(&mut self, labels: Labels, samples: Vec<(i64, f64)>) {
        self.series.entry(labels).or_default().extend(samples);
    }

    fn read(&self, fetch: &Fetch) -> Vec<FetchedSeries> {
        let range = range_ms(fetch);
        let (from, to) = (fetch.grid.start_ms - range, fetch.grid.end_ms());
        let mut found: BTreeMap<Labels, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
        for (labels, samples) in &self.series {
            if !fetch.matchers.iter().all(|matcher| matcher.passes(labels.get(&matcher.label))) {
                continue;
            }
            let mut within = samples.range(from..=to).peekable();
            if within.peek().is_some() {
                let labels = match fetch.group.as_ref().filter(|_| self.merge) {
                    Some(group) => grouped(labels, group),
                    None => labels.clone(),
                };
                let series = found.entry(labels).or_default();
                within.for_each(|(time, value)| series.entry(*time).or_default().push(*value));
            }
        }
        let series = |(labels, samples)| FetchedSeries {
            labels,
            is_windows: false,
            panes: panes(&samples, fetch.columns),
        };
        found.into_iter().map(series).collect()
    }
}

fn grouped(labels: &Labels, group: &Grouping) -> Labels {
    labels.filtered(|name| match group {
        Grouping::By(kept) => kept.iter().any(|label| **label == *name),
        Grouping::Without(removed) => name != METRIC_NAME && removed.iter().all(|label| **label != *name),
    })
}

fn range_ms(fetch: &Fetch) -> i64 {
    match fetch.range {
        FetchRange::Lookback => LOOKBACK_MS,
        FetchRange::Ms(range) => range,
    }
}

/// A sample at `time` is a reading one millisecond earlier: a pane that begins there.
fn panes(samples: &BTreeMap<i64, Vec<f64>>, columns: Columns) -> Panes {
    if !columns.sketch {
        return Panes::Figures(
            samples.iter().map(|(time, values)| (time - 1, figures(*time, values, columns))).collect(),
        );
    }
    let pane = |(time, values): (&i64, &Vec<f64>)| {
        let mut partial = Partial::empty();
        values.iter().for_each(|value| partial.push(Timestamp::from_millis(time - 1).unwrap(), *value));
        (time - 1, Arc::new(partial))
    };
    Panes::Windows(samples.iter().map(pane).collect())
}

/// The figures of samples at one time, of one series or of merged ones. What was not asked for is nonsense, so that
/// using it shows.
fn figures(time_ms: i64, values: &[f64], columns: Columns) -> Figures {
    let wanted = |asked: bool, value: f64| if asked { value } else { 1e-300 };
    let stamp = |asked: bool| match asked {
        true => Stamp { value: values[0], sample_ms: time_ms },
        false => Stamp { value: 1e-300, sample_ms: 1 },
    };
    Figures {
        count: values.len() as f64,
        sum: wanted(columns.sum || columns.deviations, values.iter().sum()),
        lost: 0.0,
        deviations: wanted(columns.deviations, if values[0].is_finite() { 0.0 } else { f64::NAN }),
        min: stamp(columns.extent),
        max: stamp(columns.extent),
        first: stamp(columns.extent || columns.counter),
        last: stamp(columns.extent || columns.counter),
        correction: wanted(columns.counter, 0.0),
        resets: wanted(columns.counter, 0.0),
        changes: wanted(columns.counter, 0.0),
    }
}

impl Source for Samples {
    fn fetch<'a>(&'a self, fetch: &'a Fetch) -> BoxFuture<'a, Result<Box<dyn Batches + 'a>, PromqlError>> {
        let mut series = self.read(fetch);
        series.reverse();
        let batches: Box<dyn Batches + 'a> = Box::new(Read { series, range_ms: range_ms(fetch) });
        ready(Ok(batches)).boxed()
    }

    fn yield_point(&self) -> BoxFuture<'_, Result<(), PromqlError>> {
        ready(Ok(())).boxed()
    }

    fn set_memory(&self, _: usize) -> Result<(), PromqlError> {
        Ok(())
    }
}

/// Series still to come, the next one last.
struct Read {
    series: Vec<FetchedSeries>,
    range_ms: i64,
}

impl Batches for Read {
    fn alignment(&self) -> Alignment {
        Alignment { width_ms: 1, range_ms: self.range_ms, closed_left: true }
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<FetchedSeries>>, PromqlError>> {
        let kept = self.series.len().saturating_sub(BATCH);
        let mut batch = self.series.split_off(kept);
        batch.reverse();
        ready(Ok((!batch.is_empty()).then_some(batch))).boxed()
    }
}
