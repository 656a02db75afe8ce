//! Resolutions of rows, and the partitions of time of their tables.

use catchment_partial::{Timestamp, Width, Window};

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// What the rows of a table are: windows with their names, or windows merged by interval.
///
/// A window whose width does not divide an interval keeps its own width in tables of that resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) enum Resolution {
    /// Windows as delivered.
    Windows = 0,
    /// Merged by minute.
    Minute = 1,
    /// Merged by hour.
    Hour = 2,
    /// Merged by day (UTC).
    Day = 3,
}

impl Resolution {
    /// All of them, from fine to coarse.
    pub(in crate::store) const ALL: [Self; 4] = [Self::Windows, Self::Minute, Self::Hour, Self::Day];

    /// Its stable number, 0 to 3: part of formats.
    pub(in crate::store) const fn number(self) -> u8 {
        self as u8
    }

    /// The resolution with this number.
    pub(in crate::store) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.number() == number)
    }

    /// Width of its intervals; `None` for windows.
    pub(in crate::store) fn interval(self) -> Option<Width> {
        let millis = match self {
            Self::Windows => return None,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        };
        Width::from_millis(millis).ok()
    }

    /// Start of the interval that contains a time; for windows, that time.
    pub(in crate::store) fn start_of(self, time: Timestamp) -> Timestamp {
        self.interval().map_or(time, |width| Window::containing(time, width).start())
    }

    /// The next finer resolution; `None` for windows.
    pub(in crate::store) fn finer(self) -> Option<Self> {
        Self::from_number(self.number().checked_sub(1)?)
    }

    /// Span of a partition, nanoseconds.
    const fn partition_nanos(self) -> i64 {
        let days = match self {
            Self::Windows => 1,
            Self::Minute => 4,
            Self::Hour => 64,
            Self::Day => 2_048,
        };
        days * DAY_NANOS
    }

    /// Number of the partition of rows that start here: whole spans since the Unix epoch, negative before it.
    pub(in crate::store) const fn partition_of(self, start: Timestamp) -> i32 {
        // At most 106,752 days on either side.
        start.as_nanos().div_euclid(self.partition_nanos()) as i32
    }

    /// First time of a partition, clamped to the range of [`Timestamp`].
    pub(in crate::store) const fn partition_start(self, partition: i32) -> Timestamp {
        Timestamp::from_nanos((partition as i64).saturating_mul(self.partition_nanos()))
    }

    /// First time after a partition; [`Timestamp::MAX`] for the last one, which contains it.
    pub(in crate::store) const fn partition_end(self, partition: i32) -> Timestamp {
        Timestamp::from_nanos((partition as i64 + 1).saturating_mul(self.partition_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_partition_contains_the_starts_that_it_is_of(nanos in any::<i64>()) {
            for resolution in Resolution::ALL {
                let start = Timestamp::from_nanos(nanos);
                let partition = resolution.partition_of(start);
                prop_assert!(resolution.partition_start(partition) <= start);
                prop_assert!(start < resolution.partition_end(partition) || resolution.partition_end(partition) == Timestamp::MAX);
                prop_assert_eq!(resolution.partition_of(resolution.partition_start(partition)), partition);
            }
        }
    }

    #[test]
    fn numbers_and_spans_are_part_of_the_format() {
        let day = |days: i64| Timestamp::from_nanos(days * DAY_NANOS);
        for (number, span) in [(0, 1), (1, 4), (2, 64), (3, 2_048)] {
            let resolution = Resolution::from_number(number).unwrap();
            assert_eq!(resolution.number(), number);
            assert_eq!(resolution.partition_start(3), day(3 * span));
            assert_eq!(resolution.partition_end(-1), day(0));
            assert_eq!(resolution.partition_of(Timestamp::from_nanos(-1)), -1);
        }
        assert_eq!(Resolution::from_number(4), None);
    }
}
