//! Aggregates of the values whatever their order: sum, mean, moments, number of distinct values.

use super::few_sum::FewSum;
use super::fixed::Rounded;
use super::moments::Squares;
use super::powers::Powers;
use super::sum::Sum;
use super::{EXACT_MAX, Partial, Values};

impl Partial {
    /// The number of readings that are numbers; saturates.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.values {
            Values::Timed(timed) => timed.points().len() as u64,
            Values::Untimed(untimed) => untimed.values.values().len() as u64,
            Values::Many(many) => many.count,
        }
    }

    /// The number of readings that are states; saturates. (A boolean is a number and a state.)
    #[must_use]
    pub fn state_count(&self) -> u64 {
        self.states.as_ref().map_or(0, |states| states.count)
    }

    /// The number of states that stand beside no number; saturates.
    #[must_use]
    pub fn states_alone(&self) -> u64 {
        self.states.as_ref().map_or(0, |states| states.alone)
    }

    /// The sum of the values: 0 when empty, otherwise the exact sum rounded once (as Python's `math.fsum`). Infinite
    /// if that exceeds the range of `f64`.
    #[must_use]
    pub fn sum(&self) -> f64 {
        match self.few_sum() {
            Some(sum) => sum.value(),
            None => self.with_sums(|sum, _| sum.value()),
        }
    }

    /// The arithmetic mean: the exact sum divided by the count, rounded once; always finite. `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        match self.few_sum() {
            Some(sum) => sum.mean(self.count()),
            None => self.with_sums(|sum, _| sum.mean(self.count())),
        }
    }

    /// The population variance (divided by the count, not by the count minus one), exact except for one rounding.
    /// `None` when empty, or if it exceeds the range of `f64` (deviations of about 1e154 and more).
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        self.rounded_variance(0).map(Rounded::value).filter(|variance| variance.is_finite())
    }

    /// The population standard deviation: the square root of the variance, even if the variance is out of the range of
    /// `f64`. `None` when empty.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        self.rounded_variance(0).map(|variance| variance.sqrt().value()).filter(|stddev| stddev.is_finite())
    }

    /// The sample variance (divided by the count minus one), exact except for one rounding. `None` with fewer than two
    /// readings, or beyond the range as [`Partial::variance`].
    #[must_use]
    pub fn sample_variance(&self) -> Option<f64> {
        self.rounded_variance(1).map(Rounded::value).filter(|variance| variance.is_finite())
    }

    /// The square root of the sample variance. `None` with fewer than two readings.
    #[must_use]
    pub fn sample_stddev(&self) -> Option<f64> {
        self.rounded_variance(1).map(|variance| variance.sqrt().value()).filter(|stddev| stddev.is_finite())
    }

    /// The population skewness `m3 / m2^1.5` (Fisher-Pearson, SciPy's `skew`), from exact moments. `None` when empty or
    /// without variance, or unknown: beyond [`EXACT_MAX`] readings it needs [`super::Parts::MOMENTS`].
    #[must_use]
    pub fn skewness(&self) -> Option<f64> {
        let powers = self.powers()?;
        self.with_sums(|sum, squares| powers.skewness(self.exact_count()?, sum, squares))
    }

    /// The population excess kurtosis `m4 / m2^2 - 3` (SciPy's `kurtosis`), from exact moments. `None` as with
    /// [`Partial::skewness`].
    #[must_use]
    pub fn kurtosis(&self) -> Option<f64> {
        let powers = self.powers()?;
        self.with_sums(|sum, squares| powers.kurtosis(self.exact_count()?, sum, squares))
    }

    /// The number of distinct values; without numbers, that of distinct states.
    ///
    /// Exact up to [`EXACT_MAX`] readings; beyond, an estimate with a standard error of 1.6 %. `None` if it is not known:
    /// beyond [`EXACT_MAX`] readings it needs [`super::Parts::DISTINCT`].
    #[must_use]
    pub fn distinct(&self) -> Option<f64> {
        if self.count() == 0 {
            return self.states.as_ref().map_or(Some(0.0), |states| states.distinct());
        }
        let mut buffer = [0.0; EXACT_MAX];
        let values = match &self.values {
            Values::Many(many) => {
                let estimate = many.optional.as_ref()?.distinct.as_ref()?.estimate();
                // No more than there are readings.
                return Some(estimate.min(many.count as f64));
            }
            Values::Timed(timed) => timed.sorted(&mut buffer),
            Values::Untimed(untimed) => untimed.values.values(),
        };
        Some(values.chunk_by(|a, b| a == b).count() as f64)
    }

    /// The count, unless it saturated.
    fn exact_count(&self) -> Option<u64> {
        Some(self.count()).filter(|count| (1..u64::MAX).contains(count))
    }

    fn powers(&self) -> Option<std::borrow::Cow<'_, Powers>> {
        use std::borrow::Cow;
        match &self.values {
            Values::Timed(timed) => Some(Cow::Owned(Powers::of(timed.values()))),
            Values::Untimed(untimed) => Some(Cow::Owned(Powers::of(untimed.values.values().iter().copied()))),
            Values::Many(many) => many.optional.as_ref()?.powers.as_ref().map(Cow::Borrowed),
        }
    }

    /// The sum of few values, unless their magnitudes differ too much.
    fn few_sum(&self) -> Option<FewSum> {
        match &self.values {
            Values::Timed(timed) => FewSum::of(timed.points().iter().map(|point| point.value)),
            Values::Untimed(untimed) => FewSum::of(untimed.values.values().iter().copied()),
            Values::Many(_) => None,
        }
    }

    fn with_sums<T>(&self, read: impl FnOnce(&Sum, &Squares) -> T) -> T {
        let of = |values: &mut dyn Iterator<Item = f64>| {
            let (mut sum, mut squares) = (Sum::default(), Squares::default());
            for value in values {
                sum.push(value);
                squares.push(value);
            }
            (sum, squares)
        };
        let (sum, squares) = match &self.values {
            Values::Many(many) => return read(&many.sum, &many.squares),
            Values::Timed(timed) => of(&mut timed.values()),
            Values::Untimed(untimed) => of(&mut untimed.values.values().iter().copied()),
        };
        read(&sum, &squares)
    }

    /// The variance with the count less `less` as divisor.
    fn rounded_variance(&self, less: u64) -> Option<Rounded> {
        self.with_sums(|sum, squares| squares.variance(sum, self.count(), less))
    }
}
