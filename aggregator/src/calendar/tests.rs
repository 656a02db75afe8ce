//! Where days, weeks, months and years begin, in zones with every oddity.

use proptest::prelude::*;

use super::*;

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn starts(zone: &str, count: u32, unit: Unit, from: &str, to: &str) -> Vec<String> {
    let step = CalendarStep::new(count, unit).unwrap();
    let found = step.starts(&Zone::named(zone).unwrap(), ms(from), ms(to)).unwrap();
    found.into_iter().map(|ms| Timestamp::from_millisecond(ms).unwrap().to_string()).collect()
}

#[test]
fn days_follow_daylight_saving() {
    let of = |zone, from, to| starts(zone, 1, Unit::Day, from, to);
    let berlin = of("Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T23:00:00Z");
    assert_eq!(
        berlin,
        ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"]
    );
    let berlin = of("europe/berlin", "2026-10-24T22:00:00Z", "2026-10-26T22:00:00Z");
    assert_eq!(berlin, ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"]);
    let kolkata = of("Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z");
    assert_eq!(kolkata, ["2025-12-31T18:30:00Z", "2026-01-01T18:30:00Z"]);
    // Half an hour of daylight saving.
    let lord_howe = of("Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T23:59:00Z");
    assert_eq!(
        lord_howe,
        ["2026-04-03T13:00:00Z", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z", "2026-04-06T13:30:00Z"]
    );
}

#[test]
fn a_day_whose_midnight_is_skipped_or_comes_twice_begins_at_its_first_moment() {
    let of = |zone, from, to| starts(zone, 1, Unit::Day, from, to);
    let sao_paulo = of("America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T12:00:00Z");
    assert_eq!(sao_paulo, ["2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]);
    let cairo = of("Africa/Cairo", "2023-04-27T12:00:00Z", "2023-04-28T12:00:00Z");
    assert_eq!(cairo, ["2023-04-26T22:00:00Z", "2023-04-27T22:00:00Z", "2023-04-28T21:00:00Z"]);
    // From 23:30 on to 00:30 of the next day.
    let toronto = of("America/Toronto", "1919-03-30T12:00:00Z", "1919-03-31T12:00:00Z");
    assert_eq!(toronto, ["1919-03-30T05:00:00Z", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z"]);
    // At 01:00 back to midnight.
    let havana = of("America/Havana", "2025-11-01T12:00:00Z", "2025-11-02T12:00:00Z");
    assert_eq!(havana, ["2025-11-01T04:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"]);
    // At 00:01 back to 23:01 of the day before.
    let st_johns = of("America/St_Johns", "2010-11-07T02:45:00Z", "2010-11-07T03:40:00Z");
    assert_eq!(st_johns, ["2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"]);
}

#[test]
fn a_skipped_day_has_no_point() {
    let apia = starts("Pacific/Apia", 1, Unit::Day, "2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z");
    // The 29th, the 31st, the 1st.
    assert_eq!(
        apia,
        ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", "2012-01-01T10:00:00Z"]
    );
}

#[test]
fn weeks_begin_on_monday_and_longer_steps_are_counted_from_1970() {
    let utc = |count, unit, from, to| starts("", count, unit, from, to);
    assert_eq!(
        utc(1, Unit::Week, "2026-11-22T10:00:00Z", "2026-11-23T00:00:00.001Z"),
        ["2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"]
    );
    assert_eq!(utc(1, Unit::Week, "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z")[0], "1969-12-29T00:00:00Z");
    assert_eq!(
        utc(2, Unit::Day, "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
        ["1969-12-30T00:00:00Z", "1970-01-01T00:00:00Z"]
    );
    assert_eq!(
        utc(3, Unit::Month, "2026-02-28T00:00:00Z", "2026-07-01T00:00:00Z"),
        ["2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z"]
    );
    assert_eq!(
        utc(4, Unit::Year, "1960-01-01T00:00:00Z", "1960-01-02T00:00:00Z"),
        ["1958-01-01T00:00:00Z", "1962-01-01T00:00:00Z"]
    );
    assert_eq!(
        starts("Europe/Berlin", 1, Unit::Year, "2026-12-31T22:59:59Z", "2026-12-31T23:00:01Z")[1],
        "2026-12-31T23:00:00Z"
    );
}

#[test]
fn a_shift_keeps_the_time_of_day() {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let of = |unit, at, steps| {
        let shifted = CalendarStep::new(1, unit).unwrap().shift(&berlin, ms(at), steps).unwrap();
        Timestamp::from_millisecond(shifted).unwrap().to_string()
    };
    assert_eq!(of(Unit::Day, "2026-03-29T10:00:00Z", -1), "2026-03-28T11:00:00Z");
    assert_eq!(of(Unit::Month, "2026-03-31T10:00:00Z", -1), "2026-02-28T11:00:00Z");
    assert_eq!(of(Unit::Year, "2024-02-29T10:00:00Z", 1), "2025-02-28T10:00:00Z");
    assert_eq!(CalendarStep::new(1, Unit::Year).unwrap().shift(&berlin, 0, i64::MIN), None);
}

#[test]
fn bounds_are_kept() {
    assert_eq!(
        [0, 1, 1_000, 1_001].map(|years| CalendarStep::new(years, Unit::Year).is_some()),
        [false, true, true, false]
    );
    let day = CalendarStep::new(1, Unit::Day).unwrap();
    assert_eq!(day.starts(&Zone::UTC, 0, 200 * 366 * 86_400_000), Err(TooManySteps));
    let most = i64::MAX / 1_000_000;
    for unit in [Unit::Month, Unit::Year] {
        let starts = CalendarStep::new(1_000, unit).unwrap().starts(&Zone::UTC, -most, most).unwrap();
        assert!(starts[0] <= -most && *starts.last().unwrap() >= most, "{starts:?}");
    }
}

#[test]
fn zones_that_are_not_known_are_refused_with_the_nearest() {
    for (name, nearest) in [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("berlin", "did you mean Europe/Berlin?"),
        ("Asia/Calcuta", "did you mean Asia/Calcutta?"),
        ("+01:00", "IANA name"),
        (&"x".repeat(5_000), "IANA name"),
    ] {
        let error = Zone::named(name).unwrap_err().to_string();
        assert!(error.contains(nearest) && error.len() < 300, "{error}");
    }
}

proptest! {
    /// The date of a time tells the step that holds it, except in what clocks show twice.
    #[test]
    fn each_time_lies_in_the_step_of_its_date(
        zone in prop::sample::select(vec!["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"]),
        at in 0..2_000_000_000_000_i64,
        count in 1..40_u32,
        unit in prop::sample::select(vec![Unit::Day, Unit::Week, Unit::Month, Unit::Year]),
    ) {
        let (zone, step) = (Zone::named(zone).unwrap(), CalendarStep::new(count, unit).unwrap());
        let found = step.starts(&zone, at, at + 1).unwrap();
        prop_assert_eq!(found.len(), 2);
        prop_assert!(found[0] <= at && at < found[1]);
        let first = zone.date_at(found[0]).unwrap();
        prop_assert_eq!(step.index_of(first), step.index_of(zone.date_at(at).unwrap()));
        prop_assert_eq!(step.date_of(step.index_of(first)), Some(first));
        let before = zone.date_at(found[0] - 1).unwrap();
        prop_assert!(step.index_of(before) < step.index_of(first));
    }
}
