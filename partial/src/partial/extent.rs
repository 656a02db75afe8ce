//! The extreme readings: least and greatest value, first and last time.
//!
//! Each is the least element of a total order, so every order of pushes and merges gives the same result: `min` by
//! value, then time; `max` by descending value, then time; `first` by time, then value; `last` by descending time, then
//! descending value. (Of two readings with equal values, the earlier is `min` and `max`; of two at the same time, the
//! smaller is `first` and the larger is `last`.)

use super::codec::{DecodeError, Reader, put_varint, put_zigzag};
use crate::time::{NANOS_PER_MILLI, Timestamp};

/// A value and the time of its reading.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Point {
    /// Event time of the reading.
    pub time: Timestamp,
    /// Its value; finite, never negative zero.
    pub value: f64,
}

/// The four extreme readings of a non-empty set.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) min: Point,
    pub(crate) max: Point,
    pub(crate) first: Point,
    pub(crate) last: Point,
}

/// Unit of encoded times.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Milliseconds,
    Nanoseconds,
}

impl Unit {
    /// The coarsest unit in which all these times are whole relative to `base`.
    pub(crate) fn of(base: Timestamp, times: impl Iterator<Item = Timestamp>) -> Self {
        let whole = |time: Timestamp| {
            time.as_nanos().checked_sub(base.as_nanos()).is_some_and(|nanos| nanos % NANOS_PER_MILLI == 0)
        };
        if times.into_iter().all(whole) { Self::Milliseconds } else { Self::Nanoseconds }
    }

    /// A difference of times in this unit, in which it is whole.
    pub(crate) fn whole(self, nanos: i64) -> i64 {
        nanos / self.nanos() as i64
    }

    /// As [`Unit::whole`].
    pub(crate) fn whole_unsigned(self, nanos: u64) -> u64 {
        nanos / self.nanos()
    }

    /// The time that lies so many units after `base`: modulo 2^64 ns, so that nanoseconds reach every time from every
    /// base; `None`: milliseconds beyond the range.
    pub(crate) fn time(self, base: Timestamp, offset: i64) -> Option<Timestamp> {
        let nanos = match self {
            Self::Nanoseconds => base.as_nanos().wrapping_add(offset),
            Self::Milliseconds => {
                offset.checked_mul(NANOS_PER_MILLI).and_then(|nanos| base.as_nanos().checked_add(nanos))?
            }
        };
        Some(Timestamp::from_nanos(nanos))
    }

    /// Encodes a time: the first zigzag relative to `base`, a further one as varint after the one before.
    pub(crate) fn put(self, base: Timestamp, before: Option<Timestamp>, time: Timestamp, out: &mut Vec<u8>) {
        let nanos = time.as_nanos();
        match before {
            None => put_zigzag(self.whole(nanos.wrapping_sub(base.as_nanos())), out),
            Some(before) => {
                put_varint(self.whole_unsigned(nanos.wrapping_sub(before.as_nanos()) as u64), out)
            }
        }
    }

    /// Decodes what [`Unit::put`] wrote.
    pub(crate) fn take(
        self,
        base: Timestamp,
        before: Option<Timestamp>,
        reader: &mut Reader<'_>,
    ) -> Result<Timestamp, DecodeError> {
        const RANGE: DecodeError = DecodeError::Invalid("a time is out of range");
        let Some(before) = before else { return self.time(base, reader.zigzag()?).ok_or(RANGE) };
        let later = reader.varint()?.checked_mul(self.nanos()).ok_or(RANGE)?;
        before.as_nanos().checked_add_unsigned(later).map(Timestamp::from_nanos).ok_or(RANGE)
    }

    /// Encodes the ends of a span.
    pub(crate) fn put_ends(self, base: Timestamp, (first, last): (Timestamp, Timestamp), out: &mut Vec<u8>) {
        self.put(base, None, first, out);
        self.put(base, Some(first), last, out);
    }

    /// Decodes what [`Unit::put_ends`] wrote.
    pub(crate) fn take_ends(
        self,
        base: Timestamp,
        reader: &mut Reader<'_>,
    ) -> Result<(Timestamp, Timestamp), DecodeError> {
        let first = self.take(base, None, reader)?;
        Ok((first, self.take(base, Some(first), reader)?))
    }

    pub(crate) fn nanos(self) -> u64 {
        match self {
            Self::Milliseconds => NANOS_PER_MILLI as u64,
            Self::Nanoseconds => 1,
        }
    }
}

/// The times of an [`Extent`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Times {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) min: Timestamp,
    pub(crate) max: Timestamp,
}

impl Extent {
    /// The extent of one reading.
    pub(crate) fn of(point: Point) -> Self {
        Self { min: point, max: point, first: point, last: point }
    }

    #[inline]
    pub(crate) fn push(&mut self, point: Point) {
        let Point { time, value } = point;
        if value < self.min.value || (value == self.min.value && time < self.min.time) {
            self.min = point;
        }
        if value > self.max.value || (value == self.max.value && time < self.max.time) {
            self.max = point;
        }
        if time >= self.last.time && (time > self.last.time || value > self.last.value) {
            self.last = point;
        }
        if time <= self.first.time && (time < self.first.time || value < self.first.value) {
            self.first = point;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for point in [other.min, other.max, other.first, other.last] {
            self.push(point);
        }
    }

    /// The extent of least, greatest, first and last value.
    pub(crate) fn decoded([min, max, first, last]: [f64; 4], times: Times) -> Result<Self, DecodeError> {
        const CONTRADICTION: DecodeError =
            DecodeError::Invalid("least, greatest, first and last reading contradict");
        let extent = Self {
            min: Point { time: times.min, value: min },
            max: Point { time: times.max, value: max },
            first: Point { time: times.first, value: first },
            last: Point { time: times.last, value: last },
        };
        if extent.is_possible() { Ok(extent) } else { Err(CONTRADICTION) }
    }

    /// Whether any set of readings has this extent. That is so if its own four readings have it.
    pub(crate) fn is_possible(&self) -> bool {
        let mut extent = Self::of(self.first);
        extent.merge(self);
        extent == *self
    }

    /// The coarsest unit in which all times are whole relative to `base`.
    pub(crate) fn unit(&self, base: Timestamp) -> Unit {
        let whole = |from: Timestamp, to: Timestamp| {
            to.as_nanos().checked_sub(from.as_nanos()).is_some_and(|nanos| nanos % NANOS_PER_MILLI == 0)
        };
        let ends = [self.last.time, self.min.time, self.max.time];
        if whole(base, self.first.time) && ends.iter().all(|&end| whole(self.first.time, end)) {
            Unit::Milliseconds
        } else {
            Unit::Nanoseconds
        }
    }

    /// Encodes the time of `first` relative to `base` and, unless `single`, how much later `last`, `min` and `max` are.
    pub(crate) fn encode_times(&self, base: Timestamp, unit: Unit, single: bool, out: &mut Vec<u8>) {
        let first = self.first.time.as_nanos();
        // Modulo 2^64, so that nanoseconds reach every time from every base; milliseconds never wrap.
        put_zigzag(first.wrapping_sub(base.as_nanos()) / unit.nanos() as i64, out);
        if !single {
            for end in [self.last.time, self.min.time, self.max.time] {
                put_varint(end.as_nanos().wrapping_sub(first) as u64 / unit.nanos(), out);
            }
        }
    }
}

impl Times {
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        base: Timestamp,
        unit: Unit,
        single: bool,
    ) -> Result<Self, DecodeError> {
        const RANGE: DecodeError = DecodeError::Invalid("a time is out of range");
        let first = unit.time(base, reader.zigzag()?).ok_or(RANGE)?.as_nanos();
        let mut end = || {
            if single {
                return Ok(Timestamp::from_nanos(first));
            }
            let later = reader.varint()?.checked_mul(unit.nanos()).ok_or(RANGE)?;
            first.checked_add_unsigned(later).map(Timestamp::from_nanos).ok_or(RANGE)
        };
        Ok(Self { last: end()?, min: end()?, max: end()?, first: Timestamp::from_nanos(first) })
    }
}
