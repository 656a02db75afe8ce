//! Times and durations as people write them and as results show them.
//!
//! Everything is Unix milliseconds, UTC; a date is one of a time zone. The current time is an argument, so that `now-1h` can be tested.

use std::{str::FromStr, time::Duration};

use catchment_aggregator::calendar::Zone;
pub use catchment_columns::rfc3339;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
};

use crate::length::{Length, LengthError};

/// A point in time as given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Unix milliseconds.
    Absolute(i64),
    /// The current time.
    Now,
    /// So long before the current time.
    Before(Length),
    /// So long after the current time.
    After(Length),
    /// The beginning of a date of the time zone.
    Date(Date),
    /// What clocks of the time zone show.
    Local(DateTime),
}

/// Why a text is not a [`Moment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    /// None of the forms.
    #[error(
        "{0:?} is not a time: use RFC 3339 (2026-11-22T10:00:00Z), a date (2026-11-22), Unix seconds, now, or now-1h"
    )]
    Form(String),
    /// The text after `now-` is not a duration.
    #[error(transparent)]
    Duration(#[from] LengthError),
}

impl Moment {
    /// The point in time, in Unix milliseconds, if the current time is `now_ms`.
    pub fn at(self, now_ms: i64, zone: &Zone) -> i64 {
        match self {
            Self::Absolute(ms) => ms,
            Self::Now => now_ms,
            Self::Before(length) => length.shift(now_ms, false, zone),
            Self::After(length) => length.shift(now_ms, true, zone),
            Self::Date(date) => zone.day_start(date).unwrap_or_else(|| limit(date)),
            Self::Local(time) => {
                let timestamp = zone.time_zone().to_timestamp(time);
                timestamp.map_or_else(|_| limit(time.date()), |time| time.as_millisecond())
            }
        }
    }
}

/// The end of time that is nearest to a date beyond it: no aggregator takes it.
fn limit(date: Date) -> i64 {
    let limit = if date.year() > 0 { Timestamp::MAX } else { Timestamp::MIN };
    limit.as_millisecond()
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
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Self::Absolute(timestamp.as_millisecond()));
        }
        // A zone in brackets belongs into --tz.
        let local = if text.contains('[') { None } else { text.parse::<DateTime>().ok() };
        match local {
            Some(time) if text.contains(':') => Ok(Self::Local(time)),
            Some(time) => Ok(Self::Date(time.date())),
            None => Err(MomentError::Form(text.to_owned())),
        }
    }
}

/// Parses the text after `now`: nothing, or a sign and a duration. `None` if it is neither.
fn relative(offset: &str) -> Option<Result<Moment, MomentError>> {
    let offset = offset.trim();
    if offset.is_empty() {
        return Some(Ok(Moment::Now));
    }
    let (moment, text): (fn(Length) -> Moment, &str) =
        match (offset.strip_prefix('-'), offset.strip_prefix('+')) {
            (Some(text), _) => (Moment::Before, text),
            (_, Some(text)) => (Moment::After, text),
            _ => return None,
        };
    Some(text.parse().map(moment).map_err(MomentError::Duration))
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

/// A length of time for people, such as `3m 2s`; a negative one is 0.
pub fn span_text(ms: i64) -> String {
    humantime::format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).to_string()
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
    /// So long up to the current time.
    Last(Length),
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
    pub const DEFAULT: Self = Self::Last(Length::Fixed(Duration::from_secs(15 * 60)));

    /// Beginning and end in Unix milliseconds, if the current time is `now_ms`.
    ///
    /// # Errors
    /// A range that does not begin before it ends.
    pub fn resolve(self, now_ms: i64, zone: &Zone) -> Result<(i64, i64), EmptyRange> {
        let (from_ms, to_ms) = match self {
            Self::Last(length) => (length.shift(now_ms, false, zone), now_ms),
            Self::Between(from, to) => (from.at(now_ms, zone), to.at(now_ms, zone)),
        };
        if from_ms < to_ms { Ok((from_ms, to_ms)) } else { Err(EmptyRange { from_ms, to_ms }) }
    }
}

#[cfg(test)]
mod tests;
