use catchment_proto::{Labels, MetricName, Name, SeriesKey};

use super::*;
use crate::{store::GatewayEpoch, testing::gateway};

fn entry(id: u32, site: &str, device: &str, labels: &[(&str, &str)], windows: (i64, i64)) -> SeriesEntry {
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    SeriesEntry {
        id: SeriesId::new(id.into()),
        gateway: gateway(site, "g1"),
        key: SeriesKey {
            device: Name::new(device).unwrap(),
            metric: MetricName::new("temperature").unwrap(),
            labels: Labels::new(labels.iter().copied()).unwrap(),
        },
        windows: (time(windows.0), time(windows.1)),
        rows_from: time(windows.0),
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

fn by(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn shown(groups: &[Group]) -> Vec<(String, Vec<u64>)> {
    let labels =
        |group: &Group| group.labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",");
    groups.iter().map(|group| (labels(group), group.series.iter().map(|id| id.number()).collect())).collect()
}

#[test]
fn without_labels_everything_is_one_group() {
    let all = groups(series(), &[]);
    assert_eq!(shown(&all), [(String::new(), vec![1, 2, 3])]);
    assert_eq!(all[0].rows, (Timestamp::from_nanos(0), Timestamp::from_millis(90_000).unwrap()));
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

#[test]
fn a_group_begins_where_its_rows_do() {
    let day = 86_400_000;
    let first = entry(1, "berlin", "d1", &[], (3 * day + 41_000, 5 * day));
    // Once the windows are gone, a row of the day stands for them.
    let first = SeriesEntry { rows_from: Timestamp::from_millis(3 * day).unwrap(), ..first };
    let later = entry(2, "berlin", "d2", &[], (4 * day, 4 * day));
    let group = groups(vec![later, first], &[]).remove(0);
    let range = |from_ms| Range { from_ms, to_ms: 9 * day, step_ms: None };
    assert_eq!(
        group.overlap(&range(0)).map(|range| (range.from_ms, range.to_ms)),
        Some((3 * day, 5 * day + 1))
    );
    assert_eq!(group.overlap(&range(4 * day)).map(|range| range.from_ms), Some(4 * day));
    assert_eq!(group.overlap(&range(6 * day)), None);
}
