//! What the values of a series amount to over an interval of time: as a counter, and weighted by time.
//!
//! Encoding, times in the unit of the part (see [`super::order_encoding`]): zigzag time of the first reading, varint
//! time from it to the last; first and last value, 8 bytes each; varint number of readings; then [`Counter`] and
//! [`TimeWeight`].

use std::cmp::Ordering;

use super::codec::{DecodeError, Reader, put_varint};
use super::counter::{Counter, bounded};
use super::extent::{Point, Unit};
use super::sequence::Span;
use super::time_weight::TimeWeight;
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValueSpan {
    pub(super) first: Point,
    pub(super) last: Point,
    /// Number of readings; saturates.
    pub(super) count: u64,
    pub(super) counter: Counter,
    pub(super) weight: TimeWeight,
}

fn earlier(a: Point, b: Point) -> Point {
    if (b.time, b.value) < (a.time, a.value) { b } else { a }
}

fn later(a: Point, b: Point) -> Point {
    if (b.time, b.value) > (a.time, a.value) { b } else { a }
}

impl Span for ValueSpan {
    type Value = f64;

    fn of(time: Timestamp, value: f64) -> Self {
        let point = Point { time, value };
        Self {
            first: point,
            last: point,
            count: 1,
            counter: Counter::default(),
            weight: TimeWeight::default(),
        }
    }

    fn append(&mut self, next: &Self) {
        self.counter.step(self.last.value, next.first.value);
        self.weight.step(self.last, next.first);
        self.counter.add(&next.counter);
        self.weight.add(&next.weight);
        self.count = self.count.saturating_add(next.count);
        self.last = next.last;
    }

    #[inline]
    fn append_reading(&mut self, time: Timestamp, value: f64) {
        let point = Point { time, value };
        self.counter.step(self.last.value, value);
        self.weight.step(self.last, point);
        self.count = self.count.saturating_add(1);
        self.last = point;
    }

    fn beside(&mut self, other: &Self) {
        let increase = self.increase() + other.increase();
        self.first = earlier(self.first, other.first);
        self.last = later(self.last, other.last);
        self.count = self.count.saturating_add(other.count);
        self.counter.add(&other.counter);
        self.counter.correction = bounded(increase - (self.last.value - self.first.value));
        self.weight.add(&other.weight);
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn ends(&self) -> (Timestamp, Timestamp) {
        (self.first.time, self.last.time)
    }

    fn order(a: &f64, b: &f64) -> Ordering {
        a.total_cmp(b)
    }

    fn order_spans(&self, other: &Self) -> Ordering {
        let order = |a: f64, b: f64| a.total_cmp(&b);
        self.count
            .cmp(&other.count)
            .then_with(|| order(self.first.value, other.first.value))
            .then_with(|| order(self.last.value, other.last.value))
            .then_with(|| self.counter.order(&other.counter))
            .then_with(|| self.weight.order(&other.weight))
    }
}

impl ValueSpan {
    /// The increase of a counter from the first to the last reading: at a reset it begins again at 0.
    pub(super) fn increase(&self) -> f64 {
        self.last.value - self.first.value + self.counter.correction
    }

    pub(super) fn encode(&self, base: Timestamp, unit: Unit, out: &mut Vec<u8>) {
        unit.put_ends(base, self.ends(), out);
        for value in [self.first.value, self.last.value] {
            out.extend(value.to_le_bytes());
        }
        put_varint(self.count, out);
        self.counter.encode(out);
        self.weight.encode(out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>, base: Timestamp, unit: Unit) -> Result<Self, DecodeError> {
        let (first, last) = unit.take_ends(base, reader)?;
        let (first_value, last_value) = (reader.finite()? + 0.0, reader.finite()? + 0.0);
        let span = Self {
            first: Point { time: first, value: first_value },
            last: Point { time: last, value: last_value },
            count: reader.varint()?,
            counter: Counter::decode(reader)?,
            weight: TimeWeight::decode(reader)?,
        };
        let steps = span.count.saturating_sub(1);
        if span.count == 0 || span.counter.resets > span.counter.changes || span.counter.changes > steps {
            return Err(DecodeError::Invalid("a span's counts contradict"));
        }
        Ok(span)
    }
}
