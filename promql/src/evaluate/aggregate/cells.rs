//! What is kept of the series of a group at one step.

/// The numbers of a group at one step.
pub(super) trait Cell: Clone + Default + Send {
    /// Adds the number of a series; they come in the order of their labels.
    fn add(&mut self, value: f64);
    /// The result; `None`: no series had a number.
    fn result(&self) -> Option<f64>;
}

/// A compensated addition (Kahan's, improved by Neumaier): the sum and what it has lost.
#[inline]
fn added(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        return (total, 0.0);
    }
    let more = if sum.abs() >= value.abs() { (sum - total) + value } else { (value - total) + sum };
    (total, lost + more)
}

/// The sum.
#[derive(Clone, Default)]
pub(super) struct Total {
    sum: f64,
    lost: f64,
    any: bool,
}

impl Cell for Total {
    #[inline]
    fn add(&mut self, value: f64) {
        (self.sum, self.lost) = added(value, self.sum, self.lost);
        self.any = true;
    }

    fn result(&self) -> Option<f64> {
        self.any.then_some(self.sum + self.lost)
    }
}

/// The mean: of the sum, until that would overflow; from there on by increments.
#[derive(Clone, Default)]
pub(super) struct Mean {
    /// The sum, or the mean.
    sum: f64,
    lost: f64,
    count: f64,
    is_mean: bool,
}

impl Cell for Mean {
    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum = value;
            return;
        }
        if !self.is_mean {
            let (sum, lost) = added(value, self.sum, self.lost);
            if !sum.is_infinite() {
                (self.sum, self.lost) = (sum, lost);
                return;
            }
            self.is_mean = true;
            self.sum /= self.count - 1.0;
            self.lost /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        (self.sum, self.lost) = added(value / self.count, weight * self.sum, weight * self.lost);
    }

    fn result(&self) -> Option<f64> {
        if self.count == 0.0 {
            None
        } else if self.is_mean {
            Some(self.sum + self.lost)
        } else {
            Some(self.sum / self.count + self.lost / self.count)
        }
    }
}

/// The number of series.
#[derive(Clone, Default)]
pub(super) struct Count(f64);

impl Cell for Count {
    #[inline]
    fn add(&mut self, _value: f64) {
        self.0 += 1.0;
    }

    fn result(&self) -> Option<f64> {
        (self.0 > 0.0).then_some(self.0)
    }
}

/// 1 where there is a series.
#[derive(Clone, Default)]
pub(super) struct Present(bool);

impl Cell for Present {
    #[inline]
    fn add(&mut self, _value: f64) {
        self.0 = true;
    }

    fn result(&self) -> Option<f64> {
        self.0.then_some(1.0)
    }
}

/// The greatest or the least number; NaN only if there is no other.
#[derive(Clone, Default)]
pub(super) struct Extreme<const GREATEST: bool> {
    value: f64,
    any: bool,
}

impl<const GREATEST: bool> Cell for Extreme<GREATEST> {
    #[inline]
    fn add(&mut self, value: f64) {
        let better = if GREATEST { self.value < value } else { self.value > value };
        if better || !self.any || self.value.is_nan() {
            self.value = value;
            self.any = true;
        }
    }

    fn result(&self) -> Option<f64> {
        self.any.then_some(self.value)
    }
}

/// The variance of the population (Welford), or its root.
#[derive(Clone, Default)]
pub(super) struct Variance<const ROOT: bool> {
    count: f64,
    mean: f64,
    squares: f64,
}

impl<const ROOT: bool> Cell for Variance<ROOT> {
    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn result(&self) -> Option<f64> {
        if self.count == 0.0 {
            return None;
        }
        let variance = self.squares / self.count;
        Some(if ROOT { variance.sqrt() } else { variance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<C: Cell>(values: &[f64]) -> Option<f64> {
        let mut cell = C::default();
        values.iter().for_each(|value| cell.add(*value));
        cell.result()
    }

    fn assert_same(left: Option<f64>, right: f64) {
        assert_eq!(left.map(f64::to_bits), Some(right.to_bits()), "{left:?} is not {right}");
    }

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    #[test]
    fn of_nothing_there_is_nothing() {
        assert_eq!(of::<Total>(&[]), None);
        assert_eq!(of::<Mean>(&[]), None);
        assert_eq!(of::<Count>(&[]), None);
        assert_eq!(of::<Present>(&[]), None);
        assert_eq!(of::<Extreme<true>>(&[]), None);
        assert_eq!(of::<Variance<true>>(&[]), None);
    }

    #[test]
    fn nan_and_infinities_count_as_in_prometheus() {
        let values = [NAN, 5.0, -INF];
        assert_same(of::<Extreme<true>>(&values), 5.0);
        assert_same(of::<Extreme<false>>(&values), -INF);
        assert!(of::<Total>(&values).unwrap().is_nan());
        assert!(of::<Extreme<true>>(&[NAN, NAN]).unwrap().is_nan());
        assert_same(of::<Total>(&[INF, 1.0]), INF);
        assert_same(of::<Mean>(&[INF, 1.0, 2.0]), INF);
        assert!(of::<Mean>(&[INF, -INF]).unwrap().is_nan());
        assert!(of::<Variance<true>>(&[INF, 1.0]).unwrap().is_nan());
        assert!(of::<Variance<true>>(&[1.0, INF]).unwrap().is_nan());
        assert_same(of::<Count>(&values), 3.0);
        assert_same(of::<Present>(&values), 1.0);
    }

    #[test]
    fn sums_are_compensated() {
        assert_same(of::<Total>(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_same(of::<Mean>(&[1.0, 1e100, 1.0, -1e100]), 0.5);
        assert_same(of::<Total>(&[0.1; 10]), 1.0);
    }

    #[test]
    fn a_mean_does_not_overflow() {
        assert_same(of::<Mean>(&[f64::MAX, f64::MAX]), f64::MAX);
        let mean = of::<Mean>(&[f64::MAX, f64::MAX, 1e300]).unwrap();
        assert!((mean / (f64::MAX / 3.0 * 2.0) - 1.0).abs() < 1e-2, "{mean}");
    }

    #[test]
    fn equal_numbers_do_not_vary() {
        assert_same(of::<Variance<true>>(&[0.1; 7]), 0.0);
        assert_same(of::<Variance<false>>(&[1e300; 3]), 0.0);
        assert_same(of::<Variance<false>>(&[1.0, 2.0, 3.0, 4.0]), 1.25);
        assert_same(of::<Variance<true>>(&[3.0, 5.0]), 1.0);
    }
}
