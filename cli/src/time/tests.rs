//! Each form of a time, its inverse, and refusals.

use super::*;

fn moment(text: &str) -> Moment {
    text.parse().unwrap()
}

#[test]
fn every_form_of_a_time_is_parsed() {
    assert_eq!(moment("2026-11-22T10:00:00Z"), Moment::Absolute(1_795_341_600_000));
    assert_eq!(moment("2026-11-22T11:00:00.25+01:00"), Moment::Absolute(1_795_341_600_250));
    assert_eq!(moment("1700000000"), Moment::Absolute(1_700_000_000_000));
    assert_eq!(moment("1700000000.0375"), Moment::Absolute(1_700_000_000_037));
    assert_eq!(moment("-1.5"), Moment::Absolute(-1500));
    assert_eq!(moment("-0.5"), Moment::Absolute(-500));
    assert_eq!(moment("now"), Moment::Now);
    let length = |text: &str| text.parse::<Length>().unwrap();
    assert_eq!(moment("now-1h"), Moment::Before(length("1h")));
    assert_eq!(moment("now - 1h30m"), Moment::Before(length("90m")));
    assert_eq!(moment("now-1mo"), Moment::Before(length("1mo")));
    assert_eq!(moment("now+2s"), Moment::After(length("2s")));
    assert_eq!(moment("now-1h").at(3_600_001, &Zone::UTC), 1);
}

#[test]
fn dates_and_times_without_offset_are_those_of_the_zone() {
    let at = |text: &str, zone: &str| rfc3339(moment(text).at(0, &Zone::named(zone).unwrap()));
    assert_eq!(at("2026-03-29", "Europe/Berlin"), "2026-03-28T23:00:00Z");
    assert_eq!(at("2026-03-30", "Europe/Berlin"), "2026-03-29T22:00:00Z");
    assert_eq!(at("2026-03-29", ""), "2026-03-29T00:00:00Z");
    assert_eq!(at("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00Z", "there was no midnight");
    assert_eq!(at("2026-03-29T12:30", "Europe/Berlin"), "2026-03-29T10:30:00Z");
    assert_eq!(at("2026-03-29T12:30:00+05:00", "Europe/Berlin"), "2026-03-29T07:30:00Z");
}

#[test]
fn a_date_beyond_all_times_is_the_last_or_the_first_one() {
    let at = |text: &str, zone: &str| moment(text).at(0, &Zone::named(zone).unwrap());
    assert_eq!(at("9999-12-31", "America/Sao_Paulo"), Timestamp::MAX.as_millisecond());
    assert_eq!(at("-009999-01-01", "Europe/Berlin"), Timestamp::MIN.as_millisecond());
}

#[test]
fn a_text_that_is_not_a_time_is_quoted_in_the_error() {
    for text in [
        "",
        "yesterday",
        "1h",
        "nowish",
        "now-",
        "now-x",
        "1.",
        "1.5e3",
        "2026-11-32",
        "99999999999999999",
        "2026-11-22T10:00[UTC]",
    ] {
        let error = text.parse::<Moment>().unwrap_err();
        assert!(matches!(error, MomentError::Form(_) | MomentError::Duration(_)), "{text}: {error}");
    }
    assert_eq!("now-x".parse::<Moment>(), Err(MomentError::Duration(LengthError::Form("x".to_owned()))));
    assert!("now-1M".parse::<Moment>().unwrap_err().to_string().contains("1mo"));
}

#[test]
fn milliseconds_are_shown_only_if_not_zero() {
    assert_eq!(rfc3339(1_795_341_600_000), "2026-11-22T10:00:00Z");
    assert_eq!(rfc3339(1_795_341_600_500), "2026-11-22T10:00:00.500Z");
    assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
}

#[test]
fn spans_become_ranges() {
    assert_eq!(
        Span::Last(Length::Fixed(Duration::from_secs(60))).resolve(100_000, &Zone::UTC),
        Ok((40_000, 100_000))
    );
    let between = Span::Between(moment("now-1m"), moment("now"));
    assert_eq!(between.resolve(100_000, &Zone::UTC), Ok((40_000, 100_000)));
    let empty = Span::Between(moment("5"), moment("5")).resolve(0, &Zone::UTC).unwrap_err();
    assert_eq!(
        empty.to_string(),
        "the range is empty: it begins at 1970-01-01T00:00:05Z and ends at 1970-01-01T00:00:05Z"
    );
    assert!(Span::Last(Length::Fixed(Duration::ZERO)).resolve(0, &Zone::UTC).is_err());
}
