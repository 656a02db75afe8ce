//! The readings themselves, with their times, as long as they are few.
//!
//! They give every aggregate exactly, also those that depend on the order of the readings, so nothing else is kept: ten
//! readings take 192 bytes of memory.
//!
//! Encoding: varint number of readings, then, unless that is 0, times and values. Times are integers in the partial's
//! unit: zigzag first time relative to the base (modulo 2^64 ns); then, if there are several and the flags say
//! *regular*, varint step from each to the next; otherwise the first step as varint, and for each further one zigzag its
//! difference from the step before. Values are integers on the partial's scale: zigzag first value; for each further one
//! zigzag its difference from its predecessor.

use super::EXACT_MAX;
use super::codec::{DecodeError, Reader, put_varint, put_zigzag};
use super::extent::{Extent, Point, Unit};
use super::numbers::Scale;
use crate::time::Timestamp;

/// At most [`EXACT_MAX`] readings in order of time, then of value; finite, no negative zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timed(Vec<Point>);

/// Whether `a` may precede `b`.
#[inline]
fn in_order(a: &Point, b: &Point) -> bool {
    a.time < b.time || (a.time == b.time && a.value <= b.value)
}

/// Sorts readings, unless they are in order.
pub(super) fn put_in_order(points: &mut [Point]) {
    if !points.is_sorted_by(in_order) {
        sort(points);
    }
}

fn sort(points: &mut [Point]) {
    points.sort_by(|a, b| a.time.cmp(&b.time).then(a.value.total_cmp(&b.value)));
}

impl Timed {
    /// Adds a reading, or returns it when full.
    #[inline]
    pub(super) fn push(&mut self, point: Point) -> Result<(), Point> {
        if self.0.len() >= EXACT_MAX {
            return Err(point);
        }
        self.grow(1);
        if self.0.last().is_none_or(|last| in_order(last, &point)) {
            self.0.push(point);
        } else {
            let place = self.0.partition_point(|other| in_order(other, &point));
            self.0.insert(place, point);
        }
        Ok(())
    }

    /// Makes room for `more` readings in steps that leave little unused.
    #[inline]
    fn grow(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let capacity = if needed <= 16 { needed.next_multiple_of(4) } else { needed.next_multiple_of(8) };
            self.0.reserve_exact(capacity - self.0.len());
        }
    }

    /// Adds readings; there must be room for them.
    pub(super) fn extend(&mut self, points: &[Point]) {
        debug_assert!(self.0.len() + points.len() <= EXACT_MAX);
        self.grow(points.len());
        let follows = self.0.last().zip(points.first()).is_none_or(|(last, first)| in_order(last, first));
        self.0.extend_from_slice(points);
        if !(follows && points.is_sorted_by(in_order)) {
            sort(&mut self.0);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.0
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|point| point.value)
    }

    /// The values in rising order, at the front of `buffer`.
    pub(super) fn sorted<'b>(&self, buffer: &'b mut [f64; EXACT_MAX]) -> &'b [f64] {
        for (place, value) in buffer.iter_mut().zip(self.values()) {
            *place = value;
        }
        let values = buffer.get_mut(..self.0.len()).unwrap_or_default();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    /// The extreme readings.
    pub(super) fn extent(&self) -> Option<Extent> {
        let (first, rest) = self.0.split_first()?;
        let mut extent = Extent::of(*first);
        rest.iter().for_each(|point| extent.push(*point));
        Some(extent)
    }

    pub(super) fn heap(&self) -> usize {
        self.0.capacity() * size_of::<Point>()
    }

    /// The coarsest unit in which all times are whole relative to `base`.
    pub(super) fn unit(&self, base: Timestamp) -> Unit {
        Unit::of(base, self.0.iter().map(|point| point.time))
    }

    /// The step from each reading to the next, if it is the same everywhere.
    pub(super) fn step(&self) -> Option<u64> {
        let step = |pair: &[Point]| match pair {
            [a, b] => b.time.as_nanos().wrapping_sub(a.time.as_nanos()) as u64,
            _ => 0,
        };
        let mut steps = self.0.windows(2).map(step);
        let first = steps.next()?;
        steps.all(|step| step == first).then_some(first)
    }

    /// Encodes the readings, with the step of [`Timed::step`].
    pub(super) fn encode(
        &self,
        base: Timestamp,
        (unit, scale, step): (Unit, Scale, Option<u64>),
        out: &mut Vec<u8>,
    ) {
        put_varint(self.0.len() as u64, out);
        let Some(first) = self.0.first() else { return };
        put_zigzag(unit.whole(first.time.as_nanos().wrapping_sub(base.as_nanos())), out);
        if let Some(step) = step {
            put_varint(unit.whole_unsigned(step), out);
        } else {
            let (mut before, mut last) = (first.time.as_nanos(), None);
            for point in self.0.iter().skip(1) {
                let nanos = point.time.as_nanos();
                let step = unit.whole_unsigned(nanos.wrapping_sub(before) as u64);
                match last {
                    None => put_varint(step, out),
                    Some(last) => put_zigzag(step.wrapping_sub(last) as i64, out),
                }
                (before, last) = (nanos, Some(step));
            }
        }
        let mut before = 0;
        for point in &self.0 {
            let integer = scale.integer(point.value);
            put_zigzag(integer.wrapping_sub(before), out);
            before = integer;
        }
    }

    pub(super) fn decode(
        reader: &mut Reader<'_>,
        base: Timestamp,
        (unit, scale, regular): (Unit, Scale, bool),
    ) -> Result<Self, DecodeError> {
        let mut buffer = [Point { time: Timestamp::from_nanos(0), value: 0.0 }; EXACT_MAX];
        let points = Self::read(reader, base, (unit, scale, regular), &mut buffer)?;
        Ok(Self(points.to_vec()))
    }

    /// Reads the readings into `buffer`, without allocating.
    pub(super) fn read<'b>(
        reader: &mut Reader<'_>,
        base: Timestamp,
        (unit, scale, regular): (Unit, Scale, bool),
        buffer: &'b mut [Point; EXACT_MAX],
    ) -> Result<&'b [Point], DecodeError> {
        const TIME: DecodeError = DecodeError::Invalid("a time is out of range");
        const VALUE: DecodeError = DecodeError::Invalid("a value is out of range");
        const ORDER: DecodeError = DecodeError::Invalid("readings are not in order");
        let count = reader.count(EXACT_MAX, "too many exact values")?;
        let points = buffer.get_mut(..count).unwrap_or_default();
        let mut step = 0_u64;
        if count > 0 {
            let mut time = unit.time(base, reader.zigzag()?).ok_or(TIME)?;
            for (number, point) in points.iter_mut().enumerate() {
                match number {
                    0 => {}
                    1 => step = reader.varint()?,
                    _ if regular => {}
                    // Modulo 2^64, as it was written; what follows checks the result.
                    _ => step = step.wrapping_add_signed(reader.zigzag()?),
                }
                if number > 0 {
                    let nanos = step.checked_mul(unit.nanos()).ok_or(TIME)?;
                    let later = time.as_nanos().checked_add_unsigned(nanos).ok_or(TIME)?;
                    time = Timestamp::from_nanos(later);
                }
                point.time = time;
            }
        }
        let mut integer = 0_i64;
        for (number, point) in points.iter_mut().enumerate() {
            let difference = reader.zigzag()?;
            integer = match number {
                0 => difference,
                // Twos complement: the difference of two integers far apart wraps, and so does the sum.
                _ => integer.wrapping_add(difference),
            };
            point.value = scale.value(integer).ok_or(VALUE)?;
        }
        // The times of a regular step rise.
        if (regular && step > 0) || points.is_sorted_by(in_order) { Ok(points) } else { Err(ORDER) }
    }
}
