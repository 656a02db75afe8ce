//! A source of samples in memory, and plans made by hand.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use catchment_partial::{Partial, Timestamp};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};

use super::{Answer, Context, evaluate};
use crate::{
    annotations::Annotations,
    error::{PromqlError, Span},
    figures::Figures,
    function::Function,
    grid::Grid,
    labels::{Labels, METRIC_NAME},
    plan::{Kind, Matcher, Node, Operation, Over, Plan, Range, Selector, Test},
    source::{Alignment, Batches, Fetch, FetchRange, FetchedSeries, Panes, Source},
    value::{Samples, Series, Value},
};

/// Samples of a series: Unix milliseconds (one more than those of the readings), value.
pub(super) type Points = Vec<(i64, f64)>;

/// Holds samples.
pub(super) struct TestSource {
    /// In the order of labels; names that end in `:window` are of windows.
    pub(super) series: Vec<(Labels, Points)>,
    pub(super) width_ms: i64,
    /// Panes are as wide as the ranges allow.
    pub(super) is_wide: bool,
    pub(super) closed_left: bool,
    pub(super) batch: usize,
    /// Most memory that was held, and may be.
    pub(super) memory: AtomicUsize,
    pub(super) memory_max: usize,
    pub(super) yields: AtomicUsize,
}

impl TestSource {
    pub(super) fn new(width_ms: i64, mut series: Vec<(Labels, Points)>) -> Self {
        series.sort_by(|a, b| a.0.cmp(&b.0));
        Self {
            series,
            width_ms,
            is_wide: false,
            closed_left: false,
            batch: 64,
            memory: AtomicUsize::new(0),
            memory_max: usize::MAX,
            yields: AtomicUsize::new(0),
        }
    }

    pub(super) fn one(width_ms: i64, name: &str, points: Points) -> Self {
        Self::new(width_ms, vec![(labels(&[(METRIC_NAME, name)]), points)])
    }

    fn alignment(&self, fetch: &Fetch) -> Alignment {
        let width_ms = self.width_ms;
        let range_ms = match fetch.range {
            FetchRange::Lookback => 300_000.max(width_ms),
            FetchRange::Ms(range) => (range + width_ms - 1) / width_ms * width_ms,
        };
        Alignment { width_ms, range_ms, closed_left: self.closed_left }
    }

    fn fetched(&self, fetch: &Fetch, labels: &Labels, points: &Points) -> FetchedSeries {
        let is_windows = labels.get(METRIC_NAME).ends_with(":window");
        let are_single = fetch.range == FetchRange::Lookback || (is_windows && fetch.columns.single_windows);
        let cuts = self.cuts(fetch);
        let mut panes: Vec<(i64, usize, Points)> = Vec::new();
        for (sample, value) in points {
            let start = (sample - 1).div_euclid(self.width_ms) * self.width_ms;
            let segment = cuts.partition_point(|cut| *cut <= start);
            match panes.last_mut() {
                Some((known, before, points))
                    if *known == start || (self.is_wide && !are_single && *before == segment) =>
                {
                    points.push((*sample, *value));
                }
                _ => panes.push((start, segment, vec![(*sample, *value)])),
            }
        }
        let panes = if is_windows || fetch.columns.sketch {
            Panes::Windows(panes.iter().map(|(start, _, points)| (*start, window(points))).collect())
        } else {
            Panes::Figures(panes.iter().map(|(start, _, points)| (*start, figures(points))).collect())
        };
        FetchedSeries { labels: labels.clone(), is_windows, panes }
    }

    fn cuts(&self, fetch: &Fetch) -> Vec<i64> {
        let Alignment { width_ms, range_ms, .. } = self.alignment(fetch);
        let ends = fetch.grid.times().map(|time| time.div_euclid(width_ms) * width_ms);
        let mut cuts: Vec<i64> = ends.flat_map(|end| [end, end - range_ms]).collect();
        if self.closed_left {
            cuts.extend(cuts.clone().iter().map(|cut| cut - width_ms));
        }
        cuts.sort_unstable();
        cuts
    }
}

/// Figures of samples.
pub(super) fn figures(points: &[(i64, f64)]) -> Figures {
    let each = points.iter().map(|(time, value)| Figures::of_sample(*time, *value));
    each.reduce(|before, later| before.joined(&later)).expect("a pane has a sample")
}

/// The partial of samples.
pub(super) fn window(points: &[(i64, f64)]) -> Arc<Partial> {
    let mut partial = Partial::empty();
    for (time, value) in points {
        partial.push(Timestamp::from_millis(time - 1).expect("in range"), *value);
    }
    Arc::new(partial)
}

impl Source for TestSource {
    fn fetch<'a>(&'a self, fetch: &'a Fetch) -> BoxFuture<'a, Result<Box<dyn Batches + 'a>, PromqlError>> {
        let selected = self.series.iter().filter(|(labels, _)| {
            fetch.matchers.iter().all(|matcher| matcher.passes(labels.get(&matcher.label)))
        });
        let series: Vec<_> = selected.map(|(labels, points)| self.fetched(fetch, labels, points)).collect();
        let batches =
            TestBatches { alignment: self.alignment(fetch), series: series.into_iter(), batch: self.batch };
        ready(Ok(Box::new(batches) as Box<dyn Batches + 'a>)).boxed()
    }

    fn yield_point(&self) -> BoxFuture<'_, Result<(), PromqlError>> {
        self.yields.fetch_add(1, Ordering::Relaxed);
        ready(Ok(())).boxed()
    }

    fn set_memory(&self, bytes: usize) -> Result<(), PromqlError> {
        self.memory.fetch_max(bytes, Ordering::Relaxed);
        if bytes > self.memory_max {
            return Err(PromqlError::execution("the query needs too much memory"));
        }
        Ok(())
    }

    fn closed_left(&self) -> bool {
        self.closed_left
    }
}

struct TestBatches {
    alignment: Alignment,
    series: std::vec::IntoIter<FetchedSeries>,
    batch: usize,
}

impl Batches for TestBatches {
    fn alignment(&self) -> Alignment {
        self.alignment
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<FetchedSeries>>, PromqlError>> {
        let batch: Vec<_> = self.series.by_ref().take(self.batch).collect();
        ready(Ok((!batch.is_empty()).then_some(batch))).boxed()
    }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect()
}

pub(super) fn matcher(label: &str, value: &str) -> Matcher {
    Matcher { label: label.into(), test: Test::Equal(value.into()) }
}

pub(super) fn selector(name: &str) -> Selector {
    Selector { matchers: [matcher(METRIC_NAME, name)].into(), at_ms: None, offset_ms: 0 }
}

pub(super) fn node(kind: Kind, operation: Operation) -> Node {
    Node { kind, operation, invariant: false, span: Span::default() }
}

pub(super) fn number(of: f64) -> Node {
    node(Kind::Scalar, Operation::Number(of))
}

pub(super) fn instant(selector: Selector) -> Node {
    node(Kind::Vector, Operation::Selector(selector))
}

pub(super) fn over(function: Function, range: Range, parameters: Vec<Node>) -> Node {
    node(Kind::Vector, Operation::Over(Box::new(Over { function, range, parameters, group: None })))
}

/// `function(x[range])`.
pub(super) fn over_x(function: Function, range_ms: i64) -> Node {
    over(function, Range::Selector { selector: selector("x"), range_ms }, Vec::new())
}

/// `inner[range:step]`.
pub(super) fn subquery(inner: Node, range_ms: i64, step_ms: i64) -> Range {
    Range::Subquery { inner: Box::new(inner), range_ms, step_ms, at_ms: None, offset_ms: 0 }
}

pub(super) fn try_answer(source: &TestSource, root: Node, grid: Grid) -> Result<Answer, PromqlError> {
    let plan = Plan { root, grid, text: "".into() };
    evaluate(&plan, source).now_or_never().expect("the test source never waits")
}

/// The series of an answer.
pub(super) fn answer(source: &TestSource, root: Node, grid: Grid) -> Vec<Series> {
    match try_answer(source, root, grid).expect("it has an answer").value {
        Value::Vector(series) => series,
        other => panic!("not a vector: {other:?}"),
    }
}

/// The numbers of the only series of an answer; of none, no numbers.
pub(super) fn floats(source: &TestSource, root: Node, grid: Grid) -> Vec<Option<f64>> {
    let mut series = answer(source, root, grid);
    assert!(series.len() <= 1, "more than one series: {series:?}");
    match series.pop().map(|series| series.samples) {
        None => vec![None; grid.count],
        Some(Samples::Floats(column)) => (0..grid.count).map(|step| column.get(step)).collect(),
        Some(Samples::Windows(windows)) => panic!("not numbers: {windows:?}"),
    }
}

/// What functions that are called directly need.
pub(super) struct Fixture<'s> {
    source: &'s TestSource,
    plan: Plan,
}

pub(super) fn fixture(source: &TestSource) -> Fixture<'_> {
    Fixture { source, plan: Plan { root: number(0.0), grid: Grid::instant(0), text: "".into() } }
}

impl Fixture<'_> {
    pub(super) fn context(&self) -> Context<'_> {
        let held = AtomicUsize::new(0);
        Context { source: self.source, plan: &self.plan, annotations: Mutex::default(), held }
    }
}

/// What was said with a value.
pub(super) fn annotations(context: Context<'_>) -> Annotations {
    context.annotations.into_inner().expect("nothing panicked")
}
