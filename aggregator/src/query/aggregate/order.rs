//! Aggregates that depend on the order of a series' readings: counters and time-weighted figures.

use catchment_partial::OrderFigures;

/// An aggregate of the numbers of a point in the order of each series, summed over the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OrderAggregate {
    /// Increase of counters.
    Increase,
    /// Increase of counters a second.
    Rate,
    /// Difference between the ends of gauges.
    Delta,
    /// How often a value was less than its predecessor.
    Resets,
    /// How often a value differed from its predecessor.
    Changes,
    /// Mean over time, each value holding until the next reading.
    TimeWeightedMean,
    /// Mean over time of the straight lines between readings.
    TimeWeightedMeanLinear,
    /// Integral over time, each value holding until the next reading; value · seconds.
    Integral,
    /// Integral over time of the straight lines between readings, value · seconds.
    IntegralLinear,
    /// Seconds above a bound.
    TimeAbove(f64),
    /// Seconds below a bound.
    TimeBelow(f64),
}

impl OrderAggregate {
    /// The value; may be infinite.
    pub(super) fn evaluate(self, figures: &OrderFigures) -> Option<f64> {
        match self {
            Self::Increase => figures.increase(),
            Self::Rate => figures.rate(),
            Self::Delta => figures.delta(),
            Self::Resets => figures.resets().map(|count| count as f64),
            Self::Changes => figures.changes().map(|count| count as f64),
            Self::TimeWeightedMean => figures.time_weighted_mean(),
            Self::TimeWeightedMeanLinear => figures.time_weighted_mean_linear(),
            Self::Integral => figures.integral(),
            Self::IntegralLinear => figures.integral_linear(),
            Self::TimeAbove(bound) => figures.time_above(bound),
            Self::TimeBelow(bound) => figures.time_below(bound),
        }
    }
}
