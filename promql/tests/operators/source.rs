//! A source of samples in memory, each seen at its own step only.

use std::sync::atomic::{AtomicUsize, Ordering};

use catchment_promql::{
    Alignment, Batches, Fetch, FetchedSeries, Figures, Labels, Panes, PromqlError, Source,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};

use crate::{
    STEP_MS, grid,
    notation::{self, Sample},
};

pub(crate) struct TestSource {
    series: Vec<(Labels, Vec<Sample>)>,
    /// Series of a batch.
    batch: AtomicUsize,
    /// Most memory that a query may hold, and held.
    pub(crate) memory_max: usize,
    pub(crate) memory: AtomicUsize,
}

impl TestSource {
    pub(crate) fn new(data: &str) -> Self {
        Self {
            series: notation::read(data, |step| grid(1).time(step)),
            batch: AtomicUsize::new(64),
            memory_max: usize::MAX,
            memory: AtomicUsize::new(0),
        }
    }

    /// Gives single series from now on.
    pub(crate) fn narrow(&self) {
        self.batch.store(1, Ordering::Relaxed);
    }

    pub(crate) fn steps(&self) -> usize {
        self.series.iter().map(|(_, samples)| samples.len()).max().unwrap_or(1).max(1)
    }
}

impl Source for TestSource {
    fn fetch<'a>(&'a self, fetch: &'a Fetch) -> BoxFuture<'a, Result<Box<dyn Batches + 'a>, PromqlError>> {
        let passes =
            |labels: &Labels| fetch.matchers.iter().all(|matcher| matcher.passes(labels.get(&matcher.label)));
        let selected = self.series.iter().filter(|(labels, _)| passes(labels));
        let series: Vec<FetchedSeries> = selected.map(|(labels, samples)| fetched(labels, samples)).collect();
        let batches = MemoryBatches { rest: series.into_iter(), batch: self.batch.load(Ordering::Relaxed) };
        ready(Ok(Box::new(batches) as Box<dyn Batches>)).boxed()
    }

    fn yield_point(&self) -> BoxFuture<'_, Result<(), PromqlError>> {
        ready(Ok(())).boxed()
    }

    fn set_memory(&self, bytes: usize) -> Result<(), PromqlError> {
        self.memory.fetch_max(bytes, Ordering::Relaxed);
        if bytes <= self.memory_max { Ok(()) } else { Err(PromqlError::execution("too much memory")) }
    }
}

fn fetched(labels: &Labels, samples: &[Sample]) -> FetchedSeries {
    let is_windows = samples.iter().any(|sample| matches!(sample, Sample::Window(_)));
    let timed = samples.iter().enumerate().map(|(step, sample)| (grid(1).time(step), sample));
    let panes = if is_windows {
        let windows = timed.filter_map(|(time, sample)| match sample {
            Sample::Window(window) => Some((time - 1, window.clone())),
            _ => None,
        });
        Panes::Windows(windows.collect())
    } else {
        let figures = timed.filter_map(|(time, sample)| match sample {
            Sample::Number(value) => Some((time - 1, Figures::of_sample(time, *value))),
            _ => None,
        });
        Panes::Figures(figures.collect())
    };
    FetchedSeries { labels: labels.clone(), is_windows, panes }
}

struct MemoryBatches {
    rest: std::vec::IntoIter<FetchedSeries>,
    batch: usize,
}

impl Batches for MemoryBatches {
    fn alignment(&self) -> Alignment {
        Alignment { width_ms: 1, range_ms: STEP_MS, closed_left: false }
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<FetchedSeries>>, PromqlError>> {
        let batch: Vec<FetchedSeries> = self.rest.by_ref().take(self.batch).collect();
        ready(Ok((!batch.is_empty()).then_some(batch))).boxed()
    }
}
