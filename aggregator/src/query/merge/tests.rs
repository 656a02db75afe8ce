use catchment_proto::{Labels, MetricName, Name, SeriesKey};

use super::{
    super::{groups::Groups, plan::Grouping},
    *,
};
use crate::{
    store::{GatewayEpoch, SeriesEntry, SeriesId, Steps},
    testing::gateway,
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

/// Completeness as a query computes it.
fn completeness(
    series: &[SeriesEntry],
    gateways: &[GatewayEntry],
    range: &Range,
    now_ms: i64,
) -> Completeness {
    let mut groups = Groups::new(&Grouping::By(Vec::new()));
    series.iter().for_each(|entry| groups.push(0, entry));
    let mut holding: Vec<_> =
        gateways.iter().filter(|entry| groups.gateways().contains(&entry.epoch.gateway)).collect();
    holding.sort_by(|a, b| a.epoch.gateway.cmp(&b.epoch.gateway));
    let mut completeness = Completeness::new(now_ms);
    holding.iter().for_each(|entry| completeness.add(entry, range, now_ms));
    completeness.finish(holding.len(), groups.gateways().len())
}

const ALL: Range = Range { from_ms: 0, to_ms: 1_000_000, steps: Steps::Whole };
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
        completeness(series, &gateways, &Range { from_ms, to_ms, steps: Steps::Whole }, NOW)
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
