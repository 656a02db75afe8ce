//! Panes of any width, and ranges that slide over them, give what samples one after another give.

use proptest::prelude::*;

use super::*;

const FUNCTIONS: [F; 19] = [
    F::AvgOverTime,
    F::Changes,
    F::CountOverTime,
    F::Delta,
    F::FirstOverTime,
    F::Increase,
    F::LastOverTime,
    F::MaxOverTime,
    F::MinOverTime,
    F::PresentOverTime,
    F::QuantileOverTime,
    F::Rate,
    F::Resets,
    F::StdvarOverTime,
    F::SumOverTime,
    F::TsOfFirstOverTime,
    F::TsOfLastOverTime,
    F::TsOfMaxOverTime,
    F::TsOfMinOverTime,
];

/// Samples in order of time: few values, so that some are equal and some are less than those before.
fn points() -> impl Strategy<Value = Points> {
    let value = prop_oneof![4 => (-5_i32..5).prop_map(f64::from), 2 => (0_i32..1_000).prop_map(|n| f64::from(n) / 7.0)];
    prop::collection::btree_map(0_i64..100_000, value, 0..60).prop_map(|points| points.into_iter().collect())
}

fn node(function: F, range: Range) -> crate::plan::Node {
    let parameters = if function == F::QuantileOverTime { vec![number(0.3)] } else { Vec::new() };
    over(function, range, parameters)
}

fn is_close(a: Option<f64>, b: Option<f64>, scale: f64) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-14 * scale
        }
        (None, None) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ranges_of_panes_are_as_samples(
        points in points(),
        width_ms in prop::sample::select(vec![1_i64, 50, 1_000]),
        is_wide: bool,
        start in 0_i64..100,
        step in 1_i64..20,
        range in 1_i64..60,
    ) {
        let mut source = TestSource::one(width_ms, "x", points.clone());
        source.is_wide = is_wide;
        let grid = Grid { start_ms: start * 1_000, step_ms: step * 1_000, count: 14 };
        let range_ms = range * 1_000;
        for function in FUNCTIONS {
            let of = Range::Selector { selector: selector("x"), range_ms };
            let values = floats(&source, node(function, of), grid);
            for (time, value) in grid.times().zip(values) {
                let expected = naive::value(function, &points, time - range_ms, time);
                let within = points.iter().filter(|(at, _)| *at > time - range_ms && *at <= time).count();
                let is_sketched = function == F::QuantileOverTime && within > catchment_partial::EXACT_MAX;
                // One per cent of the values, then.
                let scale = if is_sketched { 1.5e14 } else { 1e4 };
                prop_assert!(
                    is_close(value, expected, scale),
                    "{function:?} at {time}: {value:?}, expected {expected:?}"
                );
            }
        }
    }

    #[test]
    fn ranges_of_values_are_as_samples(
        values in prop::collection::vec(
            prop_oneof![8 => -3.0..3.0, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)], 1..40),
        step in 1_i64..6,
        range in 1_i64..20,
    ) {
        // One sample a second, which lasts as long as the lookback.
        let points: Points = values.iter().enumerate().map(|(n, value)| (n as i64 * 1_000, *value)).collect();
        let source = TestSource::one(1, "x", points.clone());
        let grid = Grid { start_ms: 0, step_ms: step * 1_000, count: values.len().div_ceil(step as usize) };
        let range_ms = range * 1_000;
        for function in FUNCTIONS.into_iter().filter(|function| {
            // Of expressions, these give times of evaluation; the others are undefined where infinities meet.
            !matches!(function, F::TsOfFirstOverTime | F::TsOfLastOverTime | F::TsOfMaxOverTime | F::TsOfMinOverTime)
                && !matches!(function, F::StdvarOverTime | F::SumOverTime | F::AvgOverTime | F::Rate | F::Increase | F::Delta)
        }) {
            let of = subquery(instant(selector("x")), range_ms, 1_000);
            let values = floats(&source, node(function, of), grid);
            for (time, value) in grid.times().zip(values) {
                let expected = naive::value(function, &points, time - range_ms, time);
                prop_assert!(is_close(value, expected, 1.0), "{function:?} at {time}: {value:?}, {expected:?}");
            }
        }
    }

    #[test]
    fn windows_are_merged_as_readings(points in points(), range in 1_i64..60, step in 1_i64..20) {
        let name = "x:window";
        let source = TestSource::new(50, vec![(labels(&[(METRIC_NAME, name)]), points.clone())]);
        let grid = Grid { start_ms: 10_000, step_ms: step * 1_000, count: 14 };
        let of = Range::Selector { selector: selector(name), range_ms: range * 1_000 };
        let series = answer(&source, over(F::SumOverTime, of, Vec::new()), grid);
        for (step, time) in grid.times().enumerate() {
            let within: Points = points
                .iter()
                .copied()
                .filter(|(at, _)| *at > time - range * 1_000 && *at <= time)
                .collect();
            let expected = (!within.is_empty()).then(|| crate::evaluate::testing::window(&within));
            let merged = series.first().and_then(|series| match &series.samples {
                Samples::Windows(windows) => windows[step].clone(),
                Samples::Floats(_) => None,
            });
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn batches_and_instants_make_no_difference(points in points(), step in 1_i64..9, range in 1_i64..60) {
        let named = |device: &str| (labels(&[(METRIC_NAME, "x"), ("device", device)]), points.clone());
        let mut source = TestSource::new(50, ["a", "b", "c"].map(named).into());
        let grid = Grid { start_ms: 10_000, step_ms: step * 1_000, count: 9 };
        for function in FUNCTIONS {
            let of = || node(function, Range::Selector { selector: selector("x"), range_ms: range * 1_000 });
            source.batch = 64;
            let whole = answer(&source, of(), grid);
            source.batch = 1;
            prop_assert_eq!(&answer(&source, of(), grid), &whole);
            for (step, time) in grid.times().enumerate() {
                let once = answer(&source, of(), Grid::instant(time));
                let at = |series: &Series, step| match &series.samples {
                    Samples::Floats(column) => column.get(step),
                    Samples::Windows(_) => None,
                };
                let (ranged, once) = (whole.first(), once.first());
                let pair = (ranged.and_then(|of| at(of, step)), once.and_then(|of| at(of, 0)));
                prop_assert!(is_close(pair.0, pair.1, 1e4), "{function:?} at {time}: {pair:?}");
            }
        }
    }
}
