//! Compensated sums and means.

use super::{Figures, Summary};

/// A sum and what its additions have lost (Neumaier).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    pub(crate) sum: f64,
    pub(crate) lost: f64,
}

impl Sum {
    /// The sum, rounded once more.
    #[inline]
    pub(crate) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }

    /// Adds a number.
    #[inline]
    pub(crate) fn add(&mut self, number: f64) {
        let total = self.sum + number;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= number.abs() {
            self.lost += (self.sum - total) + number;
        } else {
            self.lost += (number - total) + self.sum;
        }
        self.sum = total;
    }

    fn times(self, factor: f64) -> Self {
        Self { sum: self.sum * factor, lost: self.lost * factor }
    }
}

impl Summary<Figures> for Sum {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self { sum: pane.sum, lost: pane.lost }
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        self.add(later.sum);
        self.lost += later.lost;
    }
}

/// A mean: of the sum as long as that does not overflow, then of means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    count: f64,
    /// The sum, or the mean if that is so.
    sum: Sum,
    is_mean: bool,
}

impl Mean {
    #[inline]
    pub(crate) fn value(self) -> f64 {
        if self.is_mean { self.sum.value() } else { self.sum.sum / self.count + self.sum.lost / self.count }
    }

    /// The share of this mean in that of `count` readings.
    fn share(self, count: f64) -> Sum {
        let mean = if self.is_mean { self.sum } else { self.sum.times(self.count.recip()) };
        mean.times(self.count / count)
    }
}

impl Summary<Figures> for Mean {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self { count: pane.count, sum: Sum::of(pane), is_mean: false }
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        let count = self.count + later.count;
        if !self.is_mean && !later.is_mean {
            let mut sum = self.sum;
            sum.join(&later.sum);
            if !sum.sum.is_infinite() {
                *self = Self { count, sum, is_mean: false };
                return;
            }
        }
        let mut sum = self.share(count);
        sum.join(&later.share(count));
        *self = Self { count, sum, is_mean: true };
    }
}
