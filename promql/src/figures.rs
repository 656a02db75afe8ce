//! What the float functions need to know of readings, as a monoid in order of time.
//!
//! [`Figures`] is what sources give. A function keeps only what it needs of it, a [`Summary`]: joining two costs a few
//! nanoseconds then.

mod counter;
mod spread;
mod sum;

pub(crate) use counter::{Counter, Ends, Extrapolation};
pub(crate) use spread::Spread;
pub(crate) use sum::{Mean, Sum};

/// A value and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// The value; may be infinite or NaN in a subquery.
    pub value: f64,
    /// Time of the sample, Unix milliseconds: for a reading, one millisecond after its time.
    pub sample_ms: i64,
}

impl Stamp {
    /// The lesser of two: of equal ones the later, NaN only beside NaN.
    #[inline]
    fn lesser(self, later: Self) -> Self {
        if later.value <= self.value || self.value.is_nan() { later } else { self }
    }

    /// The greater of two: of equal ones the later, NaN only beside NaN.
    #[inline]
    fn greater(self, later: Self) -> Self {
        if later.value >= self.value || self.value.is_nan() { later } else { self }
    }
}

/// Figures of one series' readings in a stretch of time; at least one reading.
///
/// Which fields are set is decided by the columns of the fetch; the others hold any value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Number of readings.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// What a compensated addition to `sum` has lost so far; 0 for the exact, once rounded sum of a partial.
    pub lost: f64,
    /// Sum of the squared deviations from their mean.
    pub deviations: f64,
    /// The least reading; of several, the last in time.
    pub min: Stamp,
    /// The greatest reading; of several, the last in time.
    pub max: Stamp,
    /// The earliest reading.
    pub first: Stamp,
    /// The latest reading.
    pub last: Stamp,
    /// Sum of the values before each reset of a counter.
    pub correction: f64,
    /// Readings less than their predecessor.
    pub resets: f64,
    /// Readings different from their predecessor.
    pub changes: f64,
}

impl Figures {
    /// The figures of one sample, with all fields.
    #[must_use]
    pub fn of_sample(sample_ms: i64, value: f64) -> Self {
        let stamp = Stamp { value, sample_ms };
        Self {
            count: 1.0,
            sum: value,
            lost: 0.0,
            deviations: 0.0,
            min: stamp,
            max: stamp,
            first: stamp,
            last: stamp,
            correction: 0.0,
            resets: 0.0,
            changes: 0.0,
        }
    }

    /// The figures of both: `self` and what came after it. Associative; not commutative.
    #[must_use]
    pub fn joined(&self, later: &Self) -> Self {
        fn join<S: Summary<Figures>>(earlier: &Figures, later: &Figures) -> S {
            let mut joined = S::of(earlier);
            joined.join(&S::of(later));
            joined
        }
        let sum: Sum = join(self, later);
        let spread: Spread = join(self, later);
        let counter: Counter = join(self, later);
        Self {
            count: self.count + later.count,
            sum: sum.sum,
            lost: sum.lost,
            deviations: spread.deviations,
            min: self.min.lesser(later.min),
            max: self.max.greater(later.max),
            first: self.first,
            last: later.last,
            correction: counter.correction,
            resets: counter.resets,
            changes: counter.changes,
        }
    }
}

/// What a function needs of the readings in a range: a monoid in order of time over panes `P`.
pub(crate) trait Summary<P>: Clone {
    /// That of a pane.
    fn of(pane: &P) -> Self;

    /// Adds what came after it.
    fn join(&mut self, later: &Self);
}

/// The number of readings.
#[derive(Clone, Copy)]
pub(crate) struct Count(pub(crate) f64);

impl Summary<Figures> for Count {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self(pane.count)
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        self.0 += later.0;
    }
}

/// The least reading.
#[derive(Clone, Copy)]
pub(crate) struct Least(pub(crate) Stamp);

impl Summary<Figures> for Least {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self(pane.min)
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        self.0 = self.0.lesser(later.0);
    }
}

/// The greatest reading.
#[derive(Clone, Copy)]
pub(crate) struct Greatest(pub(crate) Stamp);

impl Summary<Figures> for Greatest {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self(pane.max)
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        self.0 = self.0.greater(later.0);
    }
}

#[cfg(test)]
mod tests;
