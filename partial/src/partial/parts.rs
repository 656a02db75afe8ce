//! Optional parts of a partial: those that a metric carries only if the configuration asks for them.

use std::{fmt, str::FromStr};

/// A set of optional parts.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parts(u8);

/// Names of the optional parts, as in the configuration.
const NAMES: [(&str, Parts); 3] =
    [("order", Parts::ORDER), ("moments", Parts::MOMENTS), ("distinct", Parts::DISTINCT)];

/// A text that names no optional part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown part {0:?}: choose from order, moments, distinct")]
pub struct PartsError(String);

impl Parts {
    /// No optional part.
    pub const NONE: Self = Self(0);
    /// What depends on the order of the readings, also beyond [`super::EXACT_MAX`] readings: counters and
    /// time-weighted figures.
    pub const ORDER: Self = Self(1);
    /// Sums of third and fourth powers, for skewness and kurtosis beyond [`super::EXACT_MAX`] readings.
    pub const MOMENTS: Self = Self(1 << 1);
    /// A sketch that counts distinct values beyond [`super::EXACT_MAX`] readings.
    pub const DISTINCT: Self = Self(1 << 2);

    /// All optional parts.
    pub(super) const ALL: Self = Self::ORDER.with(Self::MOMENTS).with(Self::DISTINCT);

    /// The set as bits, for storage; never changes its meaning.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; `None` if one is unknown.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 1 << NAMES.len() { Some(Self(bits)) } else { None }
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    #[must_use]
    pub(super) const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of the other set are in this one.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl FromStr for Parts {
    type Err = PartsError;

    fn from_str(text: &str) -> Result<Self, PartsError> {
        let known = NAMES.iter().find(|(name, _)| *name == text);
        known.map(|(_, part)| *part).ok_or_else(|| PartsError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            NAMES.iter().filter(|(_, part)| self.contains(*part)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}
