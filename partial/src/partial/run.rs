//! Many readings at once: what [`Partial::push`] does for each of them, with the work that they share done once.
//!
//! All parts are functions of the multiset of readings, so that it does not matter in which order and in what groups they
//! are added: sums are collected in four limbs each, counts of one bin until another bin's turn comes, and the extent in
//! registers. Nothing is allocated here that one push after the other would not allocate.

use super::{
    EXACT_MAX, Many, Partial, Point, Values,
    bins::Bins,
    extent::Extent,
    fixed::{Fixed, Window},
    mapping, sum,
};
use crate::time::Timestamp;

/// Adds readings to a partial.
#[inline]
pub(super) fn push(partial: &mut Partial, mut readings: impl Iterator<Item = (Timestamp, f64)>) {
    let mut held = [0.0; EXACT_MAX];
    let mut extent = partial.extent;
    if let Values::Few(few) = &mut partial.values {
        let room = EXACT_MAX - few.values().len();
        let mut count = 0;
        let beyond = loop {
            let Some((time, value)) = readings.next() else { break None };
            let Some(value) = usual(value) else { continue };
            extend(&mut extent, Point { time, value });
            match held.get_mut(count).filter(|_| count < room) {
                Some(place) => *place = value,
                None => break Some(value),
            }
            count += 1;
        };
        let held = held.get(..count).unwrap_or_default();
        let Some(beyond) = beyond else {
            partial.extent = extent;
            return match held {
                [] => {}
                // It has room.
                [value] => drop(few.push(*value)),
                _ => few.extend(held),
            };
        };
        let mut many = Box::<Many>::default();
        let mut run = Run::default();
        few.values().iter().chain(held).chain([&beyond]).for_each(|value| run.push(*value, &mut many));
        run.finish(&mut many);
        partial.values = Values::Many(many);
    }
    if let (Values::Many(many), Some(extent)) = (&mut partial.values, &mut extent) {
        let mut run = Run::default();
        for (time, value) in readings {
            let Some(value) = usual(value) else { continue };
            extent.push(Point { time, value });
            run.push(value, many);
        }
        run.finish(many);
    }
    partial.extent = extent;
}

/// A value as it is kept: negative zero is zero. One that is not finite is a bug of the caller, see [`Partial::push`].
#[inline]
fn usual(value: f64) -> Option<f64> {
    debug_assert!(value.is_finite(), "a reading must be finite: {value}");
    value.is_finite().then_some(value + 0.0)
}

#[inline]
fn extend(extent: &mut Option<Extent>, point: Point) {
    match extent {
        Some(extent) => extent.push(point),
        None => *extent = Some(Extent::of(point)),
    }
}

/// What was not yet added to the parts.
#[derive(Default)]
struct Run {
    count: u64,
    zeros: u64,
    positive: Side,
    negative: Side,
    squares: Window,
}

/// The values of one sign.
#[derive(Default)]
struct Side {
    sum: Window,
    /// How many values had the key of the last one.
    key: i32,
    same: u64,
}

impl Run {
    #[inline]
    fn push(&mut self, value: f64, many: &mut Many) {
        self.count += 1;
        let (mantissa, bit) = sum::units(value);
        if value > 0.0 {
            self.positive.push(value, mantissa, bit, &mut many.sum.positive, &mut many.sketch.positive);
        } else if value < 0.0 {
            self.negative.push(-value, mantissa, bit, &mut many.sum.negative, &mut many.sketch.negative);
        } else {
            self.zeros += 1;
            return;
        }
        let (index, shift) = ((2 * bit / 64) as i32, 2 * bit % 64);
        let square = u128::from(mantissa) * u128::from(mantissa);
        let wide = square << shift;
        let high = square.unbounded_shr(128 - shift) as u64;
        if !self.squares.reaches(index) {
            settle(&mut self.squares, index, &mut many.squares.0);
        }
        self.squares.add(index, [wide as u64, (wide >> 64) as u64, high]);
    }

    fn finish(self, many: &mut Many) {
        many.count = many.count.saturating_add(self.count);
        many.sketch.zeros = many.sketch.zeros.saturating_add(self.zeros);
        self.positive.finish(&mut many.sum.positive, &mut many.sketch.positive);
        self.negative.finish(&mut many.sum.negative, &mut many.sketch.negative);
        many.squares.0.add_window(&self.squares);
    }
}

impl Side {
    #[inline]
    fn push(&mut self, magnitude: f64, mantissa: u64, bit: u32, sum: &mut Fixed, bins: &mut Bins) {
        let index = (bit / 64) as i32;
        let wide = u128::from(mantissa) << (bit % 64);
        if !self.sum.reaches(index) {
            settle(&mut self.sum, index, sum);
        }
        self.sum.add(index, [wide as u64, (wide >> 64) as u64, 0]);
        let key = mapping::key(magnitude);
        if key != self.key && self.same > 0 {
            bins.add(self.key, self.same);
            self.same = 0;
        }
        self.key = key;
        self.same += 1;
    }

    fn finish(self, sum: &mut Fixed, bins: &mut Bins) {
        sum.add_window(&self.sum);
        if self.same > 0 {
            bins.add(self.key, self.same);
        }
    }
}

/// Puts what was collected into the sum, and moves on.
#[cold]
#[inline(never)]
fn settle(window: &mut Window, index: i32, sum: &mut Fixed) {
    sum.add_window(window);
    window.move_to(index);
}

#[cfg(test)]
mod tests;
