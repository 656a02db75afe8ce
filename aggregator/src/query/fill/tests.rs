use catchment_proto::wire::AggregateRequest;
use proptest::prelude::*;

use super::*;

fn filler(fill: Fill, from_ms: i64, to_ms: i64, columns: bool) -> Filler {
    let aggregates = ["count", "last_state"].map(str::to_owned).to_vec();
    let request = AggregateRequest {
        selector: "m".to_owned(),
        from_ms,
        to_ms,
        step_ms: 10,
        fill: fill.into(),
        aggregates,
        columns,
        ..Default::default()
    };
    Filler::new(&Plan::new(request).unwrap()).unwrap()
}

fn value(number: Option<f64>, text: Option<&str>) -> Value {
    Value { number, text: text.map(str::to_owned), states: Vec::new() }
}

fn point(start_ms: i64) -> Point {
    Point {
        start_ms,
        values: vec![value(Some(start_ms as f64), None), value(None, Some(&start_ms.to_string()))],
    }
}

/// Messages of these points of groups, each point once, in as many messages as are given.
fn filled(mut filler: Filler, given: &[(usize, Vec<i64>)]) -> Vec<(usize, Vec<Point>)> {
    let mut all: Vec<(usize, Vec<Point>)> = Vec::new();
    let mut take = |filler: &mut Filler| {
        while let Some(Message { series, group, points, .. }) = filler.take() {
            let found = series.columns.map_or(series.points, points_of);
            assert_eq!(found.len(), points);
            match all.last_mut().filter(|(last, _)| *last == group) {
                Some((_, points)) => points.extend(found),
                None => all.push((group, found)),
            }
        }
    };
    for (group, starts) in given {
        let points: Vec<Point> = starts.iter().map(|start_ms| point(*start_ms)).collect();
        let mut series = SeriesPoints::default();
        match filler.columns {
            true => series.columns = Some(columns_of(points, &filler.aggregates)),
            false => series.points = points,
        }
        if filler.ends_before(Some(*group)) {
            take(&mut filler);
        }
        filler.push(Message { series, group: *group, points: starts.len(), bytes: 0 });
        take(&mut filler);
    }
    if filler.ends_before(None) {
        take(&mut filler);
    }
    all
}

#[test]
fn gaps_before_between_and_after_points_are_filled() {
    for columns in [false, true] {
        let of = |fill| filled(filler(fill, 5, 51, columns), &[(0, vec![10]), (0, vec![30]), (4, vec![0])]);
        let counts = |fill| -> Vec<Vec<Option<f64>>> {
            let series = of(fill).into_iter();
            series
                .map(|(_, points)| points.into_iter().map(|point| point.values[0].number).collect())
                .collect()
        };
        let starts: Vec<i64> = of(Fill::Null)[0].1.iter().map(|point| point.start_ms).collect();
        assert_eq!(starts, [0, 10, 20, 30, 40, 50]);
        let (ten, thirty) = (Some(10.0), Some(30.0));
        assert_eq!(
            counts(Fill::Null),
            [vec![None, ten, None, thirty, None, None], vec![Some(0.0), None, None, None, None, None]]
        );
        assert_eq!(counts(Fill::Previous)[0], [None, ten, ten, thirty, thirty, thirty]);
        assert_eq!(counts(Fill::Zero)[0], [Some(0.0), ten, Some(0.0), thirty, Some(0.0), Some(0.0)]);
        let text = |fill| of(fill)[0].1[2].values[1].text.clone();
        assert_eq!([Fill::Null, Fill::Previous, Fill::Zero].map(text), [None, Some("10".to_owned()), None]);
    }
}

proptest! {
    #[test]
    fn each_series_has_each_point_once_in_messages_of_bounded_size(
        series in prop::collection::vec(prop::collection::btree_set(0..3_000_i64, 1..20), 1..4),
        cut in 1..8_usize,
    ) {
        let given: Vec<(usize, Vec<i64>)> = series.iter().enumerate().flat_map(|(group, starts)| {
            let starts: Vec<i64> = starts.iter().map(|start| start * 10).collect();
            starts.chunks(cut).map(|chunk| (group, chunk.to_vec())).collect::<Vec<_>>()
        }).collect();
        let all = filled(filler(Fill::Null, 0, 30_000, true), &given);
        prop_assert_eq!(all.len(), series.len());
        for ((_, points), starts) in all.into_iter().zip(&series) {
            prop_assert!(points.iter().map(|point| point.start_ms).eq((0..3_000).map(|n| n * 10)));
            let read = points.iter().filter(|point| point.values[0].number.is_some());
            prop_assert!(read.map(|point| point.start_ms / 10).eq(starts.iter().copied()));
        }
    }
}
