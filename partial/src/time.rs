//! A point in time: nanoseconds since the Unix epoch, in the range of `i64` (years 1677 to 2262).
//!
//! No leap seconds, as in Unix time. Arithmetic is checked or saturating, never wrapping.

/// Nanoseconds in a millisecond.
pub(crate) const NANOS_PER_MILLI: i64 = 1_000_000;

/// Unix time in nanoseconds; negative before 1970.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest representable time, in the year 1677.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest representable time, in the year 2262.
    pub const MAX: Self = Self(i64::MAX);

    /// The time `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The time `millis` milliseconds after the Unix epoch; `None` outside of the range.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        match millis.checked_mul(NANOS_PER_MILLI) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down (before 1970 too).
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(NANOS_PER_MILLI)
    }

    /// This time moved by `nanos` nanoseconds; `None` outside of the range.
    #[must_use]
    pub const fn checked_add_nanos(self, nanos: i64) -> Option<Self> {
        match self.0.checked_add(nanos) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// This time moved by `nanos` nanoseconds, clamped to [`Self::MIN`] or [`Self::MAX`].
    #[must_use]
    pub const fn saturating_add_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// This time moved back by `nanos` nanoseconds, clamped to [`Self::MIN`] or [`Self::MAX`].
    #[must_use]
    pub const fn saturating_sub_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_sub(nanos))
    }

    /// Nanoseconds from `earlier` to this time (negative if `earlier` is later), clamped to the range of `i64`.
    #[must_use]
    pub const fn saturating_nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millis_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_nanos(1_999_999).as_millis(), 1);
        assert_eq!(Timestamp::from_nanos(0).as_millis(), 0);
        assert_eq!(Timestamp::from_nanos(-1).as_millis(), -1);
        assert_eq!(Timestamp::from_nanos(-1_000_000).as_millis(), -1);
        assert_eq!(Timestamp::from_nanos(-1_000_001).as_millis(), -2);
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let most = i64::MAX / NANOS_PER_MILLI;
        assert!(Timestamp::from_millis(most).is_some());
        assert_eq!(Timestamp::from_millis(most + 1), None);
        assert_eq!(Timestamp::from_millis(i64::MIN), None);
        assert_eq!(Timestamp::MAX.checked_add_nanos(1), None);
        assert_eq!(Timestamp::MAX.saturating_add_nanos(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub_nanos(1), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.saturating_nanos_since(Timestamp::MIN), i64::MAX);
        assert_eq!(Timestamp::from_nanos(3).saturating_nanos_since(Timestamp::from_nanos(5)), -2);
    }
}
