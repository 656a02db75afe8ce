use catchment_partial::Width;
use catchment_proto::{Labels, MetricName, Name, SeriesKey};

use super::*;
use crate::{
    store::Origin,
    testing::{gateway, partial},
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

fn window(start_ms: i64, width_ms: u32) -> Window {
    Window::containing(Timestamp::from_millis(start_ms).unwrap(), Width::from_millis(width_ms).unwrap())
}

#[test]
fn partials_gather_in_points() {
    let range = Range { from_ms: 10_000, to_ms: 60_000, step_ms: Some(20_000) };
    let mut points = Points::new(range);
    for (start, value) in [(10_000, 1.0), (20_000, 2.0), (30_000, 4.0), (50_000, 8.0)] {
        points.push(window(start, 10_000), &partial(&[(start, value)])).unwrap();
    }
    // A second series and a later part of the same window.
    points.push(window(30_000, 10_000), &partial(&[(31_000, 16.0)])).unwrap();
    points.push(window(40_000, 10_000), &partial(&[])).unwrap();
    let aggregates = [("count".to_owned(), Aggregate::Count), ("sum".to_owned(), Aggregate::Sum)];
    let points: Vec<_> = points
        .evaluate(&aggregates)
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
    let mut points = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: None });
    points.push(window(0, 10_000), &partial(&[])).unwrap();
    assert!(points.evaluate(&[("count".to_owned(), Aggregate::Count)]).is_empty());
}

#[test]
fn a_window_that_is_not_within_a_point_is_refused_with_its_width() {
    let mut points = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: Some(15_000) });
    let mismatch = points.push(window(0, 10_000), &partial(&[(0, 1.0)])).unwrap_err();
    assert_eq!(mismatch, WidthMismatch { step_ms: 15_000, width_ms: 10_000 });
    assert!(mismatch.to_string().contains("10000 ms wide"));
    points.push(window(0, 5_000), &partial(&[(0, 1.0)])).unwrap();
    let mut one = Points::new(Range { from_ms: 0, to_ms: 60_000, step_ms: None });
    one.push(window(0, 7_000), &partial(&[(0, 1.0)])).unwrap();
}

#[test]
fn an_answer_is_complete_up_to_its_slowest_gateway() {
    let known = |site: &str, watermark: Option<i64>| GatewayEntry {
        origin: Origin { gateway: gateway(site, "g1"), epoch: 1, epoch_created_ms: 0, shards: 1 },
        watermark: watermark.and_then(Timestamp::from_millis),
    };
    let gateways = [known("berlin", Some(30_000)), known("munich", Some(20_000)), known("rome", None)];
    assert_eq!(complete_until(&series(), &gateways), Some(20_000));
    assert_eq!(complete_until(&series()[1..], &gateways), Some(30_000));
    let never = [entry(9, "rome", "d", &[], (0, 0)), entry(2, "berlin", "d", &[], (0, 0))];
    assert_eq!(complete_until(&never, &gateways), None);
    assert_eq!(complete_until(&[], &gateways), None);
    assert_eq!(complete_until(&[entry(9, "unknown", "d", &[], (0, 0))], &gateways), None);
}
