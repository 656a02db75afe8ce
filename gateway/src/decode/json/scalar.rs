//! Numbers and times of JSON, from the text of a value whose syntax is checked.
//!
//! Numbers are parsed here and not by serde_json, for which one number beyond the range of `f64` would spoil the
//! whole line.

use catchment_partial::Timestamp;

use crate::{decode::decimal, intake::Reason};

const NANOS_PER_MILLI: i128 = 1_000_000;
/// Decimals of a millisecond down to the nanosecond.
const DECIMALS: usize = 6;

/// A value as a reading: a finite number, or a boolean as 1 or 0. The nearest double where there is no equal one.
///
/// # Errors
/// What the value is instead, for a message.
pub(super) fn number(text: &str) -> Result<f64, &'static str> {
    match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err("beyond the range of numbers"),
        },
        Some(b't') => Ok(1.0),
        Some(b'f') => Ok(0.0),
        Some(b'"') => Err("a string"),
        Some(b'[') => Err("an array"),
        _ => Err("null"),
    }
}

/// A whole number from 1.
pub(super) fn count_integer(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count > 0)
}

/// Unix milliseconds, with a fraction down to the nanosecond (further digits are cut off).
///
/// # Errors
/// [`Reason::Malformed`] when it is no number, [`Reason::TooOld`] or [`Reason::TooFarAhead`] when it is no time.
pub(super) fn millis(text: &str) -> Result<Timestamp, Reason> {
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err(Reason::Malformed);
    }
    if let Some(nanos) =
        decimal::integer(text.as_bytes()).and_then(|whole| whole.checked_mul(NANOS_PER_MILLI as i64))
    {
        return Ok(Timestamp::from_nanos(nanos));
    }
    let beyond = if text.starts_with('-') { Reason::TooOld } else { Reason::TooFarAhead };
    let nanos = if text.contains(['e', 'E']) {
        let nanos = text.parse::<f64>().map_err(|_| Reason::Malformed)? * 1e6;
        // The cast saturates, and the ends are out of range below.
        nanos.round() as i128
    } else {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let fraction = decimals.get(..DECIMALS).unwrap_or(decimals);
        let scale = 10_i128.pow((DECIMALS - fraction.len()) as u32);
        let fraction =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| Reason::Malformed)? };
        let fraction = if beyond == Reason::TooOld { -fraction * scale } else { fraction * scale };
        // Digits alone: it does not parse only when there are too many.
        let whole = i128::from(whole.parse::<i64>().map_err(|_| beyond)?);
        whole * NANOS_PER_MILLI + fraction
    };
    i64::try_from(nanos).map(Timestamp::from_nanos).map_err(|_| beyond)
}

/// The text with each bare `NaN`, `Infinity` and `-Infinity` (which Python, among others, writes) replaced by
/// `null`; `None` when there is none.
pub(super) fn without_nan(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
    let mut out = String::new();
    let (mut quoted, mut escaped) = (false, false);
    let mut kept = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'N' | b'I' | b'-' if !quoted && at >= kept => {
                let rest = text.get(at..).unwrap_or_default();
                if let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
                    out.push_str(text.get(kept..at).unwrap_or_default());
                    out.push_str("null");
                    kept = at + word.len();
                }
            }
            _ => {}
        }
    }
    if kept == 0 {
        return None;
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Some(out)
}
