//! Durations and times: the library's parser panics at some, and takes others for something else.

use std::fmt::Write;

/// Longest duration: what Go's nanoseconds can hold, some 292 years.
const DURATION_MS_MAX: u64 = i64::MAX as u64 / 1_000_000;
/// Greatest time, before and after 1970: whole milliseconds that a float holds.
const TIME_MS_MAX: f64 = 9_007_199_254_740_991.0;
/// Units, in the order in which they must come, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Where a number or duration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In brackets: a range or a step.
    Brackets,
    /// After `offset`.
    Offset,
    /// After `@`.
    At,
    /// As a value.
    Value,
}

/// How a number or duration is to be written so that the library's parser takes it for what it is.
///
/// # Errors
/// It is no duration, or out of range.
pub(super) fn rewritten(written: &str, place: Place) -> Result<Option<String>, String> {
    let is_duration = !is_hex(written) && written.ends_with(|c: char| "smhdwy".contains(c));
    let milliseconds = if is_duration {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^44")]
        let milliseconds = duration(written)? as f64;
        milliseconds
    } else {
        number(written).ok_or_else(|| format!("bad number or duration syntax: {written:?}"))? * 1_000.0
    };
    match place {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^44")]
        Place::Brackets | Place::Offset if milliseconds > DURATION_MS_MAX as f64 => {
            return Err("duration out of range".to_owned());
        }
        Place::Brackets if milliseconds <= 0.0 => return Err("duration must be greater than 0".to_owned()),
        Place::Brackets if milliseconds < 1.0 => return Err("duration must be at least 1ms".to_owned()),
        Place::At if milliseconds > TIME_MS_MAX => {
            return Err(format!("timestamp out of bounds for @ modifier: {written}"));
        }
        _ => {}
    }
    Ok(if is_duration { rewritten_duration(written) } else { None })
}

/// The parser refuses a duration of 0, and reads parts beyond 2^32 as 0.
fn rewritten_duration(written: &str) -> Option<String> {
    let milliseconds = duration(written).ok()?;
    let is_read = parts(written).all(|part| part.is_some_and(|(value, _)| u32::try_from(value).is_ok()));
    match milliseconds {
        0 => Some("0".to_owned()),
        _ if is_read => None,
        _ => Some(format!("{}d{}ms", milliseconds / 86_400_000, milliseconds % 86_400_000)),
    }
}

fn is_hex(written: &str) -> bool {
    written.starts_with("0x") || written.starts_with("0X")
}

/// A number, or its bound: a leading 0 makes it octal for the parser, which is less than what is returned here.
fn number(written: &str) -> Option<f64> {
    if is_hex(written) {
        #[expect(clippy::cast_precision_loss, reason = "it is compared with a bound")]
        return i64::from_str_radix(written.get(2..)?, 16).ok().map(|number| number as f64);
    }
    written.parse().ok()
}

/// Milliseconds of a duration such as `1h30m`.
///
/// # Errors
/// It is none, or longer than 292 years.
pub(crate) fn duration(written: &str) -> Result<u64, String> {
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    for part in parts(written) {
        let (value, unit) = part.ok_or_else(|| format!("not a valid duration string: {written:?}"))?;
        let Some((_, milliseconds)) = units.by_ref().find(|(known, _)| *known == unit) else {
            return Err(format!("not a valid duration string: {written:?}"));
        };
        total = value
            .checked_mul(*milliseconds)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= DURATION_MS_MAX)
            .ok_or("duration out of range")?;
    }
    Ok(total)
}

/// Values and units of a duration; `None`: something else. A value beyond 64 bits counts as the greatest.
fn parts(written: &str) -> impl Iterator<Item = Option<(u64, &str)>> {
    let mut rest = written;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (value, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        rest = after;
        Some((!value.is_empty() && !unit.is_empty()).then(|| (value.parse().unwrap_or(u64::MAX), unit)))
    })
}

/// A duration as Prometheus prints it: years and weeks only where nothing is left over.
pub(crate) fn printed(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut rest = milliseconds;
    let mut printed = String::new();
    for (unit, size) in UNITS {
        let only_whole = matches!(unit, "y" | "w");
        let value = rest / size;
        if value > 0 && (!only_whole || rest.is_multiple_of(size)) {
            // Writing to a string does not fail.
            let _ = write!(printed, "{value}{unit}");
            rest -= value * size;
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        assert_eq!(duration("1h30m"), Ok(5_400_000));
        assert_eq!(duration("5000000000ms"), Ok(5_000_000_000));
        assert_eq!(
            duration("1y2w3d4h5m6s7ms"),
            Ok(31_536_000_000 + 1_209_600_000 + 259_200_000 + 14_706_007)
        );
        for wrong in ["5", "m5", "1m1h", "1hs", "1m1m", "5x", "1.5h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("1d5000000000s"), Ok(86_400_000 + 5_000_000_000_000));
        assert_eq!(duration("293y"), Err("duration out of range".to_owned()));
        assert_eq!(duration("99999999999999999999999y"), Err("duration out of range".to_owned()));
    }

    #[test]
    fn durations_are_printed_as_prometheus_prints_them() {
        let cases = [
            (0, "0s"),
            (324, "324ms"),
            (3_000, "3s"),
            (300_000, "5m"),
            (90_000, "1m30s"),
            (4_500_000, "1h15m"),
            (90 * 86_400_000, "90d"),
            (14 * 86_400_000, "2w"),
            (365 * 86_400_000, "1y"),
            (366 * 86_400_000, "366d"),
        ];
        for (milliseconds, wanted) in cases {
            assert_eq!(printed(milliseconds), wanted);
        }
    }

    #[test]
    fn what_the_parser_would_misread_is_refused_or_rewritten() {
        let refused =
            [("1e30", Place::Brackets), ("1e30", Place::Offset), ("1e30", Place::At), ("0", Place::Brackets)];
        for (written, place) in refused {
            assert!(rewritten(written, place).is_err(), "{written} {place:?}");
        }
        assert!(rewritten("1e-10", Place::Brackets).is_err());
        assert!(rewritten("0s", Place::Brackets).is_err());
        assert_eq!(rewritten("0s", Place::Offset), Ok(Some("0".to_owned())));
        assert_eq!(rewritten("5000000000ms", Place::Brackets), Ok(Some("57d75200000ms".to_owned())));
        assert_eq!(rewritten("1e30", Place::Value), Ok(None));
        assert_eq!(rewritten("5m", Place::Brackets), Ok(None));
    }
}
