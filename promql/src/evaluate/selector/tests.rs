use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::{
    evaluate::testing::{TestSource, answer, fixture, floats, instant, labels, selector, try_answer},
    labels::METRIC_NAME,
};

/// Samples at 10, 20 and 400 s.
fn source() -> TestSource {
    TestSource::one(1_000, "x", vec![(10_000, 1.0), (20_000, 2.0), (400_000, f64::NAN)])
}

#[test]
fn selects_the_last_sample_within_the_lookback() {
    let grid = Grid { start_ms: 0, step_ms: 10_000, count: 41 };
    let values = floats(&source(), instant(selector("x")), grid);
    assert_eq!(values[0], None);
    assert_eq!(values[1], Some(1.0));
    // Until just before five minutes have passed.
    assert_eq!(values[2], Some(2.0));
    assert_eq!(values[31], Some(2.0));
    assert_eq!(values[32], None);
    assert!(values[40].is_some_and(f64::is_nan), "NaN is a sample");
}

#[test]
fn offset_and_at_move_the_time() {
    let grid = Grid { start_ms: 320_000, step_ms: 10_000, count: 3 };
    let offset = Selector { offset_ms: 310_000, ..selector("x") };
    assert_eq!(floats(&source(), instant(offset), grid), [Some(1.0), Some(2.0), Some(2.0)]);
    let at = Selector { at_ms: Some(15_000), ..selector("x") };
    assert_eq!(floats(&source(), instant(at), grid), [Some(1.0); 3]);
    let both = Selector { at_ms: Some(15_000), offset_ms: -5_000, ..selector("x") };
    assert_eq!(floats(&source(), instant(both), grid), [Some(2.0); 3]);
}

#[test]
fn selects_the_last_window() {
    let points = vec![(1, 1.0), (1_001, 2.0), (1_002, 3.0)];
    let series = vec![(labels(&[(METRIC_NAME, "x:window")]), points)];
    let of = answer(&TestSource::new(1_000, series), instant(selector("x:window")), Grid::instant(5_000));
    let [Series { samples: Samples::Windows(windows), .. }] = &of[..] else { panic!("{of:?}") };
    assert_eq!(windows[0].as_ref().map(|window| window.count()), Some(2));
}

#[test]
fn says_that_times_are_rounded() {
    let infos = |start_ms, step_ms| {
        let grid = Grid { start_ms, step_ms, count: 2 };
        try_answer(&source(), instant(selector("x")), grid).unwrap().annotations.infos()
    };
    assert_eq!(infos(3_000, 1_000), [""; 0]);
    assert_eq!(infos(3_000, 500), ["PromQL info: times are rounded down to windows of 1s (1:1)"]);
    assert_eq!(infos(3_001, 1_000), ["PromQL info: times are rounded down to windows of 1s (1:1)"]);
}

#[test]
fn timestamps_are_those_of_readings() {
    let source = source();
    let (fixture, selector) = (fixture(&source), selector("x"));
    let context = fixture.context();
    let of = timestamps(&context, &selector, Span::default(), Grid::instant(30_000));
    let value = of.now_or_never().unwrap().unwrap();
    let Value::Vector(series) = value else { panic!("{value:?}") };
    let Samples::Floats(column) = &series[0].samples else { panic!("{series:?}") };
    assert_eq!(column.get(0), Some(19.999));
}

#[test]
fn memory_is_bounded() {
    let mut source = source();
    source.memory_max = 100;
    assert!(try_answer(&source, instant(selector("x")), Grid::instant(30_000)).is_err());
}

proptest! {
    #[test]
    fn a_range_query_is_as_instant_queries(
        times in prop::collection::btree_set(0_i64..700_000, 0..40),
        step_ms in 1_i64..200_000,
        start_ms in 0_i64..200_000,
        width_ms in prop::sample::select(vec![1_i64, 1_000, 60_000]),
    ) {
        let points: Vec<_> = times.iter().enumerate().map(|(n, time)| (*time, n as f64)).collect();
        let source = TestSource::one(width_ms, "x", points.clone());
        let grid = Grid { start_ms, step_ms, count: 12 };
        let values = floats(&source, instant(selector("x")), grid);
        for (time, value) in grid.times().zip(&values) {
            prop_assert_eq!(&floats(&source, instant(selector("x")), Grid::instant(time))[..], &[*value][..]);
            let end = time / width_ms * width_ms;
            let within = |at: &&(i64, f64)| at.0 <= end && at.0 > end - 300_000;
            prop_assert_eq!(*value, points.iter().rfind(within).map(|point| point.1));
        }
    }
}
