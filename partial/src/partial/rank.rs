//! Aggregates by rank: quantiles, numbers of readings below a bound, means without the extremes.
//!
//! From the values themselves while they are few; beyond, from the sketch. There a bin stands for all values in it, so
//! bounds and values are off by at most [`super::RELATIVE_ACCURACY`] of themselves.

use super::extent::Extent;
use super::sketch::Sketch;
use super::sum::Sum;
use super::{EXACT_MAX, Partial, Values};

impl Partial {
    /// The `q`-quantile, `q` from 0 to 1: the value at the zero-based rank `floor(q * (count - 1))` of the sorted
    /// values (the nearest one below, no interpolation). 0 gives the minimum and 1 the maximum.
    ///
    /// Exact up to [`EXACT_MAX`] readings; beyond, within [`super::RELATIVE_ACCURACY`] of that value and never outside
    /// of minimum and maximum. (Less accurate: values below the normal range of `f64`, and the smallest magnitudes if
    /// the values fall into more than [`super::MAX_BINS`] bins.) `None` when empty, or if `q` is not from 0 to 1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let highest = self.count().checked_sub(1)?;
        let rank = ((q * highest as f64) as u64).min(highest);
        let mut buffer = [0.0; EXACT_MAX];
        match self.sorted(&mut buffer) {
            Ok(values) => values.get(rank as usize).copied(),
            Err((_, extent)) if q == 0.0 => Some(extent.min.value),
            Err((_, extent)) if q == 1.0 => Some(extent.max.value),
            Err((sketch, extent)) => Some(sketch.at_rank(rank).clamp(extent.min.value, extent.max.value)),
        }
    }

    /// The number of readings less than a value.
    ///
    /// Exact up to [`EXACT_MAX`] readings; beyond, it is the exact number for some bound within
    /// [`super::RELATIVE_ACCURACY`] of the given one. Exact at 0, up to the minimum, and above the maximum.
    #[must_use]
    pub fn below(&self, value: f64) -> u64 {
        let mut buffer = [0.0; EXACT_MAX];
        match self.sorted(&mut buffer) {
            Ok(values) => values.partition_point(|other| *other < value) as u64,
            Err((_, extent)) if value <= extent.min.value => 0,
            Err((_, extent)) if value > extent.max.value => self.count(),
            Err((sketch, _)) => sketch.below(value),
        }
    }

    /// The mean of the sorted values without the `floor(cut * count)` least and as many of the greatest; `cut` from 0 to
    /// less than 0.5. (SciPy's `trim_mean`.) `None` when empty, or if `cut` is out of range.
    ///
    /// Exact up to [`EXACT_MAX`] readings except for rounding, and without a cut; beyond, each value counts as the
    /// middle of its bin, within [`super::RELATIVE_ACCURACY`] of it.
    #[must_use]
    pub fn trimmed_mean(&self, cut: f64) -> Option<f64> {
        if !(0.0..0.5).contains(&cut) {
            return None;
        }
        let count = self.count();
        let cut = (cut * count as f64) as u64;
        if cut == 0 || count == u64::MAX {
            return self.mean();
        }
        let kept = count.checked_sub(2 * cut).filter(|kept| *kept > 0)?;
        let mut buffer = [0.0; EXACT_MAX];
        match self.sorted(&mut buffer) {
            Ok(values) => {
                let values = values.get(cut as usize..(cut + kept) as usize)?;
                let mut sum = Sum::default();
                values.iter().for_each(|value| sum.push(*value));
                sum.mean(kept)
            }
            Err((sketch, extent)) => {
                let Extent { min, max, .. } = extent;
                let mut sum = 0.0;
                // Shares instead of counts: the sum of large values stays in range.
                for (value, count) in sketch.between_ranks(cut, cut + kept) {
                    sum += value.clamp(min.value, max.value) * (count as f64 / kept as f64);
                }
                Some(sum).filter(|sum| sum.is_finite())
            }
        }
    }

    /// The values in rising order, or the sketch and the extent of many.
    fn sorted<'a>(&'a self, buffer: &'a mut [f64; EXACT_MAX]) -> Result<&'a [f64], (&'a Sketch, &'a Extent)> {
        match &self.values {
            Values::Timed(timed) => Ok(timed.sorted(buffer)),
            Values::Untimed(untimed) => Ok(untimed.values.values()),
            Values::Many(many) => Err((&many.sketch, &many.extent)),
        }
    }
}
