//! [`Partial`]: the mergeable summary of one series' readings in one window.
//!
//! It consists of parts, each in its own file with push, merge, empty, encode and decode: the extent (least, greatest,
//! first, last), and either the values themselves, up to [`EXACT_MAX`], or exact sums and a quantile sketch. The choice
//! depends only on the count, and every part is a function of the multiset of readings: partials of the same readings
//! are equal, whatever the order and tree in which they were pushed and merged.
//!
//! The encoding is described in [`encoding`].

mod bins;
mod codec;
mod encoding;
mod exact;
mod extent;
mod fixed;
mod mapping;
mod moments;
mod numbers;
mod order;
mod parts;
mod run;
mod sketch;
mod sum;

use crate::time::Timestamp;
use exact::Exact;
use extent::Extent;
use fixed::Rounded;
use moments::Squares;
use sketch::Sketch;
use sum::Sum;

pub use bins::MAX_BINS;
pub use codec::DecodeError;
pub use encoding::ENCODING_VERSION;
pub use exact::EXACT_MAX;
pub use extent::Point;
pub use order::{OrderFigures, SeriesOrder};
pub use parts::{Parts, PartsError};

/// Longest text of a state, in bytes.
pub const STATE_BYTES_MAX: usize = 64;
/// Maximum number of different states of one series in one window; further ones count as [`OTHER_STATE`].
pub const STATES_MAX: usize = 32;
/// The state under which states beyond [`STATES_MAX`] are counted.
pub const OTHER_STATE: &str = "other";

/// Relative accuracy of quantiles of more than [`EXACT_MAX`] values: a fraction of the value at the rank.
pub const RELATIVE_ACCURACY: f64 = 0.01;

/// Mergeable summary of one series' readings in one window.
///
/// Merging is commutative and associative with [`Partial::empty`] as neutral element, and every aggregate is equal,
/// to the last bit, to that of a single pass over all readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partial {
    /// `None` exactly when there are no values.
    extent: Option<Extent>,
    values: Values,
    parts: Parts,
}

/// State of the values. `Many` exactly when there are more than [`EXACT_MAX`].
#[derive(Clone, Debug, PartialEq)]
enum Values {
    Few(Exact),
    Many(Box<Many>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Few(Exact::default())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Many {
    /// Equal to the sketch's count.
    count: u64,
    sum: Sum,
    squares: Squares,
    sketch: Sketch,
}

impl Many {
    fn of(values: &[f64]) -> Self {
        let mut many = Self::default();
        values.iter().for_each(|&value| many.push(value));
        many
    }

    #[inline]
    fn push(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.sum.push(value);
        self.squares.push(value);
        self.sketch.push(value);
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.sketch.merge(&other.sketch);
    }
}

impl Values {
    #[inline]
    fn push(&mut self, value: f64) {
        match self {
            Self::Many(many) => many.push(value),
            Self::Few(few) => {
                if let Err(value) = few.push(value) {
                    let mut many = Many::of(few.values());
                    many.push(value);
                    *self = Self::Many(Box::new(many));
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Few(few)) => few.values().iter().for_each(|&value| self.push(value)),
            (Self::Many(many), Self::Many(other)) => many.merge(other),
            (Self::Few(few), Self::Many(other)) => {
                let mut many = Many::of(few.values());
                many.merge(other);
                *self = Self::Many(Box::new(many));
            }
        }
    }
}

impl Partial {
    /// The summary of no readings.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The summary of no readings, which will carry these optional parts.
    #[must_use]
    pub fn with_parts(parts: Parts) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Optional parts that it was asked to carry.
    #[must_use]
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// The number of readings that are states; saturates.
    #[must_use]
    pub fn state_count(&self) -> u64 {
        0
    }

    /// Skewness (population, Fisher-Pearson). `None` when empty, without variance, or unknown: beyond
    /// [`EXACT_MAX`] readings it needs [`Parts::MOMENTS`].
    #[must_use]
    pub fn skewness(&self) -> Option<f64> {
        None
    }

    /// Excess kurtosis (population). `None` as with [`Partial::skewness`].
    #[must_use]
    pub fn kurtosis(&self) -> Option<f64> {
        None
    }

    /// The sample variance (divided by the count minus one). `None` with fewer than two readings.
    #[must_use]
    pub fn sample_variance(&self) -> Option<f64> {
        None
    }

    /// The sample standard deviation. `None` with fewer than two readings.
    #[must_use]
    pub fn sample_stddev(&self) -> Option<f64> {
        None
    }

    /// The number of readings less than a value.
    #[must_use]
    pub fn below(&self, _value: f64) -> u64 {
        0
    }

    /// The mean of the values between the quantiles `cut` and `1 - cut`; `cut` from 0 to less than 0.5. `None` when
    /// empty.
    #[must_use]
    pub fn trimmed_mean(&self, _cut: f64) -> Option<f64> {
        None
    }

    /// The number of distinct values and states. `None` if it is not known: beyond [`EXACT_MAX`] readings it needs
    /// [`Parts::DISTINCT`].
    #[must_use]
    pub fn distinct(&self) -> Option<f64> {
        None
    }

    /// Adds a reading that is a state: a text of 1 to [`STATE_BYTES_MAX`] bytes.
    pub fn push_state(&mut self, _time: Timestamp, _state: &str) {}

    /// Adds a reading. The value must be finite; otherwise it is a bug of the caller: debug builds panic, release
    /// builds ignore the reading.
    #[inline]
    pub fn push(&mut self, time: Timestamp, value: f64) {
        debug_assert!(value.is_finite(), "a reading must be finite: {value}");
        if !value.is_finite() {
            return;
        }
        // Turn negative zero into zero.
        let value = value + 0.0;
        let point = Point { time, value };
        match &mut self.extent {
            Some(extent) => extent.push(point),
            None => self.extent = Some(Extent::of(point)),
        }
        self.values.push(value);
    }

    /// Adds readings, with the same result as [`Partial::push`] for each. Several times as fast for many readings,
    /// never slower for few.
    pub fn push_run(&mut self, readings: impl IntoIterator<Item = (Timestamp, f64)>) {
        run::push(self, readings.into_iter());
    }

    /// Adds all readings of another partial.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.extent, &other.extent) {
            (_, None) => {}
            (None, Some(_)) => self.clone_from(other),
            (Some(extent), Some(other_extent)) => {
                extent.merge(other_extent);
                self.values.merge(&other.values);
            }
        }
    }

    /// Whether there are no readings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extent.is_none()
    }

    /// The number of readings; saturates.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.values {
            Values::Few(few) => few.values().len() as u64,
            Values::Many(many) => many.count,
        }
    }

    /// The sum of the values: 0 when empty, otherwise the exact sum rounded once (as Python's `math.fsum`). Infinite
    /// if that exceeds the range of `f64`.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.with_sum(Sum::value)
    }

    /// The arithmetic mean: the exact sum divided by the count, rounded once; always finite. `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.with_sum(|sum| sum.mean(self.count()))
    }

    /// The population variance (divided by the count, not by the count minus one), exact except for one rounding.
    /// `None` when empty, or if it exceeds the range of `f64` (deviations of about 1e154 and more).
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        self.rounded_variance().map(Rounded::value).filter(|variance| variance.is_finite())
    }

    /// The population standard deviation: the square root of the variance, even if the variance is out of the range of
    /// `f64`. `None` when empty.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        self.rounded_variance().map(|variance| variance.sqrt().value()).filter(|stddev| stddev.is_finite())
    }

    /// The reading with the least value; of several, the earliest.
    #[must_use]
    pub fn min(&self) -> Option<Point> {
        self.extent.map(|extent| extent.min)
    }

    /// The reading with the greatest value; of several, the earliest.
    #[must_use]
    pub fn max(&self) -> Option<Point> {
        self.extent.map(|extent| extent.max)
    }

    /// The earliest reading; of several at the same time, the smallest.
    #[must_use]
    pub fn first(&self) -> Option<Point> {
        self.extent.map(|extent| extent.first)
    }

    /// The latest reading; of several at the same time, the largest.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.extent.map(|extent| extent.last)
    }

    /// The `q`-quantile, `q` from 0 to 1: the value at the zero-based rank `floor(q * (count - 1))` of the sorted
    /// values (the nearest one below, no interpolation). 0 gives the minimum and 1 the maximum.
    ///
    /// Exact up to [`EXACT_MAX`] readings; beyond, within [`RELATIVE_ACCURACY`] of that value and never outside of
    /// minimum and maximum. (Less accurate: values below the normal range of `f64`, and the smallest magnitudes if the
    /// values fall into more than [`MAX_BINS`] bins.) `None` when empty, or if `q` is not from 0 to 1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let extent = self.extent.filter(|_| (0.0..=1.0).contains(&q))?;
        if q == 0.0 {
            return Some(extent.min.value);
        }
        if q == 1.0 {
            return Some(extent.max.value);
        }
        let highest = self.count().saturating_sub(1);
        let rank = ((q * highest as f64) as u64).min(highest);
        match &self.values {
            Values::Few(few) => few.values().get(rank as usize).copied(),
            Values::Many(many) => Some(many.sketch.at_rank(rank).clamp(extent.min.value, extent.max.value)),
        }
    }

    /// Bytes of memory in use, on the heap and inline, without the allocator's overhead.
    #[must_use]
    pub fn memory(&self) -> usize {
        let heap = match &self.values {
            Values::Few(few) => few.heap(),
            Values::Many(many) => {
                size_of::<Many>() + many.sum.heap() + many.squares.heap() + many.sketch.heap()
            }
        };
        size_of::<Self>() + heap
    }

    fn with_sum<T>(&self, read: impl FnOnce(&Sum) -> T) -> T {
        match &self.values {
            Values::Many(many) => read(&many.sum),
            Values::Few(few) => {
                let mut sum = Sum::default();
                few.values().iter().for_each(|&value| sum.push(value));
                read(&sum)
            }
        }
    }

    fn rounded_variance(&self) -> Option<Rounded> {
        match &self.values {
            Values::Many(many) => many.squares.variance(&many.sum, many.count),
            Values::Few(few) => {
                let mut squares = Squares::default();
                few.values().iter().for_each(|&value| squares.push(value));
                self.with_sum(|sum| squares.variance(sum, self.count()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
