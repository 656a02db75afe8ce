//! Aggregations, operators and functions of values, from text to answer, over series in a compact notation:
//! `x{a="1"} 1 2 _ NaN` has a number at some steps of one minute, `w{} [1;2] _` windows of readings.
//!
//! Unless a test says so, an expression is evaluated over all steps, and then at each step alone: both must agree.

mod aggregations;
mod binary;
mod functions;
mod notation;
mod properties;
mod source;

use catchment_promql::{Answer, Grid, Plan, PromqlError, Series, Value, evaluate, parse};
use futures_util::FutureExt;
use notation::{shown, shown_value};
use source::TestSource;

const STEP_MS: i64 = 60_000;
const START_MS: i64 = 10 * STEP_MS;

/// Evaluates an expression on a grid.
fn evaluated(text: &str, source: &TestSource, grid: Grid) -> Result<Answer, PromqlError> {
    let plan = Plan::new(&parse(text)?, grid)?;
    evaluate(&plan, source).now_or_never().expect("the source never waits")
}

fn grid(count: usize) -> Grid {
    Grid { start_ms: START_MS, step_ms: STEP_MS, count }
}

fn answer(text: &str, data: &str) -> Result<Answer, PromqlError> {
    let source = TestSource::new(data);
    evaluated(text, &source, grid(source.steps()))
}

/// The answer over all steps, a line for each series, after a check that each step alone gives the same.
#[track_caller]
fn lines(text: &str, data: &str) -> Vec<String> {
    let source = TestSource::new(data);
    let steps = source.steps();
    let range = evaluated(text, &source, grid(steps)).unwrap_or_else(|error| panic!("{text}: {error}")).value;
    for step in 0..steps {
        let instant = evaluated(text, &source, Grid::instant(grid(steps).time(step)));
        let instant = instant.unwrap_or_else(|error| panic!("{text} at {step}: {error}")).value;
        assert_eq!(at(&range, step), ordered(&instant), "{text} at step {step}");
    }
    source.narrow();
    let narrow = evaluated(text, &source, grid(steps)).expect("as before");
    assert_eq!(shown_value(&narrow.value), shown_value(&range), "{text} depends on batches");
    shown_value(&range)
}

/// The lines of one step of an answer.
fn at(value: &Value, step: usize) -> Vec<String> {
    let lines = shown_value(value).into_iter().filter_map(|line| {
        let (labels, values) = line.split_once("} ").unwrap_or(("", &line));
        let value = values.split(' ').nth(step)?.to_owned();
        (value != "_").then(|| format!("{labels}}} {value}"))
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// The lines of an answer of one step, without the order of `sort` and `topk`.
fn ordered(value: &Value) -> Vec<String> {
    at(value, 0)
}

#[track_caller]
fn check(text: &str, data: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines(text, data), expected, "{text}");
}

/// The error over all steps.
#[track_caller]
fn error(text: &str, data: &str) -> String {
    match answer(text, data) {
        Ok(answer) => panic!("{text}: {:?}", shown_value(&answer.value)),
        Err(error) => error.to_string(),
    }
}

/// The warnings and infos over all steps.
#[track_caller]
fn notes(text: &str, data: &str) -> Vec<String> {
    let answer = answer(text, data).unwrap_or_else(|error| panic!("{text}: {error}"));
    [answer.annotations.warnings(), answer.annotations.infos()].concat()
}

/// The answer at the first step alone, in its order.
#[track_caller]
fn instant(text: &str, data: &str) -> Vec<String> {
    let source = TestSource::new(data);
    let answer = evaluated(text, &source, grid(1)).unwrap_or_else(|error| panic!("{text}: {error}"));
    match &answer.value {
        Value::Vector(series) => series.iter().map(|one: &Series| shown(one)).collect(),
        other => shown_value(other),
    }
}
