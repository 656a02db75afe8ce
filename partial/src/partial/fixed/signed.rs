//! Sums with a sign, for reading moments.

use super::Fixed;

/// An integer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signed {
    /// Meaningless if the magnitude is zero.
    pub(crate) negative: bool,
    pub(crate) magnitude: Fixed,
}

impl Signed {
    pub(crate) fn positive(magnitude: Fixed) -> Self {
        Self { negative: false, magnitude }
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        if self.negative == other.negative {
            let mut magnitude = self.magnitude.clone();
            magnitude.merge(&other.magnitude);
            return Self { negative: self.negative, magnitude };
        }
        if self.magnitude >= other.magnitude {
            Self { negative: self.negative, magnitude: self.magnitude.minus(&other.magnitude) }
        } else {
            Self { negative: other.negative, magnitude: other.magnitude.minus(&self.magnitude) }
        }
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.plus(&Self { negative: !other.negative, magnitude: other.magnitude.clone() })
    }

    pub(crate) fn times(&self, factor: u64) -> Self {
        Self { negative: self.negative, magnitude: self.magnitude.times(factor) }
    }

    pub(crate) fn product(&self, other: &Self) -> Self {
        Self {
            negative: self.negative != other.negative,
            magnitude: self.magnitude.product(&other.magnitude),
        }
    }

    /// The magnitude of a number above zero.
    pub(crate) fn magnitude_if_positive(&self) -> Option<&Fixed> {
        (!self.negative && !self.magnitude.is_zero()).then_some(&self.magnitude)
    }
}
