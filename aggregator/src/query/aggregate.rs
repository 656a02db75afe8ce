//! The aggregates that a query may request, each a function of one merged partial.

use std::{fmt, str::FromStr};

use catchment_partial::{Partial, Point, Timestamp};

/// An aggregate of the readings in a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregate {
    /// Number of readings.
    Count,
    /// Their sum.
    Sum,
    /// Their mean; also `avg`.
    Mean,
    /// Their population variance; also `var`.
    Variance,
    /// Square root of the variance.
    Stddev,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// Maximum minus minimum.
    Range,
    /// Value of the earliest reading.
    First,
    /// Value of the latest reading.
    Last,
    /// Time of the least value, Unix seconds.
    MinTime,
    /// Time of the greatest value, Unix seconds.
    MaxTime,
    /// Time of the earliest reading, Unix seconds.
    FirstTime,
    /// Time of the latest reading, Unix seconds.
    LastTime,
    /// A percentile, 0 to 100.
    Percentile(f64),
}

/// A text that is not an aggregate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown aggregate {0:?}: choose from {NAMES}, or a percentile from p0 to p100 such as p50 or p99.9")]
pub struct AggregateError(String);

const NAMES: &str = "count, sum, mean, variance, stddev, min, max, range, first, last, min_time, max_time, first_time, last_time, median";
/// Names and their aggregates; of several names, the first is displayed.
const NAMED: [(&str, Aggregate); 17] = [
    ("count", Aggregate::Count),
    ("sum", Aggregate::Sum),
    ("mean", Aggregate::Mean),
    ("avg", Aggregate::Mean),
    ("variance", Aggregate::Variance),
    ("var", Aggregate::Variance),
    ("stddev", Aggregate::Stddev),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("range", Aggregate::Range),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("min_time", Aggregate::MinTime),
    ("max_time", Aggregate::MaxTime),
    ("first_time", Aggregate::FirstTime),
    ("last_time", Aggregate::LastTime),
    ("median", Aggregate::Percentile(50.0)),
];
/// Most characters of a percentile's number, `p99.9999`: the sketch could not distinguish more digits.
const PERCENTILE_CHARS_MAX: usize = 8;

fn percentile(digits: &str) -> Option<f64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.len() <= PERCENTILE_CHARS_MAX;
    let value: f64 = plain.then(|| digits.parse().ok())??;
    (value <= 100.0).then_some(value)
}

impl FromStr for Aggregate {
    type Err = AggregateError;

    fn from_str(text: &str) -> Result<Self, AggregateError> {
        if let Some((_, aggregate)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*aggregate);
        }
        text.strip_prefix('p')
            .and_then(percentile)
            .map(Self::Percentile)
            .ok_or_else(|| AggregateError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMED.iter().find(|(_, aggregate)| aggregate == self)) {
            (Self::Percentile(percent), _) => write!(f, "p{percent}"),
            (_, Some((name, _))) => f.write_str(name),
            // Every other variant is in the table; a test checks this.
            (_, None) => fmt::Debug::fmt(self, f),
        }
    }
}

impl Aggregate {
    /// The value for the readings of a partial; `None` if it is undefined (no readings, or beyond the range of a
    /// double).
    pub fn evaluate(self, partial: &Partial) -> Option<f64> {
        let value_of = |point: Option<Point>| point.map(|point| point.value);
        let time_of = |point: Option<Point>| point.map(|point| seconds(point.time));
        let value = match self {
            Self::Count => Some(partial.count() as f64),
            Self::Sum => (partial.count() > 0).then(|| partial.sum()),
            Self::Mean => partial.mean(),
            Self::Variance => partial.variance(),
            Self::Stddev => partial.stddev(),
            Self::Min => value_of(partial.min()),
            Self::Max => value_of(partial.max()),
            Self::Range => value_of(partial.max()).zip(value_of(partial.min())).map(|(max, min)| max - min),
            Self::First => value_of(partial.first()),
            Self::Last => value_of(partial.last()),
            Self::MinTime => time_of(partial.min()),
            Self::MaxTime => time_of(partial.max()),
            Self::FirstTime => time_of(partial.first()),
            Self::LastTime => time_of(partial.last()),
            Self::Percentile(percent) => partial.quantile(percent / 100.0),
        };
        value.filter(|value| value.is_finite())
    }
}

/// Unix seconds to the millisecond.
fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests;
