//! Adds many readings at once, with the same result as [`Partial::push`] for each, but shared work done once.
//!
//! All parts are functions of the multiset of readings, so the order and grouping of additions do not matter. Values
//! are buffered by sign and added as a block: their mantissas are summed as one integer if their exponents are close,
//! and neighbours in the same bin are counted together. Nothing is allocated that single pushes would not allocate.

use super::{
    EXACT_MAX, Many, Partial, Point, Values,
    bins::{Bin, Bins},
    fixed::Fixed,
    mapping,
    moments::Squares,
    sum,
};
use crate::time::Timestamp;

/// Values per block. The sum of their mantissas, shifted by up to [`SPREAD`], fits 64 bits; that of their squares, 128.
const BLOCK: usize = 32;
/// Maximum difference of exponents in a block that is summed as one integer.
const SPREAD: u32 = 5;
/// Magnitudes with keys that differ by less than this are counted by themselves first, if they are so many: at most
/// what a byte can count.
const CLOSE: i32 = 512;
const COUNTED_MIN: usize = 8;
const COUNTED_MAX: usize = 128;
/// Counts that are looked at together.
const AT_ONCE: usize = 8;
/// Readings that are held back before they are added to few.
const HELD: usize = 16;
/// Up to this many readings are added one by one.
const SHORT: usize = 4;

/// Adds readings to a partial.
#[inline]
pub(super) fn push(partial: &mut Partial, mut readings: impl Iterator<Item = (Timestamp, f64)>) {
    if readings.size_hint().1.is_some_and(|most| most <= SHORT) {
        return readings.for_each(|(time, value)| partial.push(time, value));
    }
    if let Values::Timed(timed) = &mut partial.values {
        // Held back, so that memory grows once for several.
        let mut held = [Point { time: Timestamp::from_nanos(0), value: 0.0 }; HELD];
        let mut count = 0;
        let room = EXACT_MAX - timed.points().len();
        let (mut taken, mut beyond) = (0, None);
        for (time, value) in readings.by_ref() {
            let Some(value) = usual(value) else { continue };
            let point = Point { time, value };
            if taken == room {
                beyond = Some(point);
                break;
            }
            taken += 1;
            if count == HELD {
                timed.extend(&held);
                count = 0;
            }
            if let Some(place) = held.get_mut(count) {
                *place = point;
                count += 1;
            }
        }
        timed.extend(held.get(..count).unwrap_or_default());
        match beyond {
            None => return,
            Some(point) => partial.push(point.time, point.value),
        }
    }
    match &mut partial.values {
        Values::Many(many) => push_many(many, readings),
        Values::Timed(_) | Values::Untimed(_) => {
            readings.for_each(|(time, value)| partial.push(time, value));
        }
    }
}

/// Adds decoded readings, in order of time, then of value.
#[inline]
pub(super) fn push_ordered(partial: &mut Partial, points: &[Point]) {
    match &mut partial.values {
        Values::Timed(timed) if timed.points().len() + points.len() <= EXACT_MAX => timed.extend(points),
        Values::Many(many) if many.has_order_at_most() => {
            many.push_order(points);
            push_values(many, points);
        }
        _ => push(partial, points.iter().map(|point| (point.time, point.value))),
    }
}

/// Adds extent and values of readings that are in order.
fn push_values(many: &mut Many, points: &[Point]) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let (mut least, mut most) = (first, first);
    for point in points {
        // Of equal values, the earlier counts.
        least = if point.value < least.value { point } else { least };
        most = if point.value > most.value { point } else { most };
    }
    [first, last, least, most].into_iter().for_each(|point| many.extent.push(*point));
    if least.value > 0.0 {
        push_positive(many, points);
    } else {
        add_values(many, points.iter().map(|point| point.value));
    }
}

/// Adds positive values.
fn push_positive(many: &mut Many, points: &[Point]) {
    let Many { count, sum, squares, sketch, .. } = many;
    *count = count.saturating_add(points.len() as u64);
    let mut held = [0.0; COUNTED_MAX];
    for points in points.chunks(COUNTED_MAX) {
        for (place, point) in held.iter_mut().zip(points) {
            *place = point.value;
        }
        let held = held.get(..points.len()).unwrap_or_default();
        held.chunks(BLOCK).for_each(|block| add_sums(block, &mut sum.positive, &mut squares.0));
        add_to_bins(held, &mut sketch.positive);
    }
}

/// Adds the values of readings whose times are in the extent already.
pub(super) fn add_values(many: &mut Many, values: impl Iterator<Item = f64>) {
    let mut run = Run::default();
    values.for_each(|value| run.push(value, many));
    run.finish(many);
}

fn push_many(many: &mut Many, readings: impl Iterator<Item = (Timestamp, f64)>) {
    let mut run = Run::default();
    let optional = many.optional.is_some();
    for (time, value) in readings {
        let Some(value) = usual(value) else { continue };
        let point = Point { time, value };
        many.extent.push(point);
        if optional {
            many.push_optional(point);
        }
        run.push(value, many);
    }
    run.finish(many);
}

/// Normalizes a value: negative zero becomes zero. A non-finite value is a bug of the caller, see [`Partial::push`].
#[inline]
fn usual(value: f64) -> Option<f64> {
    debug_assert!(value.is_finite(), "a reading must be finite: {value}");
    value.is_finite().then_some(value + 0.0)
}

/// Buffered values that are not yet added to the parts.
#[derive(Default)]
struct Run {
    zeros: u64,
    positive: Side,
    negative: Side,
}

/// Magnitudes of buffered values of one sign.
#[derive(Default)]
struct Side {
    held: [f64; BLOCK],
    count: usize,
}

impl Run {
    #[inline]
    fn push(&mut self, value: f64, many: &mut Many) {
        let side = if value > 0.0 {
            &mut self.positive
        } else if value < 0.0 {
            &mut self.negative
        } else {
            self.zeros += 1;
            return;
        };
        if let Some(place) = side.held.get_mut(side.count) {
            *place = value.abs();
            side.count += 1;
        }
        if side.count == BLOCK {
            self.flush(many);
        }
    }

    fn flush(&mut self, many: &mut Many) {
        let Many { count, sum, squares, sketch, .. } = many;
        let held = self.zeros + (self.positive.count + self.negative.count) as u64;
        *count = count.saturating_add(held);
        sketch.zeros = sketch.zeros.saturating_add(std::mem::take(&mut self.zeros));
        self.positive.flush(&mut sum.positive, squares, &mut sketch.positive);
        self.negative.flush(&mut sum.negative, squares, &mut sketch.negative);
    }

    fn finish(mut self, many: &mut Many) {
        self.flush(many);
    }
}

impl Side {
    fn flush(&mut self, sum: &mut Fixed, squares: &mut Squares, bins: &mut Bins) {
        let held = self.held.get(..self.count).unwrap_or_default();
        self.count = 0;
        add_sums(held, sum, &mut squares.0);
        add_to_bins(held, bins);
    }
}

/// Counts magnitudes, at most [`COUNTED_MAX`]: if they are close, first by themselves, without a search for each.
fn add_to_bins(held: &[f64], bins: &mut Bins) {
    let mut keys = [0; COUNTED_MAX];
    let (mut least, mut most) = (i32::MAX, i32::MIN);
    for (key, value) in keys.iter_mut().zip(held) {
        *key = mapping::key(*value);
        (least, most) = (least.min(*key), most.max(*key));
    }
    let keys = keys.get(..held.len()).unwrap_or_default();
    if keys.is_empty() {
        return;
    }
    if let Some(bins) = bins.all_between(least, most) {
        // Merged from many: each key has its bin already.
        for key in keys {
            if let Some(bin) = bins.get_mut((key - least) as usize) {
                bin.count = bin.count.saturating_add(1);
            }
        }
        return;
    }
    if keys.len() < COUNTED_MIN || most - least >= CLOSE {
        for same in keys.chunk_by(|a, b| a == b) {
            if let Some(key) = same.first() {
                bins.add(*key, same.len() as u64);
            }
        }
        return;
    }
    let mut counts = [[0_u8; AT_ONCE]; CLOSE as usize / AT_ONCE];
    let counts_flat = counts.as_flattened_mut();
    for key in keys {
        if let Some(count) = counts_flat.get_mut((key - least) as usize) {
            *count += 1;
        }
    }
    let mut counted = [Bin { key: 0, count: 0 }; COUNTED_MAX];
    let mut places = counted.iter_mut();
    let used = (most - least) as usize / AT_ONCE + 1;
    for (counts, first) in counts.iter().take(used).zip((least..).step_by(AT_ONCE)) {
        // Most are empty if values spread.
        if u64::from_le_bytes(*counts) == 0 {
            continue;
        }
        for (count, key) in counts.iter().zip(first..).filter(|(count, _)| **count > 0) {
            places.next().into_iter().for_each(|place| *place = Bin { key, count: (*count).into() });
        }
    }
    let left = places.len();
    bins.add_all(counted.get(..COUNTED_MAX - left).unwrap_or_default());
}

fn add_sums(held: &[f64], sum: &mut Fixed, squares: &mut Fixed) {
    let bits = || held.iter().map(|value| sum::units(*value).1);
    let (Some(least), Some(most)) = (bits().min(), bits().max()) else { return };
    if most - least > SPREAD {
        for value in held {
            let (mantissa, bit) = sum::units(*value);
            sum.add(mantissa, bit);
            squares.add_square(u128::from(mantissa) * u128::from(mantissa), 2 * bit);
        }
        return;
    }
    let (mut mantissas, mut mantissas_squared) = (0_u64, 0_u128);
    for value in held {
        let (mantissa, bit) = sum::units(*value);
        let mantissa = mantissa << (bit - least);
        mantissas += mantissa;
        mantissas_squared += u128::from(mantissa) * u128::from(mantissa);
    }
    sum.add(mantissas, least);
    squares.add_square(mantissas_squared, 2 * least);
}

#[cfg(test)]
mod tests;
