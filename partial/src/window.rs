//! Windows: half-open intervals of one width, aligned to the Unix epoch.
//!
//! A window consists of its index (its start, in widths since the epoch) and its width. So two windows of the same
//! width are equal or disjoint, and every time lies in exactly one. The first and last window may extend beyond the
//! range of [`Timestamp`]: `start` and `end` are then clamped to the range, and `contains` stays correct.

use crate::time::{NANOS_PER_MILLI, Timestamp};
use std::num::NonZeroU32;

/// Width of windows: whole milliseconds, from 1 ms to 1 day.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Width(NonZeroU32);

/// A width out of range.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a window of {millis} ms is out of range: choose between 1 ms and 86400000 ms (1 day)")]
pub struct WidthError {
    /// The refused width in milliseconds.
    pub millis: u32,
}

impl Width {
    /// The smallest width: 1 ms.
    pub const MIN: Self = Self(NonZeroU32::MIN);
    /// The largest width: 1 day.
    pub const MAX: Self = Self(NonZeroU32::MIN.saturating_add(86_400_000 - 1));

    /// A width of `millis` milliseconds.
    ///
    /// # Errors
    ///
    /// Outside of [`Self::MIN`] to [`Self::MAX`].
    pub fn from_millis(millis: u32) -> Result<Self, WidthError> {
        let width = NonZeroU32::new(millis).map(Self).ok_or(WidthError { millis })?;
        if width > Self::MAX { Err(WidthError { millis }) } else { Ok(width) }
    }

    /// The width in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0.get()
    }

    /// The width in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0.get() as i64 * NANOS_PER_MILLI
    }
}

/// The half-open time interval `[start, start + width)`, aligned to the Unix epoch.
///
/// Windows of the same width are ordered by time.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Window {
    /// Start in widths since the epoch. The window contains at least one [`Timestamp`].
    index: i64,
    width: Width,
}

impl Window {
    /// The window of this width that contains `time`. Every time has one.
    #[must_use]
    pub fn containing(time: Timestamp, width: Width) -> Self {
        Self { index: time.as_nanos().div_euclid(width.as_nanos()), width }
    }

    /// The window that starts `index` widths after the Unix epoch; `None` if no [`Timestamp`] lies in it.
    #[must_use]
    pub fn from_index(index: i64, width: Width) -> Option<Self> {
        let indices =
            Self::containing(Timestamp::MIN, width).index..=Self::containing(Timestamp::MAX, width).index;
        indices.contains(&index).then_some(Self { index, width })
    }

    /// Start in widths since the Unix epoch.
    #[must_use]
    pub const fn index(self) -> i64 {
        self.index
    }

    /// The width.
    #[must_use]
    pub const fn width(self) -> Width {
        self.width
    }

    /// The first time in the window.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp::from_nanos(self.index.saturating_mul(self.width.as_nanos()))
    }

    /// The first time after the window ([`Timestamp::MAX`] for the last window of the range, which contains it).
    #[must_use]
    pub const fn end(self) -> Timestamp {
        Timestamp::from_nanos(self.index.saturating_add(1).saturating_mul(self.width.as_nanos()))
    }

    /// Whether `time` lies in the window.
    #[must_use]
    pub fn contains(self, time: Timestamp) -> bool {
        Self::containing(time, self.width) == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn width(millis: u32) -> Width {
        Width::from_millis(millis).unwrap()
    }

    #[test]
    fn widths_are_one_millisecond_to_one_day() {
        assert_eq!(Width::from_millis(0), Err(WidthError { millis: 0 }));
        assert_eq!(Width::from_millis(86_400_001), Err(WidthError { millis: 86_400_001 }));
        assert_eq!(width(1), Width::MIN);
        assert_eq!(width(86_400_000), Width::MAX);
        assert_eq!(width(10_000).as_nanos(), 10_000_000_000);
    }

    #[test]
    fn a_boundary_belongs_to_the_later_window() {
        let ten = width(10_000);
        for start in [-20_000_000_000, -10_000_000_000, 0, 10_000_000_000] {
            let window = Window::containing(Timestamp::from_nanos(start), ten);
            assert_eq!(window.start().as_nanos(), start);
            assert_eq!(window.end().as_nanos(), start + 10_000_000_000);
            assert!(window.contains(Timestamp::from_nanos(start + 9_999_999_999)));
            assert!(!window.contains(window.end()));
            assert!(!window.contains(Timestamp::from_nanos(start - 1)));
        }
    }

    #[test]
    fn the_ends_of_time_have_windows() {
        for millis in [1, 7, 10_000, 86_400_000] {
            for time in [Timestamp::MIN, Timestamp::MAX] {
                let window = Window::containing(time, width(millis));
                assert!(window.contains(time));
                assert_eq!(Window::from_index(window.index(), window.width()), Some(window));
            }
            let beyond = Window::containing(Timestamp::MAX, width(millis)).index() + 1;
            assert_eq!(Window::from_index(beyond, width(millis)), None);
            let before = Window::containing(Timestamp::MIN, width(millis)).index() - 1;
            assert_eq!(Window::from_index(before, width(millis)), None);
        }
        assert_eq!(Window::from_index(i64::MAX, Width::MIN), None);
    }

    proptest! {
        #[test]
        fn every_time_lies_in_its_window(nanos: i64, millis in 1u32..=86_400_000) {
            let time = Timestamp::from_nanos(nanos);
            let window = Window::containing(time, width(millis));
            prop_assert!(window.contains(time));
            prop_assert!(window.start() <= time);
            prop_assert!(time < window.end() || window.end() == Timestamp::MAX);
            prop_assert_eq!(Window::from_index(window.index(), window.width()), Some(window));
        }
    }
}
