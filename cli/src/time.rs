//! Times and durations as people write them and as results show them.
//!
//! Everything is Unix milliseconds, UTC. The current time is an argument, so that `now-1h` can be tested.

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;

/// A point in time as given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Unix milliseconds.
    Absolute(i64),
    /// Milliseconds after (or before, if negative) the current time.
    FromNow(i64),
}

/// Why a text is not a [`Moment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    /// None of the forms.
    #[error("{0:?} is not a time: use RFC 3339 (2026-11-22T10:00:00Z), Unix seconds, now, or now-1h")]
    Form(String),
    /// The text after `now-` is not a duration.
    #[error("{0:?} is not a duration: use for example 90s, 15m, 1h30m or 7d")]
    Duration(String),
}

impl Moment {
    /// The point in time, in Unix milliseconds, if the current time is `now_ms`.
    pub fn at(self, now_ms: i64) -> i64 {
        match self {
            Self::Absolute(ms) => ms,
            Self::FromNow(offset) => now_ms.saturating_add(offset),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let text = text.trim();
        if let Some(offset) = text.strip_prefix("now") {
            return relative(offset).unwrap_or_else(|| Err(MomentError::Form(text.to_owned())));
        }
        if let Some(ms) = unix_seconds(text) {
            return Ok(Self::Absolute(ms));
        }
        match text.parse::<Timestamp>() {
            Ok(timestamp) => Ok(Self::Absolute(timestamp.as_millisecond())),
            Err(_) => Err(MomentError::Form(text.to_owned())),
        }
    }
}

/// Parses the text after `now`: nothing, or a sign and a duration. `None` if it is neither.
fn relative(offset: &str) -> Option<Result<Moment, MomentError>> {
    let offset = offset.trim();
    if offset.is_empty() {
        return Some(Ok(Moment::FromNow(0)));
    }
    let (sign, text) = match (offset.strip_prefix('-'), offset.strip_prefix('+')) {
        (Some(text), _) => (-1, text),
        (_, Some(text)) => (1, text),
        _ => return None,
    };
    let duration = humantime::parse_duration(text.trim());
    Some(match duration {
        Ok(duration) => Ok(Moment::FromNow(whole_millis(duration).saturating_mul(sign))),
        Err(_) => Err(MomentError::Duration(text.to_owned())),
    })
}

/// `1700000000` or `1700000000.25`, within the range of [`Timestamp`].
fn unix_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let ms = seconds.checked_mul(1000)?.checked_add(sign * millis)?;
    Timestamp::from_millisecond(ms).ok().map(|_| ms)
}

/// A duration in whole milliseconds, saturating.
pub fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with `Z`; milliseconds are shown only if they are not zero.
///
/// A time beyond the years of RFC 3339 is shown as its number.
pub fn rfc3339(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(timestamp) if ms.rem_euclid(1000) == 0 => format!("{timestamp:.0}"),
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => ms.to_string(),
    }
}

/// RFC 3339 in UTC, of Unix nanoseconds; the digits beyond milliseconds are shown only if they are not zero.
pub fn rfc3339_nanos(ns: i64) -> String {
    match ns.rem_euclid(1_000_000) {
        0 => rfc3339(ns.div_euclid(1_000_000)),
        _ => format!("{:.9}", Timestamp::from_nanosecond(ns.into()).unwrap_or_default()),
    }
}

/// The current time, in Unix milliseconds.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The time range of a query as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// A duration up to the current time.
    Last(Duration),
    /// Between two moments; the second is excluded.
    Between(Moment, Moment),
}

/// Why a [`Span`] is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range is empty: it begins at {} and ends at {}", rfc3339(*.from_ms), rfc3339(*.to_ms))]
pub struct EmptyRange {
    /// Beginning, Unix milliseconds.
    pub from_ms: i64,
    /// End, Unix milliseconds.
    pub to_ms: i64,
}

impl Span {
    /// The range without flags: the last 15 minutes.
    pub const DEFAULT: Self = Self::Last(Duration::from_secs(15 * 60));

    /// Beginning and end in Unix milliseconds, if the current time is `now_ms`.
    ///
    /// # Errors
    /// A range that does not begin before it ends.
    pub fn resolve(self, now_ms: i64) -> Result<(i64, i64), EmptyRange> {
        let (from_ms, to_ms) = match self {
            Self::Last(duration) => (now_ms.saturating_sub(whole_millis(duration)), now_ms),
            Self::Between(from, to) => (from.at(now_ms), to.at(now_ms)),
        };
        if from_ms < to_ms { Ok((from_ms, to_ms)) } else { Err(EmptyRange { from_ms, to_ms }) }
    }
}

#[cfg(test)]
mod tests;
