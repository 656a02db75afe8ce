//! Aggregates of the numbers in any order: functions of one merged partial.

use catchment_partial::{Partial, Point, Timestamp};

/// An aggregate of the numbers of a point, whatever their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueAggregate {
    /// Number of readings.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// Their population variance.
    Variance,
    /// Square root of the population variance.
    Stddev,
    /// Their sample variance.
    SampleVariance,
    /// Square root of the sample variance.
    SampleStddev,
    /// Their skewness.
    Skewness,
    /// Their excess kurtosis.
    Kurtosis,
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
    /// The 75th percentile minus the 25th.
    InterquartileRange,
    /// Mean without this percentage of the readings at each end.
    TrimmedMean(f64),
    /// Number of readings less than a bound.
    Below(f64),
    /// Number of readings not less than a bound.
    AtLeast(f64),
    /// Number of readings not less than the first and less than the second bound.
    Between(f64, f64),
    /// Number of different readings.
    Distinct,
}

impl ValueAggregate {
    /// The value for the readings of a partial; may be infinite.
    pub(super) fn evaluate(self, partial: &Partial) -> Option<f64> {
        let value_of = |point: Option<Point>| point.map(|point| point.value);
        let time_of = |point: Option<Point>| point.map(|point| seconds(point.time));
        let below = |bound| partial.below(bound);
        match self {
            Self::Count => Some(partial.count() as f64),
            Self::Sum => (partial.count() > 0).then(|| partial.sum()),
            Self::Mean => partial.mean(),
            Self::Variance => partial.variance(),
            Self::Stddev => partial.stddev(),
            Self::SampleVariance => partial.sample_variance(),
            Self::SampleStddev => partial.sample_stddev(),
            Self::Skewness => partial.skewness(),
            Self::Kurtosis => partial.kurtosis(),
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
            Self::InterquartileRange => {
                partial.quantile(0.75).zip(partial.quantile(0.25)).map(|(upper, lower)| upper - lower)
            }
            Self::TrimmedMean(percent) => partial.trimmed_mean(percent / 100.0),
            Self::Below(bound) => Some(below(bound) as f64),
            Self::AtLeast(bound) => Some(partial.count().saturating_sub(below(bound)) as f64),
            Self::Between(from, to) => Some(below(to).saturating_sub(below(from)) as f64),
            // An estimate need not be whole.
            Self::Distinct => partial.distinct().map(f64::round),
        }
    }
}

/// Unix seconds to the millisecond.
fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1_000.0
}
