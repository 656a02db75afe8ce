use std::{sync::Arc, time::Duration};

use super::*;
use crate::store::Steps;
use crate::{
    store::{GatewayEpoch, HourlyCounts, SeriesId},
    testing::{gateway, key},
};

const ALL: Range = Range { from_ms: 0, to_ms: 1_000_000, steps: Steps::Whole };
const NOW: i64 = 2_000_000;
const DAY: i64 = 86_400_000;

/// A series of gateway g1 of a site, with its first and its last window.
fn entry(site: &str, windows: (i64, i64)) -> SeriesEntry {
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    let (first, last) = (time(windows.0), time(windows.1));
    SeriesEntry {
        id: SeriesId::new(1),
        gateway: gateway(site, "g1"),
        key: key("d1", "m", &[]),
        windows: (first, last),
        rows_from: first,
        last_reading: last,
    }
}

fn series() -> Vec<SeriesEntry> {
    vec![entry("munich", (0, 50_000)), entry("berlin", (10_000, 20_000)), entry("berlin", (20_000, 90_000))]
}

/// Completeness as a query computes it.
fn completeness(
    series: &[SeriesEntry],
    gateways: &[GatewayEntry],
    range: &Range,
    now_ms: i64,
) -> Completeness {
    let mut holders = Holders::new(range.clone(), now_ms);
    series.iter().for_each(|entry| holders.push(entry));
    let mut sorted: Vec<_> = gateways.iter().collect();
    sorted.sort_by(|a, b| a.epoch.gateway.cmp(&b.epoch.gateway));
    let (any, mut completeness) = (!holders.is_empty(), Completeness::new(now_ms));
    let clock = ClockBound::new(now_ms, Duration::from_secs(600));
    sorted.iter().for_each(|entry| completeness.add(&mut holders, entry, clock, false));
    completeness.finish(&holders, any)
}

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
        retired: false,
        hours: Arc::default(),
    }
}

#[test]
fn an_answer_is_complete_up_to_its_slowest_gateway() {
    let gateways =
        [known("berlin", Some(30_000), &[]), known("munich", Some(20_000), &[]), known("rome", None, &[])];
    let until = |series: &[SeriesEntry], now| completeness(series, &gateways, &ALL, now).until_ms;
    assert_eq!(until(&series(), NOW), Some(20_000));
    assert_eq!(until(&series()[1..], NOW), Some(30_000));
    let never = [entry("rome", (0, 0)), entry("berlin", (0, 0))];
    assert_eq!(until(&never, NOW), None);
    assert_eq!(until(&[], NOW), None);
    assert_eq!(until(&[entry("unknown", (0, 0))], NOW), None);
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
    let long = [entry("berlin", (10_000, 990_000))];
    let all = over(&long, 0, 1_000_000);
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
    for (from_ms, to_ms) in [(0, 100_000), (200_000, 500_000)] {
        let outside = over(&long, from_ms, to_ms);
        assert_eq!((outside.until_ms, outside.gaps), (Some(900_000), Vec::new()));
    }
    assert_eq!(over(&long, 190_000, 200_000).until_ms, Some(100_000));
    assert_eq!(over(&long, 300_000, 500_001).until_ms, Some(500_000));
    let both = over(&series(), 0, 10_000);
    assert_eq!((both.until_ms, both.gaps.len()), (None, 1), "lost from the beginning");
    let ended = [entry("berlin", (10_000, 20_000))];
    assert_eq!(over(&ended, 100_000, 110_000).until_ms, Some(100_000), "it may have had windows there");
}

#[test]
fn a_gateway_counts_if_it_holds_something_in_the_range_or_may_still_deliver_it() {
    let now = 1_000 * DAY;
    let range = |from_days: i64, to_days: i64| Range {
        from_ms: from_days * DAY,
        to_ms: to_days * DAY,
        steps: Steps::Whole,
    };
    // Windows of the series, watermark, range, whether the gateway counts.
    let cases = [
        ("holds windows in it", (900, 990), Some(999), (980, 985), true),
        ("its series cover it", (900, 999), Some(1_000), (980, 985), true),
        ("delivered, and nothing in it", (600, 635), Some(1_000), (980, 987), false),
        ("behind, and its series ended a year ago", (600, 635), Some(999), (980, 1_000), false),
        ("gone for a year", (600, 635), Some(635), (993, 1_000), false),
        ("gone for a week", (600, 993), Some(993), (999, 1_000), true),
        ("gone for a week, asked about the time before", (992, 993), Some(993), (980, 985), false),
        ("gone since, and the range ends long after", (600, 993), Some(993), (994, 2_000), true),
        ("began later than the range", (995, 999), Some(999), (980, 985), false),
        ("began later, and its backlog is not delivered", (999, 999), Some(970), (980, 985), true),
        ("never delivered a closed window", (999, 999), None, (980, 985), true),
        ("windows of 2223 alone", (92_400, 92_400), Some(999), (999, 1_000), true),
        ("windows of 2223, gone for a year", (92_400, 92_400), Some(635), (999, 1_000), false),
    ];
    for (what, windows, watermark, (from, to), counts) in cases {
        let series = [entry("berlin", (windows.0 * DAY, windows.1 * DAY))];
        let gateways = [known("berlin", watermark.map(|day| day * DAY), &[])];
        let answer = completeness(&series, &gateways, &range(from, to), now);
        assert_eq!(answer.expected, u32::from(counts), "{what}");
        let until = if counts { watermark.map(|day| day * DAY) } else { Some(now) };
        assert_eq!(answer.until_ms, until, "{what}");
    }
}

#[test]
fn a_retired_gateway_does_not_count_and_its_losses_are_named() {
    let berlin =
        GatewayEntry { retired: true, ..known("berlin", Some(30_000), &[(Some(20_000), Some(25_000), 1)]) };
    let gateways = [berlin, known("munich", Some(800_000), &[])];
    let answer = completeness(&series(), &gateways, &ALL, NOW);
    assert_eq!((answer.until_ms, answer.expected, answer.behind), (Some(800_000), 1, 1));
    assert_eq!(answer.gaps.len(), 1);
    let alone = completeness(&series()[1..], &gateways, &ALL, NOW);
    assert_eq!((alone.until_ms, alone.expected), (Some(NOW), 0), "nothing more is expected");
}

#[test]
fn a_watermark_beyond_the_clock_is_not_believed() {
    let year_2223 = 7_984_137_600_000;
    let of = |watermark| completeness(&series()[1..], &[known("berlin", Some(watermark), &[])], &ALL, NOW);
    let far = of(year_2223);
    assert_eq!((far.until_ms, far.expected, far.behind), (None, 1, 1));
    assert_eq!((far.gateways[0].complete_until_ms, far.gateways[0].lag_ms), (None, None));
    let near = of(NOW + 600_000);
    assert_eq!((near.until_ms, near.behind), (Some(NOW), 0), "within the tolerance");
    assert_eq!(near.gateways[0].lag_ms, Some(0));
}

#[test]
fn gateways_say_how_far_they_are_behind_and_what_they_corrected_and_refused() {
    let mut hours = HourlyCounts::default();
    hours.add(0, LateAndRefused { late: 3, refused: 5 }, 9);
    hours.add(1, LateAndRefused { late: 100, refused: 100 }, 9);
    let berlin = GatewayEntry { hours: Arc::new(hours), ..known("berlin", Some(NOW - 7), &[]) };
    let answer = completeness(&series(), &[berlin, known("munich", Some(900_000), &[])], &ALL, NOW);
    assert_eq!((answer.expected, answer.behind), (2, 1), "behind the end of the range, not the present");
    assert_eq!(answer.counts, LateAndRefused { late: 3, refused: 5 });
    let [berlin, munich] = &answer.gateways[..] else { panic!("{answer:?}") };
    assert_eq!((&*berlin.gateway, berlin.complete_until_ms, berlin.lag_ms), ("g1", Some(NOW - 7), Some(7)));
    assert_eq!((berlin.late_corrections, berlin.refused_readings), (3, 5));
    assert_eq!((&*munich.site, munich.lag_ms, munich.late_corrections), ("munich", Some(1_100_000), 0));
}

#[test]
fn of_many_gateways_those_furthest_behind_are_listed() {
    let name = |number: i64| format!("s{number}");
    let of = |number: i64| (number > 0).then_some(NOW - number * 500);
    let gateways: Vec<_> = (0..1_500).map(|number| known(&name(number), of(number), &[])).collect();
    let series: Vec<_> = (0..1_500).map(|number| entry(&name(number), (0, 0))).collect();
    let answer = completeness(&series, &gateways, &Range { to_ms: NOW, ..ALL }, NOW);
    assert_eq!((answer.gateways.len(), answer.expected, answer.behind), (GATEWAYS_MAX, 1_500, 1_500));
    assert_eq!((&*answer.gateways[0].site, &*answer.gateways[1].site), ("s0", "s1499"));
}
