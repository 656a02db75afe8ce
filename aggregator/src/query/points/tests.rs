use catchment_partial::Partial;
use catchment_proto::wire;
use proptest::prelude::*;

use super::{
    super::{aggregate::Aggregate, plan::Plan},
    *,
};
use crate::testing::{partial, states};

/// The values of points; none if undefined.
type Shown = Vec<(i64, Vec<Option<f64>>)>;

fn all_points(range: Range, needs: &Needs) -> Points {
    Points::new(range, Timestamp::MAX, needs, 4_096)
}

fn evaluated(
    start_ms: i64,
    figures: &Figures,
    aggregates: &[(String, Aggregate)],
) -> (i64, Vec<Option<f64>>) {
    let number = |(_, aggregate): &(_, Aggregate)| match aggregate.evaluate(figures) {
        Some(super::super::aggregate::AggregateValue::Number(number)) => Some(number),
        _ => None,
    };
    (start_ms, aggregates.iter().map(number).collect())
}

fn finished_points(points: Points, aggregates: &[(String, Aggregate)]) -> Shown {
    points.into_points().map(|(start_ms, figures)| evaluated(start_ms, &figures, aggregates)).collect()
}

fn columns(names: &[&str]) -> Vec<(String, Aggregate)> {
    names.iter().flat_map(|name| Aggregate::columns(name).unwrap()).collect()
}

fn push(points: &mut impl Collect, window: Window, partial: &Partial) -> Result<(), RowError> {
    let mut body = Vec::new();
    partial.encode(window.start(), &mut body);
    points.push(window, &body)
}

fn window(start_ms: i64, width_ms: u32) -> Window {
    Window::containing(Timestamp::from_millis(start_ms).unwrap(), Width::from_millis(width_ms).unwrap())
}

#[test]
fn partials_are_merged_into_points() {
    let range = Range { from_ms: 10_000, to_ms: 60_000, steps: Steps::Every(20_000) };
    let mut points = all_points(range, &Needs::default());
    for (start, value) in [(10_000, 1.0), (20_000, 2.0), (30_000, 4.0), (50_000, 8.0)] {
        push(&mut points, window(start, 10_000), &partial(&[(start, value)])).unwrap();
    }
    // A second series and a later part of the same window.
    push(&mut points, window(30_000, 10_000), &partial(&[(31_000, 16.0)])).unwrap();
    push(&mut points, window(40_000, 10_000), &partial(&[])).unwrap();
    let aggregates = columns(&["count", "sum"]);
    let expected = [(0, [1.0, 1.0]), (20_000, [3.0, 22.0]), (40_000, [1.0, 8.0])];
    let expected = expected.map(|(start_ms, values)| (start_ms, values.map(Some).to_vec()));
    assert_eq!(finished_points(points, &aggregates), expected);
}

#[test]
fn a_point_without_readings_is_left_out() {
    let mut points = all_points(Range { from_ms: 0, to_ms: 60_000, steps: Steps::Whole }, &Needs::default());
    push(&mut points, window(0, 10_000), &partial(&[])).unwrap();
    assert!(finished_points(points, &columns(&["count"])).is_empty());
}

#[test]
fn a_point_with_only_states_is_there() {
    let mut points = all_points(Range { from_ms: 0, to_ms: 60_000, steps: Steps::Whole }, &Needs::default());
    push(&mut points, window(0, 10_000), &states(&[(1_000, "auto")])).unwrap();
    let points = finished_points(points, &columns(&["count", "state_count", "mean"]));
    assert_eq!(points, [(0, vec![Some(0.0), Some(1.0), None])]);
}

fn ordered() -> Needs {
    Needs { order_bounds: Some(Vec::new()), ..Needs::default() }
}

/// Points of a counter that gains 1 a second, read every second.
fn followed(points: &mut impl Collect, seconds: std::ops::Range<i64>) {
    for start in seconds.step_by(10) {
        let readings: Vec<_> = (start..start + 10).map(|s| (s * 1_000 + 500, s as f64)).collect();
        push(points, window(start * 1_000, 10_000), &partial(&readings)).unwrap();
    }
    points.end_series();
}

#[test]
fn figures_of_the_order_are_summed_over_series() {
    let range = Range { from_ms: 5_000, to_ms: 55_000, steps: Steps::Every(20_000) };
    let mut points = all_points(range, &ordered());
    let empty = points.bytes();
    followed(&mut points, 10..60);
    let one = points.bytes();
    followed(&mut points, 20..50);
    assert!(empty < one && one <= points.bytes());
    let shown: Vec<_> = finished_points(points, &columns(&["increase", "rate", "changes"]))
        .into_iter()
        .map(|(start_ms, values)| (start_ms, values.into_iter().map(Option::unwrap).collect::<Vec<_>>()))
        .collect();
    // The first point has one window, 10 to 20 s; the last one's series end at 60 s and 50 s.
    assert_eq!(
        shown,
        [
            (0, vec![10.0, 1.0, 9.0]),
            (20_000, vec![40.0, 2.0, 38.0]),
            (40_000, vec![20.0 + 10.0, 1.0 + 0.5, 19.0 + 9.0]),
        ]
    );
}

#[test]
fn parts_that_are_needed_are_kept_beyond_few_readings() {
    let shown = |names: &[&str], window_readings: i64| {
        let request = wire::AggregateRequest {
            selector: "m".to_owned(),
            to_ms: 100_000,
            aggregates: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let plan = Plan::new(request).unwrap();
        let mut points = all_points(plan.range.clone(), &plan.needs());
        for start in [0, 10_000, 20_000] {
            let readings: Vec<_> = (0..window_readings).map(|n| (start + n, (n % 7) as f64)).collect();
            push(&mut points, window(start, 10_000), &partial(&readings)).unwrap();
        }
        finished_points(points, &plan.aggregates).remove(0).1
    };
    let few = shown(&["skewness", "distinct", "count"], 21);
    assert!(few[0].is_some_and(|skewness| skewness.abs() < 1e-9), "{few:?}");
    assert_eq!(few[1..], [Some(7.0), Some(63.0)]);
    assert_eq!(shown(&["skewness", "distinct"], 40), [None, None], "windows without the parts");
}

#[test]
fn nothing_is_followed_unless_it_is_requested() {
    let mut points = all_points(Range { from_ms: 0, to_ms: 60_000, steps: Steps::Whole }, &Needs::default());
    followed(&mut points, 0..50);
    assert!(points.into_points().all(|(_, figures)| figures.order.is_none()));
}

#[test]
fn a_width_that_changes_widens_the_point() {
    let range = Range { from_ms: 5_000, to_ms: 55_000, steps: Steps::Whole };
    let mut points = all_points(range, &ordered());
    let counter = |s: i64| (s * 1_000 + 500, s as f64);
    push(&mut points, window(10_000, 10_000), &partial(&(10..20).map(counter).collect::<Vec<_>>())).unwrap();
    push(&mut points, window(20_000, 20_000), &partial(&(20..40).map(counter).collect::<Vec<_>>())).unwrap();
    push(&mut points, window(40_000, 20_000), &partial(&(40..60).map(counter).collect::<Vec<_>>())).unwrap();
    points.end_series();
    let points = finished_points(points, &columns(&["increase"]));
    assert_eq!(points[0].1, [Some(50.0)], "from 10 s to 60 s");
}

#[test]
fn a_window_that_does_not_fit_into_a_point_is_refused_with_its_width() {
    let mut points =
        all_points(Range { from_ms: 0, to_ms: 60_000, steps: Steps::Every(15_000) }, &Needs::default());
    let error = push(&mut points, window(0, 10_000), &partial(&[(0, 1.0)])).unwrap_err();
    let RowError::Width(mismatch) = error else { panic!("{error}") };
    assert_eq!(mismatch, WidthMismatch::Step { step_ms: 15_000, width_ms: 10_000 });
    assert!(mismatch.to_string().contains("10000 ms wide"));
    push(&mut points, window(0, 5_000), &partial(&[(0, 1.0)])).unwrap();
    let mut one = all_points(Range { from_ms: 0, to_ms: 60_000, steps: Steps::Whole }, &Needs::default());
    push(&mut one, window(0, 7_000), &partial(&[(0, 1.0)])).unwrap();
}

#[test]
fn a_window_across_the_beginning_of_a_calendar_step_is_refused() {
    let steps = Steps::At([-20_000, 0, 25_000, 60_000].into());
    let range = Range { from_ms: 0, to_ms: 60_000, steps };
    let mut points = all_points(range.clone(), &Needs::default());
    let mut one = OneSeries::new(range, Timestamp::MAX, &Needs::default(), |_, _: &Figures| true);
    let readings = partial(&[(0, 1.0)]);
    for start in [0, 10_000, 15_000, 25_000, 50_000] {
        push(&mut points, window(start, 5_000), &readings).unwrap();
        push(&mut one, window(start, 5_000), &readings).unwrap();
    }
    let mut again = all_points(points.range.clone(), &Needs::default());
    push(&mut again, window(10_000, 10_000), &readings).unwrap();
    for error in [
        push(&mut again, window(20_000, 10_000), &readings),
        push(&mut one, window(20_000, 10_000), &readings),
        push(&mut again, window(21_000, 7_000), &readings),
    ] {
        let RowError::Width(mismatch @ WidthMismatch::Calendar { width_ms, within_ms }) = error.unwrap_err()
        else {
            panic!("another error")
        };
        assert!([(10_000, 5_000), (7_000, 4_000)].contains(&(width_ms, within_ms)), "{mismatch}");
        assert!(mismatch.to_string().contains("time zone"), "{mismatch}");
    }
}

fn steps() -> impl Strategy<Value = Steps> {
    let starts = prop::collection::btree_set(-30..60_i64, 1..20);
    prop_oneof![
        Just(Steps::Whole),
        (1..6_i64).prop_map(|windows| Steps::Every(windows * 10_000)),
        starts.prop_map(|starts| {
            Steps::At(std::iter::once(-100).chain(starts).map(|index| index * 10_000).collect())
        }),
    ]
}

/// A row: series, index of its window, and its only reading.
type Row = (usize, i64, f64);

/// The rows of a series, in order.
fn rows_of(rows: &[Row], series: usize) -> impl Iterator<Item = (Window, Partial)> {
    let mut rows: Vec<_> = rows.iter().filter(|row| row.0 == series).copied().collect();
    rows.sort_by_key(|row| row.1);
    rows.into_iter()
        .map(|(_, index, value)| (window(index * 10_000, 10_000), partial(&[(index * 10_000, value)])))
}

fn naive(rows: &[Row], range: &Range, columns: &[(String, Aggregate)]) -> Shown {
    let mut points = std::collections::BTreeMap::new();
    for (_, index, value) in rows {
        let figures: &mut Figures = points.entry(range.point(index * 10_000)).or_default();
        figures.partial.merge_across_series(&partial(&[(index * 10_000, *value)]));
    }
    points.iter().map(|(start_ms, figures)| evaluated(*start_ms, figures, columns)).collect()
}

/// Reads everything, as often as points are left for later.
fn read(rows: &[Row], series: usize, range: Range, most: usize, columns: &[(String, Aggregate)]) -> Shown {
    let (mut shown, mut from) = (Shown::new(), Timestamp::MIN);
    loop {
        let mut points = Points::new(range.clone(), Timestamp::MAX, &Needs::default(), most);
        for series in 0..series {
            rows_of(rows, series)
                .filter(|(window, _)| window.start() >= from)
                .for_each(|(window, partial)| push(&mut points, window, &partial).unwrap());
            points.end_series();
        }
        let (to, bytes) = (points.to(), points.bytes());
        let taken: Vec<_> = points.into_points().collect();
        assert!(taken.len() <= 2 * most);
        let memory = |(_, figures): &(i64, Figures)| POINT_BYTES + figures.partial.memory();
        assert_eq!(bytes, taken.iter().map(memory).sum::<usize>());
        shown.extend(taken.iter().map(|(start_ms, figures)| evaluated(*start_ms, figures, columns)));
        if to == Timestamp::MAX {
            return shown;
        }
        assert!(to > from, "it advances");
        from = to;
    }
}

proptest! {
    #[test]
    fn points_are_those_of_a_naive_merge(
        rows in prop::collection::vec((0..4_usize, -30..60_i64, -10.0..10.0_f64), 0..200),
        steps in steps(),
        most in 1..40_usize,
    ) {
        let range = Range { from_ms: -1_000_000, to_ms: 1_000_000, steps };
        let columns = columns(&["count", "sum", "p50", "max_time"]);
        prop_assert_eq!(read(&rows, 4, range.clone(), most, &columns), naive(&rows, &range, &columns));
    }

    #[test]
    fn one_series_gives_the_same_points_one_by_one(
        rows in prop::collection::vec((Just(0_usize), -30..60_i64, -10.0..10.0_f64), 0..100),
        steps in steps(),
        most in 1..20_usize,
    ) {
        let range = Range { from_ms: -1_000_000, to_ms: 1_000_000, steps };
        let columns = columns(&["count", "sum", "p50", "max_time"]);
        let (mut shown, mut from) = (Shown::new(), Timestamp::MIN);
        loop {
            let before = shown.len();
            let emit = |start_ms, figures: &Figures| {
                shown.push(evaluated(start_ms, figures, &columns));
                shown.len() - before < most
            };
            let mut points = OneSeries::new(range.clone(), Timestamp::MAX, &Needs::default(), emit);
            for (window, partial) in rows_of(&rows, 0).filter(|(window, _)| window.start() >= from) {
                push(&mut points, window, &partial).unwrap();
            }
            points.end_series();
            let to = points.to();
            if to == Timestamp::MAX {
                break;
            }
            prop_assert!(to > from && shown.len() - before == most);
            from = to;
        }
        prop_assert_eq!(shown, naive(&rows, &range, &columns));
    }
}

#[test]
fn a_damaged_row_costs_only_itself() {
    let range = Range { from_ms: 0, to_ms: 60_000, steps: Steps::Whole };
    let mut points = all_points(range, &Needs::default());
    push(&mut points, window(0, 10_000), &partial(&[(0, 1.0)])).unwrap();
    let error = points.push(window(10_000, 10_000), &[2, 255, 255]).unwrap_err();
    assert!(matches!(error, RowError::Damaged(_)), "{error}");
    push(&mut points, window(20_000, 10_000), &partial(&[(20_000, 2.0)])).unwrap();
    assert_eq!(finished_points(points, &columns(&["count", "sum"])), [(0, vec![Some(2.0), Some(3.0)])]);
}
