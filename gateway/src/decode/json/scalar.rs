//! Numbers and times of JSON, from the text of a value whose syntax is checked.
//!
//! Numbers are parsed here and not by serde_json, for which one number beyond the range of `f64` would spoil the
//! whole line.

use std::borrow::Cow;

use catchment_partial::Timestamp;

use super::tokens;
use crate::{
    decode::{decimal, excerpt},
    intake::{Reason, Value},
};

const NANOS_PER_MILLI: i64 = 1_000_000;

/// A value that is no text as a reading: a finite number, or a boolean. The nearest double where there is no equal one.
///
/// # Errors
/// What the value is instead, for a message.
pub(super) fn value(text: &str) -> Result<Value<'static>, Cow<'static, str>> {
    match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Number(value)),
            _ => Err("beyond the range of numbers".into()),
        },
        Some(b't') => Ok(Value::boolean(true)),
        Some(b'f') => Ok(Value::boolean(false)),
        Some(b'[') => Err(tokens::unmarked(text).map_or("an array".into(), |word| word.to_owned().into())),
        _ => Err("null".into()),
    }
}

/// A whole number from 1.
pub(super) fn count_integer(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count > 0)
}

/// The text of a value for a message.
pub(super) fn shown(raw: &str) -> String {
    excerpt(tokens::unmarked(raw).unwrap_or(raw))
}

/// Unix milliseconds, see [`unix_time`].
#[inline]
pub(super) fn millis(text: &str) -> Result<Timestamp, Reason> {
    unix_time(text, NANOS_PER_MILLI)
}

/// Unix time in a unit of so many nanoseconds, a power of ten, with a fraction down to the nanosecond (further digits
/// are cut off).
///
/// # Errors
/// [`Reason::Malformed`] when it is no number, [`Reason::TooOld`] or [`Reason::TooFarAhead`] when it is no time.
#[inline]
pub(super) fn unix_time(text: &str, unit: i64) -> Result<Timestamp, Reason> {
    if let Some(nanos) = decimal::integer(text.as_bytes()).and_then(|whole| whole.checked_mul(unit)) {
        return Ok(Timestamp::from_nanos(nanos));
    }
    fraction(text, unit)
}

/// A time that is no integer, or too large a one.
fn fraction(text: &str, unit: i64) -> Result<Timestamp, Reason> {
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err(Reason::Malformed);
    }
    let beyond = if text.starts_with('-') { Reason::TooOld } else { Reason::TooFarAhead };
    let nanos = if text.contains(['e', 'E']) {
        let nanos = text.parse::<f64>().map_err(|_| Reason::Malformed)? * unit as f64;
        // The cast saturates, and the ends are out of range below.
        nanos.round() as i128
    } else {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        if digits.is_empty() || !is_number(digits) || !is_number(decimals) {
            return Err(Reason::Malformed);
        }
        // Of the unit, down to the nanosecond.
        let places = unit.ilog10() as usize;
        let fraction = decimals.get(..places).unwrap_or(decimals);
        let scale = 10_i128.pow((places - fraction.len()) as u32);
        let fraction =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| Reason::Malformed)? };
        let fraction = if beyond == Reason::TooOld { -fraction * scale } else { fraction * scale };
        // Digits alone: it does not parse only when there are too many.
        let whole = i128::from(whole.parse::<i64>().map_err(|_| beyond)?);
        whole * i128::from(unit) + fraction
    };
    i64::try_from(nanos).map(Timestamp::from_nanos).map_err(|_| beyond)
}
