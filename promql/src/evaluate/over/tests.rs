mod naive;
mod properties;

use std::sync::atomic::Ordering;

use futures_util::FutureExt;

use super::*;
use crate::{
    evaluate::testing::{
        Points, TestSource, answer, fixture, floats, instant, labels, number, over, over_x, selector,
        subquery, try_answer,
    },
    function::Function as F,
    plan::Operation,
};

/// A sample each minute, from the first on.
fn minutely(first: i64, values: &[f64]) -> TestSource {
    let points: Points = (first..).map(|minute| minute * 60_000).zip(values.iter().copied()).collect();
    TestSource::one(1, "x", points)
}

/// The value at ten minutes over ten minutes.
fn at_ten(source: &TestSource, function: F) -> Option<f64> {
    floats(source, over_x(function, 600_000), Grid::instant(600_000))[0]
}

#[test]
fn differences_are_extrapolated() {
    let source = minutely(3, &[100.0, 110.0, 120.0, 130.0]);
    // Half a distance beyond each end.
    assert_eq!(at_ten(&source, F::Increase), Some(40.0));
    assert_eq!(at_ten(&source, F::Delta), Some(40.0));
    assert_eq!(at_ten(&source, F::Rate), Some(40.0 / 600.0));
    // Half a distance, and no further than to where the counter was zero.
    assert_eq!(at_ten(&minutely(6, &[8.0, 18.0, 28.0]), F::Increase), Some(30.0));
    assert_eq!(at_ten(&minutely(6, &[1.0, 11.0, 21.0]), F::Increase), Some(26.0));
}

#[test]
fn one_sample_has_no_difference() {
    let source = minutely(5, &[1.0]);
    for function in [F::Rate, F::Increase, F::Delta] {
        assert_eq!(at_ten(&source, function), None, "{function:?}");
    }
    for function in [F::Changes, F::Resets, F::StddevOverTime] {
        assert_eq!(at_ten(&source, function), Some(0.0), "{function:?}");
    }
}

#[test]
fn counters_are_corrected() {
    let source = minutely(5, &[10.0, 20.0, 5.0, 5.0, 7.0]);
    assert_eq!(at_ten(&source, F::Resets), Some(1.0));
    assert_eq!(at_ten(&source, F::Changes), Some(3.0));
    // From 10 to 20, from 0 to 7; then half a minute and one minute of four more.
    assert_eq!(at_ten(&source, F::Increase), Some(17.0 * (240.0 + 30.0 + 60.0) / 240.0));
    let nans = minutely(5, &[f64::NAN, f64::NAN, 1.0, f64::NAN]);
    assert_eq!(at_ten(&nans, F::Changes), Some(2.0));
    assert_eq!(at_ten(&nans, F::Resets), Some(0.0));
}

#[test]
fn nan_is_neither_least_nor_greatest() {
    let source = minutely(5, &[f64::NAN, 5.0, f64::NEG_INFINITY]);
    assert_eq!(at_ten(&source, F::MaxOverTime), Some(5.0));
    assert_eq!(at_ten(&source, F::MinOverTime), Some(f64::NEG_INFINITY));
    assert!(at_ten(&source, F::SumOverTime).is_some_and(f64::is_nan));
    assert!(at_ten(&source, F::StddevOverTime).is_some_and(f64::is_nan));
    let source = minutely(5, &[f64::NAN, f64::NAN]);
    assert!(at_ten(&source, F::MaxOverTime).is_some_and(f64::is_nan));
}

#[test]
fn of_equal_extremes_the_last_has_its_time() {
    let source = minutely(3, &[1.0, 2.0, 1.0, 2.0, 1.5]);
    assert_eq!(at_ten(&source, F::TsOfMinOverTime), Some(5.0 * 60.0 - 0.001));
    assert_eq!(at_ten(&source, F::TsOfMaxOverTime), Some(6.0 * 60.0 - 0.001));
    assert_eq!(at_ten(&source, F::TsOfFirstOverTime), Some(3.0 * 60.0 - 0.001));
    assert_eq!(at_ten(&source, F::TsOfLastOverTime), Some(7.0 * 60.0 - 0.001));
}

#[test]
fn sums_are_compensated_and_means_do_not_overflow() {
    let source = minutely(3, &[1.0, 1e100, 1.0, -1e100]);
    assert_eq!(at_ten(&source, F::SumOverTime), Some(2.0));
    assert_eq!(at_ten(&source, F::AvgOverTime), Some(0.5));
    let source = minutely(3, &[1.5e308, 1.5e308, 1.5e308]);
    assert_eq!(at_ten(&source, F::SumOverTime), Some(f64::INFINITY));
    let mean = at_ten(&source, F::AvgOverTime).unwrap();
    assert!((mean / 1.5e308 - 1.0).abs() < 1e-15, "{mean}");
    let source = minutely(3, &[f64::INFINITY, 1.0]);
    assert_eq!(at_ten(&source, F::AvgOverTime), Some(f64::INFINITY));
}

#[test]
fn equal_values_have_no_variance() {
    let mut source = minutely(1, &[0.1; 9]);
    source.width_ms = 180_000;
    assert_eq!(at_ten(&source, F::StdvarOverTime), Some(0.0));
}

#[test]
fn ranges_are_open_on_the_left_unless_the_source_says_otherwise() {
    let mut source = minutely(0, &[1.0; 11]);
    let five = |source: &TestSource| {
        let subqueried =
            over(F::CountOverTime, subquery(instant(selector("x")), 300_000, 60_000), Vec::new());
        let grid = Grid::instant(600_000);
        let counts = floats(source, over_x(F::CountOverTime, 300_000), grid);
        assert_eq!(counts, floats(source, subqueried, grid));
        counts[0]
    };
    assert_eq!(five(&source), Some(5.0));
    source.closed_left = true;
    assert_eq!(five(&source), Some(6.0));
}

#[test]
fn names_are_dropped_but_for_first_and_last() {
    let source = minutely(5, &[1.0]);
    let name = |function| {
        let series = answer(&source, over_x(function, 600_000), Grid::instant(600_000));
        series[0].labels.get(METRIC_NAME).to_owned()
    };
    assert_eq!(name(F::LastOverTime), "x");
    assert_eq!(name(F::FirstOverTime), "x");
    assert_eq!(name(F::MaxOverTime), "");
    assert_eq!(name(F::PresentOverTime), "");
}

fn two_names() -> TestSource {
    let series = |name| (labels(&[(METRIC_NAME, name), ("a", "1")]), vec![(1_000, 1.0)]);
    TestSource::new(1, vec![series("x"), series("y")])
}

#[test]
fn equal_series_are_refused() {
    let any = Selector {
        matchers: [Matcher { label: "a".into(), test: Test::Equal("1".into()) }].into(),
        ..selector("x")
    };
    let of =
        |function| over(function, Range::Selector { selector: any.clone(), range_ms: 5_000 }, Vec::new());
    let grid = Grid::instant(5_000);
    let error = try_answer(&two_names(), of(F::SumOverTime), grid).unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
    assert_eq!(answer(&two_names(), of(F::LastOverTime), grid).len(), 2);
}

#[test]
fn absence_has_the_labels_that_are_certain() {
    let equal = |label: &str, value: &str| Matcher { label: label.into(), test: Test::Equal(value.into()) };
    let not = Matcher { label: "c".into(), test: Test::NotEqual("x".into()) };
    let matchers =
        [equal(METRIC_NAME, "none"), equal("a", "1"), equal("a", "2"), equal("b", "q"), not].into();
    let range = Range::Selector { selector: Selector { matchers, ..selector("x") }, range_ms: 5_000 };
    let grid = Grid { start_ms: 0, step_ms: 1_000, count: 3 };
    let series = answer(&two_names(), over(F::AbsentOverTime, range, Vec::new()), grid);
    assert_eq!(series, [Series::floats(labels(&[("b", "q")]), Column::full(vec![1.0; 3]))]);

    let present = Grid { start_ms: 0, step_ms: 3_000, count: 3 };
    assert_eq!(floats(&two_names(), over_x(F::AbsentOverTime, 5_000), present), [Some(1.0), None, Some(1.0)],);
    let subqueried = subquery(instant(selector("none")), 5_000, 1_000);
    let series = answer(&two_names(), over(F::AbsentOverTime, subqueried, Vec::new()), grid);
    assert_eq!(series[0].labels, Labels::default());
}

#[test]
fn quantiles_are_interpolated() {
    let source = minutely(3, &[1.0, 100.0]);
    let of = |source: &TestSource, quantile: f64, inner: bool| {
        let range = if inner {
            subquery(instant(selector("x")), 180_000, 60_000)
        } else {
            Range::Selector { selector: selector("x"), range_ms: 300_000 }
        };
        let node = over(F::QuantileOverTime, range, vec![number(quantile)]);
        floats(source, node, Grid::instant(300_000))[0].unwrap()
    };
    assert_eq!(of(&source, 0.5, false), 50.5);
    // Its values at 3, 4 and 5 minutes are 1, 100, 100.
    assert_eq!(of(&source, 0.5, true), 100.0);
    assert_eq!(of(&source, 0.25, true), 50.5);
    for inner in [false, true] {
        assert_eq!(of(&source, -0.1, inner), f64::NEG_INFINITY);
        assert_eq!(of(&source, 1.1, inner), f64::INFINITY);
        assert!(of(&source, f64::NAN, inner).is_nan());
    }
    let source = minutely(3, &[f64::NAN, 5.0]);
    assert_eq!(of(&source, 1.0, true), 5.0);
    assert!(of(&source, 0.0, true).is_nan());
}

#[test]
fn says_what_was_rounded_and_what_may_be_wrong() {
    let mut source = minutely(3, &[1.0, 2.0]);
    source.width_ms = 10_000;
    let infos = |function, range_ms| {
        let answer = try_answer(&source, over_x(function, range_ms), Grid::instant(300_000)).unwrap();
        answer.annotations.infos()
    };
    assert_eq!(infos(F::Delta, 300_000), [""; 0]);
    assert_eq!(infos(F::Delta, 295_000), ["PromQL info: the range of 4m55s is rounded up to 5m (1:1)"]);
    assert_eq!(
        infos(F::Rate, 300_000),
        [
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (1:1)"
        ],
    );
    let range = Range::Selector { selector: selector("x"), range_ms: 300_000 };
    let node = over(F::QuantileOverTime, range, vec![number(2.0)]);
    let answer = try_answer(&source, node, Grid::instant(300_000)).unwrap();
    assert_eq!(
        answer.annotations.warnings(),
        ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:1)"]
    );
}

fn windows() -> TestSource {
    let points = vec![(1, 1.0), (2, 3.0), (1_001, 5.0), (3_001, 7.0)];
    TestSource::new(1_000, vec![(labels(&[(METRIC_NAME, "x:window")]), points)])
}

fn of_windows(function: F, grid: Grid) -> Option<Samples> {
    let range = Range::Selector { selector: selector("x:window"), range_ms: 2_000 };
    let mut series = answer(&windows(), over(function, range, Vec::new()), grid);
    series.pop().map(|series| series.samples)
}

#[test]
fn windows_are_merged_and_counted() {
    let grid = Grid { start_ms: 1_000, step_ms: 1_000, count: 6 };
    let counts = |function| match of_windows(function, grid) {
        Some(Samples::Windows(windows)) => {
            windows.iter().map(|window| window.as_ref().map(|window| window.count())).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(counts(F::SumOverTime), [Some(2), Some(3), Some(1), Some(1), Some(1), None]);
    assert_eq!(counts(F::FirstOverTime), [Some(2), Some(2), Some(1), Some(1), Some(1), None]);
    assert_eq!(counts(F::LastOverTime), [Some(2), Some(1), Some(1), Some(1), Some(1), None]);
    let floats = |function| match of_windows(function, grid) {
        Some(Samples::Floats(column)) => (0..6).map(|step| column.get(step)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(floats(F::CountOverTime), [Some(2.0), Some(3.0), Some(1.0), Some(1.0), Some(1.0), None]);
    assert_eq!(floats(F::TsOfLastOverTime)[..2], [Some(0.001), Some(1.0)]);
}

#[test]
fn windows_have_no_mean_over_time() {
    let range = Range::Selector { selector: selector("x:window"), range_ms: 2_000 };
    let of = try_answer(&windows(), over(F::AvgOverTime, range, Vec::new()), Grid::instant(2_000)).unwrap();
    assert_eq!(of.value, Value::Vector(Vec::new()));
    let [info] = &of.annotations.infos()[..] else { panic!("{:?}", of.annotations) };
    assert!(info.contains("histogram_avg(sum_over_time(…))"), "{info}");
}

#[test]
fn subqueries_look_at_multiples_of_their_step() {
    // Evaluated at 2, 4, …, 10 s for the first range, whatever the time of the query.
    let source = TestSource::one(1, "x", (0..20).map(|second| (second * 1_000, second as f64)).collect());
    let node = |step| over(F::SumOverTime, subquery(instant(selector("x")), 10_000, step), Vec::new());
    let grid = Grid { start_ms: 11_500, step_ms: 1_500, count: 2 };
    assert_eq!(floats(&source, node(2_000), grid), [Some(30.0), Some(40.0)]);
    // One minute by default.
    assert_eq!(floats(&source, node(0), grid), [None, None]);
    let error = try_answer(&source, node(1), Grid { start_ms: 0, step_ms: 100_000, count: 2 }).unwrap_err();
    assert!(error.to_string().contains("a subquery of 110000 steps of 1ms"), "{error}");
}

#[test]
fn the_default_step_is_a_multiple_of_the_windows() {
    let source = TestSource::one(45_000, "x", vec![(1, 1.0)]);
    let node = over(F::CountOverTime, subquery(instant(selector("x")), 300_000, 0), Vec::new());
    // 90, 180 and 270 s.
    assert_eq!(floats(&source, node, Grid::instant(270_000)), [Some(3.0)]);
}

#[test]
fn memory_is_charged_before_windows_are_merged() {
    let mut source = windows();
    let range = Range::Selector { selector: selector("x:window"), range_ms: 5_000 };
    let node = over(F::SumOverTime, range, Vec::new());
    answer(&source, node.clone(), Grid::instant(5_000));
    let peak = source.memory.get_mut();
    source.memory_max = *peak - 1;
    assert!(try_answer(&source, node, Grid::instant(5_000)).is_err());
}

#[test]
fn times_of_values_are_those_of_evaluations() {
    let source = minutely(3, &[2.0, 1.0]);
    let of = |function| {
        let node = over(function, subquery(instant(selector("x")), 180_000, 60_000), Vec::new());
        floats(&source, node, Grid::instant(330_000))[0]
    };
    assert_eq!(of(F::TsOfFirstOverTime), Some(180.0));
    assert_eq!(of(F::TsOfLastOverTime), Some(300.0));
    assert_eq!(of(F::TsOfMinOverTime), Some(300.0));
    assert_eq!(of(F::TsOfMaxOverTime), Some(180.0));
}

#[test]
fn offset_and_at_move_ranges() {
    let source = minutely(1, &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let grid = Grid { start_ms: 300_000, step_ms: 60_000, count: 2 };
    let sums = |at_ms: Option<i64>, offset_ms: i64| {
        let selected = Selector { at_ms, offset_ms, ..selector("x") };
        let selected = Range::Selector { selector: selected, range_ms: 120_000 };
        let inner = Box::new(instant(selector("x")));
        let subqueried = Range::Subquery { inner, range_ms: 120_000, step_ms: 60_000, at_ms, offset_ms };
        let sums = floats(&source, over(F::SumOverTime, selected, Vec::new()), grid);
        assert_eq!(floats(&source, over(F::SumOverTime, subqueried, Vec::new()), grid), sums);
        sums
    };
    assert_eq!(sums(None, 120_000), [Some(5.0), Some(7.0)]);
    assert_eq!(sums(Some(120_000), 0), [Some(3.0); 2]);
    assert_eq!(sums(Some(120_000), -60_000), [Some(5.0); 2]);
}

#[test]
fn batches_are_not_kept() {
    let mut source = two_names();
    source.series = (0..1_000)
        .map(|n| (labels(&[(METRIC_NAME, "x"), ("n", &format!("{n:03}"))]), vec![(1_000, 1.0)]))
        .collect();
    source.batch = 10;
    let fixture = fixture(&source);
    let context = fixture.context();
    let node = over_x(F::SumOverTime, 5_000);
    let Operation::Over(of) = &node.operation else { panic!("{node:?}") };
    let mut seen = 0;
    let mut visit = |batch: Vec<Series>| {
        seen += batch.len();
        Ok(())
    };
    let each = each_batch(&context, of, Span::default(), Grid::instant(5_000), &mut visit);
    each.now_or_never().unwrap().unwrap();
    assert_eq!(seen, 1_000);
    let streamed = source.memory.swap(0, Ordering::Relaxed);
    answer(&source, node, Grid::instant(5_000));
    let collected = source.memory.load(Ordering::Relaxed);
    assert!(streamed * 10 < collected, "{streamed} {collected}");
    assert!(source.yields.load(Ordering::Relaxed) >= 2_000);
}
