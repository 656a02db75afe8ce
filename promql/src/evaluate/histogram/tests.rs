use futures_util::FutureExt;

use super::*;
use crate::{
    evaluate::testing::{Points, TestSource, annotations, fixture, instant, labels, node, number, selector},
    labels::METRIC_NAME,
    plan::{Kind, Matcher, Operation, Selector, Test},
};

const GRID: Grid = Grid { start_ms: 1_000, step_ms: 1_000, count: 1 };

/// A series with values at 1 s.
fn series(pairs: &[(&str, &str)], values: &[f64]) -> (Labels, Points) {
    let points = values.iter().enumerate().map(|(n, value)| (n as i64 + 990, *value));
    (labels(pairs), points.collect())
}

fn buckets(counts: &[(&str, f64)]) -> TestSource {
    let series = counts.iter().map(|(bound, count)| series(&[(METRIC_NAME, "b"), ("le", bound)], &[*count]));
    TestSource::new(1, series.collect())
}

fn asked(source: &TestSource, function: Function, scalars: &[f64], of: Node) -> (Vec<Series>, Vec<String>) {
    let fixture = fixture(source);
    let context = fixture.context();
    let mut arguments: Vec<Node> = scalars.iter().map(|scalar| number(*scalar)).collect();
    arguments.push(of);
    let value = value(&context, function, &arguments, Span::default(), GRID).now_or_never().unwrap().unwrap();
    let Value::Vector(series) = value else { panic!("{value:?}") };
    let annotations = annotations(context);
    (series, [annotations.warnings(), annotations.infos()].concat())
}

/// The only number, and what was said.
fn one(source: &TestSource, function: Function, scalars: &[f64], name: &str) -> (f64, Vec<String>) {
    let (series, said) = asked(source, function, scalars, instant(selector(name)));
    let [Series { samples: Samples::Floats(column), labels }] = &series[..] else { panic!("{series:?}") };
    assert_eq!(labels.get(METRIC_NAME), "");
    (column.get(0).unwrap(), said)
}

fn quantile(source: &TestSource, quantile: f64) -> f64 {
    one(source, Function::HistogramQuantile, &[quantile], "b").0
}

#[test]
fn quantiles_of_buckets_are_interpolated() {
    let source = buckets(&[("0.1", 10.0), ("+Inf", 40.0), ("0.2", 30.0)]);
    assert_eq!(quantile(&source, 0.5), 0.15000000000000002);
    assert_eq!(quantile(&source, 0.125), 0.05);
    assert_eq!(quantile(&source, 0.9), 0.2, "no value is beyond the highest finite bound");
    assert_eq!(quantile(&source, -0.1), f64::NEG_INFINITY);
    assert_eq!(quantile(&source, 1.1), f64::INFINITY);
    assert!(quantile(&source, f64::NAN).is_nan());
    assert_eq!(quantile(&buckets(&[("-1", 10.0), ("0", 10.0), ("+Inf", 10.0)]), 0.5), -1.0);
}

#[test]
fn some_buckets_have_no_quantile() {
    for counts in
        [&[("1", 10.0)][..], &[("+Inf", 10.0)], &[("1", 0.0), ("+Inf", 0.0)], &[("1", 5.0), ("2", 10.0)]]
    {
        assert!(quantile(&buckets(counts), 0.5).is_nan(), "{counts:?}");
    }
}

#[test]
fn decreasing_counts_are_raised_and_reported() {
    let source = buckets(&[("1", 10.0), ("2", 8.0), ("+Inf", 20.0)]);
    let (value, said) = one(&source, Function::HistogramQuantile, &[0.25], "b");
    assert_eq!(value, 0.5);
    let [info] = &said[..] else { panic!("{said:?}") };
    assert!(info.contains("from buckets 2 to 2, with a max diff of 2, over 1 samples"), "{info}");
    // Rounding is not.
    let source = buckets(&[("1", 10.0), ("2", 10.0 - 1e-13), ("+Inf", 20.0)]);
    assert_eq!(one(&source, Function::HistogramQuantile, &[0.25], "b").1, [""; 0]);
}

#[test]
fn fractions_of_buckets_are_interpolated() {
    let source = buckets(&[("1", 10.0), ("2", 30.0), ("+Inf", 40.0)]);
    let fraction = |lower, upper| one(&source, Function::HistogramFraction, &[lower, upper], "b").0;
    assert_eq!(fraction(0.5, 1.5), 15.0 / 40.0);
    assert_eq!(fraction(f64::NEG_INFINITY, f64::INFINITY), 1.0);
    assert_eq!(fraction(2.0, f64::INFINITY), 0.25);
    assert_eq!(fraction(5.0, 9.0), 0.0);
    assert_eq!(fraction(2.0, 1.0), 0.0);
    assert!(fraction(f64::NAN, 1.0).is_nan());
}

#[test]
fn bounds_must_be_numbers() {
    let (series, said) =
        asked(&buckets(&[("x", 1.0)]), Function::HistogramQuantile, &[0.5], instant(selector("b")));
    assert!(series.is_empty());
    assert_eq!(
        said,
        ["PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" (1:1)"]
    );
}

fn windows() -> TestSource {
    TestSource::new(1_000, vec![series(&[(METRIC_NAME, "w:window")], &[1.0, 2.0, 3.0, 6.0])])
}

#[test]
fn windows_have_all_figures() {
    let of = |function, scalars: &[f64]| one(&windows(), function, scalars, "w:window").0;
    assert_eq!(of(Function::HistogramCount, &[]), 4.0);
    assert_eq!(of(Function::HistogramSum, &[]), 12.0);
    assert_eq!(of(Function::HistogramAvg, &[]), 3.0);
    assert_eq!(of(Function::HistogramStdvar, &[]), 3.5);
    assert_eq!(of(Function::HistogramStddev, &[]), 3.5_f64.sqrt());
    assert_eq!(of(Function::HistogramQuantile, &[0.5]), 2.0);
    assert_eq!(of(Function::HistogramQuantile, &[2.0]), f64::INFINITY);
    assert_eq!(of(Function::HistogramFraction, &[1.0, 3.0]), 0.5);
    assert_eq!(of(Function::HistogramFraction, &[f64::NEG_INFINITY, f64::INFINITY]), 1.0);
    assert_eq!(of(Function::HistogramFraction, &[3.0, 1.0]), 0.0);
}

#[test]
fn numbers_have_no_figures_of_histograms() {
    let (series, said) =
        asked(&buckets(&[("1", 1.0)]), Function::HistogramCount, &[], instant(selector("b")));
    assert!(series.is_empty() && said.is_empty());
}

#[test]
fn equal_results_are_refused() {
    let named = |name| series(&[(METRIC_NAME, name), ("a", "1"), ("le", "+Inf")], &[1.0]);
    let source = TestSource::new(1, vec![named("b"), named("c")]);
    let matchers = [Matcher { label: "a".into(), test: Test::Equal("1".into()) }].into();
    let of = node(Kind::Vector, Operation::Selector(Selector { matchers, ..selector("b") }));
    let fixture = fixture(&source);
    let context = fixture.context();
    let arguments = [number(0.5), of];
    let value = value(&context, Function::HistogramQuantile, &arguments, Span::default(), GRID);
    assert!(value.now_or_never().unwrap().is_err());
}
