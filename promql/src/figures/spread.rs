//! Variances.

use super::{Figures, Summary};

/// The mean in two parts, and the squared deviations from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    count: f64,
    mean: f64,
    /// What the rounding of `mean` has lost.
    lost: f64,
    pub(crate) deviations: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    /// The population variance: exactly 0 for equal readings, NaN with an infinite one.
    pub(crate) fn variance(self) -> f64 {
        if !self.mean.is_finite() {
            f64::NAN
        } else if self.least == self.greatest {
            0.0
        } else {
            self.deviations / self.count
        }
    }
}

impl Summary<Figures> for Spread {
    #[inline]
    fn of(pane: &Figures) -> Self {
        let mean = pane.sum / pane.count;
        let remainder = (-mean).mul_add(pane.count, pane.sum) + pane.lost;
        Self {
            count: pane.count,
            mean,
            lost: remainder / pane.count,
            deviations: pane.deviations,
            least: pane.min.value,
            greatest: pane.max.value,
        }
    }

    /// As Chan, Golub and LeVeque.
    #[inline]
    fn join(&mut self, later: &Self) {
        let count = self.count + later.count;
        let apart = (later.mean - self.mean) + (later.lost - self.lost);
        let share = later.count / count;
        let shift = apart * share;
        let mean = self.mean + shift;
        // What that addition lost, exactly (Knuth's TwoSum).
        let added = mean - self.mean;
        self.lost += (self.mean - (mean - added)) + (shift - added);
        self.mean = mean;
        self.deviations += later.deviations + apart * apart * self.count * share;
        self.count = count;
        self.least = self.least.min(later.least);
        self.greatest = self.greatest.max(later.greatest);
    }
}
