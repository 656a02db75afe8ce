use catchment_partial::Width;
use catchment_proto::{Labels, MetricName, Name, SeriesKey};

use super::*;
use crate::{
    store::GatewayEpoch,
    testing::{gateway, partial, states},
};

fn entry(id: u32, site: &str, device: &str, labels: &[(&str, &str)], windows: (i64, i64)) -> SeriesEntry {
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    SeriesEntry {
        id: SeriesId(id),
        gateway: gateway(site, "g1"),
        key: SeriesKey {
            device: Name::new(device).unwrap(),
            metric: MetricName::new("temperature").unwrap(),
            labels: Labels::new(labels.iter().copied()).unwrap(),
        },
        windows: (time(windows.0), time(windows.1)),
        last_reading: time(windows.1),
    }
}

fn series() -> Vec<SeriesEntry> {
    vec![
        entry(1, "munich", "d1", &[("room", "1")], (0, 50_000)),
        entry(2, "berlin", "d2", &[("room", "2")], (10_000, 20_000)),
        entry(3, "berlin", "d1", &[], (20_000, 90_000)),
    ]
}

fn groups(series: Vec<SeriesEntry>, by: &[String]) -> Vec<Group> {
    let mut groups = Groups::new(by);
    series.iter().for_each(|entry| groups.push(entry));
    groups.into_groups().collect()
}

fn finished_points(points: Points, aggregates: &[(String, Aggregate)]) -> Vec<wire::Point> {
    points.into_points().map(|(start, figures)| evaluate(start, &figures, aggregates)).collect()
}

fn columns(names: &[&str]) -> Vec<(String, Aggregate)> {
    names.iter().flat_map(|name| Aggregate::columns(name).unwrap()).collect()
}

fn by(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn shown(groups: &[Group]) -> Vec<(String, Vec<u32>)> {
    let labels =
        |group: &Group| group.labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",");
    groups.iter().map(|group| (labels(group), group.series.iter().map(|id| id.0).collect())).collect()
}

#[test]
fn without_labels_everything_is_one_group() {
    let all = groups(series(), &[]);
    assert_eq!(shown(&all), [(String::new(), vec![1, 2, 3])]);
    assert_eq!(all[0].windows, (Timestamp::from_nanos(0), Timestamp::from_millis(90_000).unwrap()));
    assert!(groups(Vec::new(), &[]).is_empty());
}

#[test]
fn groups_come_in_the_order_of_their_labels() {
    let by_site = groups(series(), &by(&["site"]));
    assert_eq!(
        shown(&by_site),
        [("site=berlin".to_owned(), vec![2, 3]), ("site=munich".to_owned(), vec![1])]
    );
    let by_room = groups(series(), &by(&["room", "__name__"]));
    assert_eq!(
        shown(&by_room),
        [
            ("__name__=temperature".to_owned(), vec![3]),
            ("__name__=temperature,room=1".to_owned(), vec![1]),
            ("__name__=temperature,room=2".to_owned(), vec![2]),
        ]
    );
    assert_eq!(groups(series(), &by(&["device", "gateway"])).len(), 2);
}

fn push(points: &mut Points, window: Window, partial: &Partial) -> Result<(), QueryError> {
    let mut body = Vec::new();
    partial.encode(window.start(), &mut body);
    points.push(SeriesId(1), &StoredPartial { window, body: body.into() })
}

fn window(start_ms: i64, width_ms: u32) -> Window {
    Window::containing(Timestamp::from_millis(start_ms).unwrap(), Width::from_millis(width_ms).unwrap())
}

#[test]
fn partials_are_merged_into_points() {
    let range = Range { from_ms: 10_000, to_ms: 60_000, step_ms: Some(20_000) };
    let mut points = Points::new(range, Needs::default());
    for (start, value) in [(10_000, 1.0), (20_000, 2.0), (30_000, 4.0), (50_000, 8.0)] {
        push(&mut points, window(start, 10_000), &partial(&[(start, value)])).unwrap();
    }
    // A second series and a later part of the same window.
    push(&mut points, window(30_000, 10_000), &partial(&[(31_000, 16.0)])).unwrap();
    push(&mut points, window(40_000, 10_000), &partial(&[])).unwrap();
    let aggregates = columns(&["count", "sum"]);
    let points: Vec<_> = finished_points(points, &aggregates)
        .into_iter()
        .map(|point| (point.start_ms, point.values[0].number, point.values[1].number))
        .collect();
    assert_eq!(
        points,
        [(0, Some(1.0), Some(1.0)), (20_000, Some(3.0), Some(22.0)), (40_000, Some(1.0), Some(8.0))]
    );
}

#[test]
fn a_point_without_readings_is_left_out() {
    let mut points = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: None }, Needs::default());
    push(&mut points, window(0, 10_000), &partial(&[])).unwrap();
    assert!(finished_points(points, &columns(&["count"])).is_empty());
}

#[test]
fn a_point_with_only_states_is_there() {
    let mut points = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: None }, Needs::default());
    push(&mut points, window(0, 10_000), &states(&[(1_000, "auto")])).unwrap();
    let points = finished_points(points, &columns(&["count", "state_count", "mean"]));
    let numbers: Vec<_> = points[0].values.iter().map(|value| value.number).collect();
    assert_eq!((points.len(), numbers), (1, vec![Some(0.0), Some(1.0), None]));
}

fn ordered() -> Needs {
    Needs { order_bounds: Some(Vec::new()), ..Needs::default() }
}

/// Points of a counter that gains 1 a second, read every second.
fn followed(points: &mut Points, seconds: std::ops::Range<i64>) {
    for start in seconds.step_by(10) {
        let readings: Vec<_> = (start..start + 10).map(|s| (s * 1_000 + 500, s as f64)).collect();
        push(points, window(start * 1_000, 10_000), &partial(&readings)).unwrap();
    }
    points.end_series();
}

#[test]
fn figures_of_the_order_are_summed_over_series() {
    let range = Range { from_ms: 5_000, to_ms: 55_000, step_ms: Some(20_000) };
    let mut points = Points::new(range, ordered());
    let empty = points.bytes();
    followed(&mut points, 10..60);
    let one = points.bytes();
    followed(&mut points, 20..50);
    assert!(empty < one && one <= points.bytes());
    let shown: Vec<_> = finished_points(points, &columns(&["increase", "rate", "changes"]))
        .into_iter()
        .map(|point| (point.start_ms, point.values.iter().map(|v| v.number.unwrap()).collect::<Vec<_>>()))
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
        let plan = super::super::plan::Plan::new(request).unwrap();
        let mut points = Points::new(plan.range, plan.needs());
        for start in [0, 10_000, 20_000] {
            let readings: Vec<_> = (0..window_readings).map(|n| (start + n, (n % 7) as f64)).collect();
            push(&mut points, window(start, 10_000), &partial(&readings)).unwrap();
        }
        let numbers = |point: &wire::Point| point.values.iter().map(|value| value.number).collect::<Vec<_>>();
        numbers(&finished_points(points, &plan.aggregates)[0])
    };
    let few = shown(&["skewness", "distinct", "count"], 21);
    assert!(few[0].is_some_and(|skewness| skewness.abs() < 1e-9), "{few:?}");
    assert_eq!(few[1..], [Some(7.0), Some(63.0)]);
    assert_eq!(shown(&["skewness", "distinct"], 40), [None, None], "windows without the parts");
}

#[test]
fn nothing_is_followed_unless_it_is_requested() {
    let mut points = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: None }, Needs::default());
    followed(&mut points, 0..50);
    assert!(points.into_points().all(|(_, figures)| figures.order.is_none()));
}

#[test]
fn a_width_that_changes_widens_the_point() {
    let range = Range { from_ms: 5_000, to_ms: 55_000, step_ms: None };
    let mut points = Points::new(range, ordered());
    let counter = |s: i64| (s * 1_000 + 500, s as f64);
    push(&mut points, window(10_000, 10_000), &partial(&(10..20).map(counter).collect::<Vec<_>>())).unwrap();
    push(&mut points, window(20_000, 20_000), &partial(&(20..40).map(counter).collect::<Vec<_>>())).unwrap();
    push(&mut points, window(40_000, 20_000), &partial(&(40..60).map(counter).collect::<Vec<_>>())).unwrap();
    points.end_series();
    let points = finished_points(points, &columns(&["increase"]));
    assert_eq!(points[0].values[0].number, Some(50.0), "from 10 s to 60 s");
}

#[test]
fn a_window_that_does_not_fit_into_a_point_is_refused_with_its_width() {
    let mut points =
        Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: Some(15_000) }, Needs::default());
    let error = push(&mut points, window(0, 10_000), &partial(&[(0, 1.0)])).unwrap_err();
    let QueryError::Width(mismatch) = error else { panic!("{error}") };
    assert_eq!(mismatch, WidthMismatch { step_ms: 15_000, width_ms: 10_000 });
    assert!(mismatch.to_string().contains("10000 ms wide"));
    push(&mut points, window(0, 5_000), &partial(&[(0, 1.0)])).unwrap();
    let mut one = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: None }, Needs::default());
    push(&mut one, window(0, 7_000), &partial(&[(0, 1.0)])).unwrap();
}

/// Completeness as a query computes it.
fn completeness(
    series: &[SeriesEntry],
    gateways: &[GatewayEntry],
    range: &Range,
    now_ms: i64,
) -> Completeness {
    let mut groups = Groups::new(&[]);
    series.iter().for_each(|entry| groups.push(entry));
    let mut holding: Vec<_> =
        gateways.iter().filter(|entry| groups.gateways().contains(&entry.epoch.gateway)).collect();
    holding.sort_by(|a, b| a.epoch.gateway.cmp(&b.epoch.gateway));
    let mut completeness = Completeness::new(now_ms);
    holding.iter().for_each(|entry| completeness.add(entry, range, now_ms));
    completeness.finish(holding.len(), groups.gateways().len())
}

const ALL: Range = Range { from_ms: 0, to_ms: 1_000_000, step_ms: None };
const NOW: i64 = 2_000_000;

fn known(site: &str, watermark: Option<i64>, gaps: &[(Option<i64>, Option<i64>, u64)]) -> GatewayEntry {
    let gap = |&(from, to, batches): &(Option<i64>, Option<i64>, u64)| Gap {
        from: from.and_then(Timestamp::from_millis),
        to: to.and_then(Timestamp::from_millis),
        batches,
    };
    GatewayEntry {
        epoch: GatewayEpoch {
            gateway: gateway(site, "g1"),
            id: 1,
            created_ms: 0,
            shards: 1,
            run: 0,
            previous_runs: Default::default(),
        },
        watermark: watermark.and_then(Timestamp::from_millis),
        gaps: gaps.iter().map(gap).collect(),
        series: 1,
        series_max: None,
    }
}

#[test]
fn an_answer_is_complete_up_to_its_slowest_gateway() {
    let gateways =
        [known("berlin", Some(30_000), &[]), known("munich", Some(20_000), &[]), known("rome", None, &[])];
    let until = |series: &[SeriesEntry], now| completeness(series, &gateways, &ALL, now).until_ms;
    assert_eq!(until(&series(), NOW), Some(20_000));
    assert_eq!(until(&series()[1..], NOW), Some(30_000));
    let never = [entry(9, "rome", "d", &[], (0, 0)), entry(2, "berlin", "d", &[], (0, 0))];
    assert_eq!(until(&never, NOW), None);
    assert_eq!(until(&[], NOW), None);
    assert_eq!(until(&[entry(9, "unknown", "d", &[], (0, 0))], NOW), None);
    assert_eq!(until(&series(), 15_000), Some(15_000), "never beyond the present");
}

#[test]
fn an_answer_is_not_complete_beyond_a_loss_within_its_range() {
    let berlin =
        known("berlin", Some(900_000), &[(Some(100_000), Some(200_000), 3), (Some(500_000), None, 1)]);
    let munich = known("munich", Some(800_000), &[(None, Some(50_000), 0)]);
    let gateways = [munich, berlin];
    let over = |series: &[SeriesEntry], from_ms, to_ms| {
        completeness(series, &gateways, &Range { from_ms, to_ms, step_ms: None }, NOW)
    };
    let berlin_only = &series()[1..];
    let all = over(berlin_only, 0, 1_000_000);
    assert_eq!(all.until_ms, Some(100_000));
    let gap = |site: &str, from_ms, to_ms, batches| wire::Gap {
        site: site.to_owned(),
        gateway: "g1".to_owned(),
        from_ms,
        to_ms,
        batches,
    };
    assert_eq!(
        all.gaps,
        [gap("berlin", Some(100_000), 200_000, 3), gap("berlin", Some(500_000), NOW, 1)],
        "a gap without end reaches to the present"
    );
    assert_eq!(over(berlin_only, 0, 100_000), Completeness { until_ms: Some(900_000), gaps: Vec::new() });
    assert_eq!(
        over(berlin_only, 200_000, 500_000),
        Completeness { until_ms: Some(900_000), gaps: Vec::new() }
    );
    assert_eq!(over(berlin_only, 190_000, 200_000).until_ms, Some(100_000));
    assert_eq!(over(berlin_only, 300_000, 500_001).until_ms, Some(500_000));
    let both = over(&series(), 0, 10_000);
    assert_eq!((both.until_ms, both.gaps.len()), (None, 1), "lost from the beginning");
    assert_eq!(over(&series(), 60_000, 90_000).until_ms, Some(800_000));
}
