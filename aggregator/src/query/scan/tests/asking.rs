//! Calendar steps, several selectors, `without`, orders and filled points, against naive answers.

use std::collections::BTreeMap;

use catchment_proto::wire::{CalendarStep as WireStep, Fill, SeriesPoints};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use proptest::prelude::*;

use super::*;
use crate::calendar::Zone;

const HOUR_MS: i64 = 3_600_000;

fn series(messages: &[Kind]) -> Vec<&SeriesPoints> {
    let series = messages.iter().filter_map(|message| match message {
        Kind::Series(series) => Some(series),
        Kind::Header(_) => None,
    });
    series.collect()
}

/// Selector, labels, and numbers of the only point of each series.
fn shown(messages: &[Kind]) -> Vec<(u32, String, Vec<Option<f64>>)> {
    let one = |series: &SeriesPoints| {
        let labels: BTreeMap<_, _> = series.labels.iter().collect();
        let labels: Vec<_> = labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(series.points.len(), 1);
        let values = series.points[0].values.iter().map(|value| value.number).collect();
        (series.selector, labels.join(","), values)
    };
    series(messages).into_iter().map(one).collect()
}

/// Devices `d00`, `d01` …, each with as many readings as given, all with its number as value, at two gateways in turn.
async fn devices(counts: &[usize]) -> MemoryStore {
    let store = MemoryStore::default();
    for (number, count) in counts.iter().enumerate() {
        let readings: Vec<_> = (0..*count).map(|n| (10_000 * (n as i64 + 1), number as f64)).collect();
        let device =
            key(&format!("d{number:02}"), "m", &[("room", if number % 2 == 0 { "even" } else { "odd" })]);
        let (gateway, first) = if number < 5 { (epoch("g1", 1), 0) } else { (epoch("g2", 2), 5) };
        let batch = batch(number as u64 + 1, device, &readings, 1);
        store.put(&gateway, batch, number == first).await.unwrap();
    }
    store
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn the_top_is_sorted_by_the_whole_range_whatever_the_points_are() {
    let counts = [3, 1, 0, 9, 4, 9, 2];
    let labels = |messages: &[Kind]| -> Vec<String> {
        series(messages).iter().map(|series| series.labels["device"].clone()).collect()
    };
    let ask = |top, order: &str, ascending, step_ms| {
        let (order, request) = (order.to_owned(), request(step_ms, &["device"]));
        async move {
            let messages =
                answers_of(devices(&counts).await, AggregateRequest { top, order, ascending, ..request })
                    .await;
            let Kind::Header(header) = &messages[0] else { panic!("a header first") };
            assert_eq!((header.request_version, header.aggregates.len()), (1, 2));
            labels(&messages)
        }
    };
    assert_eq!(ask(3, "count", false, 0).await, ["d03", "d05", "d04"]);
    assert_eq!(ask(3, "count", false, 10_000).await, ["d03", "d05", "d04"]);
    assert_eq!(ask(2, "count", true, 10_000).await, ["d01", "d06"], "none without readings");
    assert_eq!(ask(0, "sum", false, 0).await, ["d05", "d03", "d04", "d06", "d01", "d00"]);
    assert_eq!(ask(2, "sum/count", false, 0).await, ["d06", "d05"]);
    assert_eq!(ask(9, "increase/count", true, 0).await.len(), 6, "those without a value come too");
    assert_eq!(ask(2, "", false, 0).await, ["d00", "d01"], "in the order of labels");
}

#[tokio::test]
async fn series_of_several_selectors_stay_apart_and_come_in_one_order() {
    let ask = |order: &str, without: &[&str]| {
        let request = AggregateRequest {
            selector: "{device=~\"d0[0-3]\"}".to_owned(),
            more_selectors: strings(&["m", "nothing", "{gateway=\"g2\"}"]),
            order: order.to_owned(),
            without: strings(without),
            ..request(0, &[])
        };
        async move { shown(&answers_of(devices(&[1, 2, 3, 4, 5, 6, 7]).await, request).await) }
    };
    let numbers = |count, sum| vec![Some(count), Some(sum)];
    let sums = [0.0 + 2.0 + 6.0 + 12.0, 0.0 + 2.0 + 6.0 + 12.0 + 20.0 + 30.0 + 42.0, 30.0 + 42.0];
    let (first, all, last) = (numbers(10.0, sums[0]), numbers(28.0, sums[1]), numbers(13.0, sums[2]));
    let empty = String::new;
    assert_eq!(
        ask("", &[]).await,
        [(0, empty(), first.clone()), (1, empty(), all.clone()), (3, empty(), last.clone())]
    );
    assert_eq!(ask("count", &[]).await, [(1, empty(), all), (3, empty(), last), (0, empty(), first)]);
    let rooms = ask("", &["device", "gateway", "site", "__name__"]).await;
    let labels: Vec<_> = rooms.iter().map(|(selector, labels, _)| (*selector, labels.as_str())).collect();
    let room = |selector| [(selector, "room=even"), (selector, "room=odd")];
    assert_eq!(labels, [room(0), room(1), room(3)].concat());
    assert_eq!(ask("", &["device", "room"]).await[1].1, "__name__=m,gateway=g1,site=berlin");
}

#[tokio::test]
async fn filled_points_are_counted_and_only_in_series_with_readings() {
    let ask = |fill: Fill, columns, points_max: u64| async move {
        let request = AggregateRequest {
            from_ms: 5_000,
            to_ms: 60_000,
            fill: fill.into(),
            columns,
            ..request(10_000, &["device"])
        };
        let store = devices(&[2, 0, 30]).await;
        let runner = Runner::new(QueryLimits::default(), Metrics::new(), &Arc::default()).unwrap();
        let ada = ada();
        let answer = runner.run(&ada, move |sink| async move {
            execute(Arc::new(store), request, points_max, &present(), &sink).await.map(|_| ())
        });
        let messages: Vec<_> = answer.await?.into_inner().collect().await;
        messages
            .into_iter()
            .map(|message| message.map(|message| message.kind.unwrap()))
            .collect::<Result<Vec<_>, _>>()
    };
    let null = ask(Fill::Null, false, 12).await.unwrap();
    let counts: Vec<Option<f64>> = numbers(&null).into_iter().map(|(_, values)| values[0]).collect();
    let one = Some(1.0);
    assert_eq!(counts, [None, one, one, None, None, None, None, one, one, one, one, one]);
    let starts: Vec<i64> = numbers(&null).into_iter().map(|(start_ms, _)| start_ms).collect();
    assert_eq!(starts[..6], [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
    let previous = numbers(&ask(Fill::Previous, false, 12).await.unwrap());
    assert_eq!(previous[5], (50_000, vec![one, Some(0.0)]));
    let columns = ask(Fill::Zero, true, 12).await.unwrap();
    let columns = series(&columns).into_iter().filter(|series| series.labels["device"] == "d00");
    let counts = columns.flat_map(|series| series.columns.clone().unwrap().columns[0].numbers.clone());
    assert_eq!(counts.collect::<Vec<_>>(), [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    let error = ask(Fill::Null, false, 11).await.unwrap_err();
    assert!(error.message().contains("more than 11 points"), "{error}");
    assert_eq!(ask(Fill::None, false, 11).await.unwrap().len(), 3, "a header and two series");
}

/// The first date of the step that holds a date.
fn bucket(date: Date, unit: i32, count: i64) -> Date {
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = (date - epoch).get_days();
    let whole = |value: i64, by: i64| value - value.rem_euclid(by);
    let (year, month) = (i64::from(date.year()), i64::from(date.month()));
    let first = |months: i64| {
        jiff::civil::date(1970 + months.div_euclid(12) as i16, 1 + months.rem_euclid(12) as i8, 1)
    };
    match unit {
        1 => epoch + jiff::Span::new().days(whole(i64::from(days), count)),
        2 => epoch + jiff::Span::new().days(whole(i64::from(days) + 3, 7 * count) - 3),
        3 => first(whole((year - 1970) * 12 + month - 1, count)),
        _ => first(12 * whole(year - 1970, count)),
    }
}

/// Counts by the date of the start of windows of ten seconds, as clocks of the zone show it.
fn naive(readings: &[i64], zone: &TimeZone, unit: i32, count: i64, range: (i64, i64)) -> BTreeMap<Date, f64> {
    let mut counts = BTreeMap::new();
    for ms in readings {
        let window = ms.div_euclid(10_000) * 10_000;
        if (range.0..range.1).contains(&window) {
            let date = Timestamp::from_millisecond(window).unwrap().to_zoned(zone.clone()).date();
            *counts.entry(bucket(date, unit, count)).or_default() += 1.0;
        }
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Random windows of 60 days around the changes of clocks.
    #[test]
    fn calendar_points_hold_the_windows_of_their_dates(
        (name, around) in prop::sample::select(vec![
            ("Europe/Berlin", 1_774_749_600_000_i64),
            ("Asia/Kolkata", 1_774_749_600_000),
            ("America/Sao_Paulo", 1_541_300_400_000),
            ("Australia/Lord_Howe", 1_775_314_800_000),
        ]),
        readings in prop::collection::vec((-30 * 24 * HOUR_MS..30 * 24 * HOUR_MS, 0..3_usize), 1..300),
        unit in 1..=4_i32,
        count in prop_oneof![Just(1_i64), 2..5_i64],
        cut in (0..20 * 24_i64, 0..20 * 24_i64),
    ) {
        let (from_ms, to_ms) = (around + (cut.0 - 30 * 24) * HOUR_MS + 1_234, around + (30 * 24 - cut.1) * HOUR_MS);
        let mut by_device: [Vec<(i64, f64)>; 3] = Default::default();
        for (offset, device) in &readings {
            by_device[*device].push((around + offset, 1.0));
        }
        let names = ["a", "b", "c"];
        let readings: Vec<_> = names.into_iter().zip(by_device).collect();
        let request = AggregateRequest {
            from_ms,
            to_ms,
            calendar_step: Some(WireStep { unit, count: count as u32 }),
            time_zone: name.to_owned(),
            ..request(0, &[])
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let messages = runtime.block_on(answers(&readings, request));
        let zone = Zone::named(name).unwrap();
        let times: Vec<i64> = readings.iter().flat_map(|(_, readings)| readings).map(|(ms, _)| *ms).collect();
        let expected: Vec<_> = naive(&times, zone.time_zone(), unit, count, (from_ms, to_ms))
            .into_iter()
            .map(|(date, count)| (zone.day_start(date).unwrap(), Some(count)))
            .collect();
        let found: Vec<_> = numbers(&messages).into_iter().map(|(start_ms, values)| (start_ms, values[0])).collect();
        prop_assert_eq!(found, expected);
    }
}
