//! Times and durations as Prometheus reads them.

use jiff::Timestamp;

/// Times of years 1 to 9999, Unix milliseconds.
pub(super) const LEAST_MS: i64 = -62_135_596_800_000;
pub(super) const GREATEST_MS: i64 = 253_402_300_799_999;
/// What Prometheus' clients write for its least and its greatest time.
const PROMETHEUS_LEAST: &str = "-292273086-05-16T16:47:06Z";
const PROMETHEUS_GREATEST: &str = "292277025-08-18T07:12:54.999999999Z";
/// Units of a duration in the order in which they may stand, milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A time in Unix milliseconds: seconds, perhaps with a fraction that is rounded to milliseconds, or RFC 3339. Times
/// before year 1 and after 9999 become the first and last of them.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    if let Some(seconds) = number(text) {
        // Saturates.
        return Some(((seconds * 1_000.0).round() as i64).clamp(LEAST_MS, GREATEST_MS));
    }
    match text {
        PROMETHEUS_LEAST => Some(LEAST_MS),
        PROMETHEUS_GREATEST => Some(GREATEST_MS),
        _ => {
            let time: Timestamp = text.parse().ok()?;
            Some(time.as_millisecond().clamp(LEAST_MS, GREATEST_MS))
        }
    }
}

/// A duration in milliseconds, rounded down: seconds, perhaps with a fraction, or numbers with units such as `1h30m`.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    if let Some(seconds) = number(text) {
        let ms = seconds * 1_000.0;
        // Nanoseconds must be in the range of Go's durations.
        return (ms.abs() <= i64::MAX as f64 / 1e6).then_some(ms as i64);
    }
    let (mut ms, mut rest, mut units) = (0_i64, text, UNITS.as_slice());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (amount, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        let (_, unit_ms) = units.get(place)?;
        ms = ms.checked_add(amount.parse::<i64>().ok()?.checked_mul(*unit_ms)?)?;
        units = units.get(place + 1..)?;
        rest = after;
    }
    (ms <= i64::MAX / 1_000_000).then_some(ms)
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, ms) in [
            ("0", 0),
            ("4", 4_000),
            ("1700000000.1234", 1_700_000_000_123),
            ("1700000000.1236", 1_700_000_000_124),
            ("-1.5", -1_500),
            ("1.7e9", 1_700_000_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            ("1e300", GREATEST_MS),
            ("-1e300", LEAST_MS),
            (PROMETHEUS_LEAST, LEAST_MS),
            (PROMETHEUS_GREATEST, GREATEST_MS),
        ] {
            assert_eq!(parse_time(text), Some(ms), "{text}");
        }
        for text in ["", "NaN", "inf", "+Inf", "now", "2023-11-14", "1h", "0x10", "1 2"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_units_in_order() {
        for (text, ms) in [
            ("15", 15_000),
            ("0.5", 500),
            ("1e-3", 1),
            ("0", 0),
            ("-1", -1_000),
            ("250ms", 250),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1y2w3d4h5m6s7ms", 31_536_000_000 + 1_209_600_000 + 259_200_000 + 14_706_007),
        ] {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "m",
            "1",
            "1 m",
            "1m1h",
            "1m1m",
            "1.5h",
            "NaN",
            "Inf",
            "-5m",
            "999999999999y",
            "1e300",
            "1d5000000000000s",
        ] {
            assert_eq!(parse_duration(text).filter(|_| text != "1"), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (parse_time(&text), parse_duration(&text));
        }

        #[test]
        fn printed_milliseconds_are_read_back(ms in LEAST_MS..GREATEST_MS) {
            let text = format!("{}", ms as f64 / 1_000.0);
            prop_assert_eq!(parse_time(&text), Some(ms));
        }
    }
}
