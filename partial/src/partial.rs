//! [`Partial`]: the mergeable summary of one series' readings in one window.
//!
//! It consists of parts, each in its own file with push, merge, empty, encode and decode. While the readings are few, up
//! to [`EXACT_MAX`], they are kept themselves, with their times (`timed`); everything is computed from them, exactly.
//! Beyond, there are the extent (least, greatest, first, last), exact sums and a quantile sketch (`many`), and optional
//! parts that a metric carries if its configuration asks for them ([`Parts`]). Readings that are texts are states
//! (`states`).
//!
//! The values, and everything that depends only on them, are a function of the multiset of readings: partials of the same
//! readings give the same aggregates, to the last bit, whatever the order and tree in which they were pushed and merged.
//! What depends on the order of the readings is exact while they are few, and where merged partials do not overlap in
//! time; for the rest see [`sequence`].
//!
//! The encoding is described in [`encoding`].

mod bins;
mod buckets;
mod codec;
mod collect;
mod counter;
mod distinct;
mod encoded_many;
mod encoding;
mod exact;
mod extent;
mod few_sum;
mod fixed;
mod many;
mod mapping;
mod moments;
mod numbers;
mod optional;
mod order;
mod parts;
mod powers;
mod rank;
mod run;
mod sequence;
mod sketch;
mod states;
mod statistics;
mod sum;
mod time_weight;
mod timed;
mod value_span;

use crate::time::Timestamp;
use exact::Untimed;
use extent::Extent;
use many::Many;
use states::States;
use timed::Timed;

pub use bins::MAX_BINS;
pub use buckets::Bucket;
pub use codec::DecodeError;
pub use collect::{Collector, Spares};
pub use encoding::ENCODING_VERSION;
pub use exact::EXACT_MAX;
pub use extent::Point;
pub use order::{CounterFigures, OrderFigures, SeriesOrder};
pub use parts::{Parts, PartsError};

/// Relative accuracy of quantiles of more than [`EXACT_MAX`] values: a fraction of the value at the rank.
pub const RELATIVE_ACCURACY: f64 = 0.01;
/// Longest text of a state, in bytes.
pub const STATE_BYTES_MAX: usize = 64;
/// Maximum number of different states of one series in one window; further ones count as [`OTHER_STATE`].
pub const STATES_MAX: usize = 32;
/// The state as which states beyond [`STATES_MAX`] count.
pub const OTHER_STATE: &str = "other";

/// Mergeable summary of one series' readings in one window.
///
/// Merging is commutative and associative with [`Partial::empty`] as neutral element, and every aggregate of the values
/// is equal, to the last bit, to that of a single pass over all readings. (Partials to be merged must ask for the same
/// optional parts.)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partial {
    values: Values,
    /// `None` exactly when there are no states.
    states: Option<Box<States>>,
    /// Optional parts to carry beyond [`EXACT_MAX`] readings.
    parts: Parts,
}

/// State of the values.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// At most [`EXACT_MAX`], or none.
    Timed(Timed),
    /// At most [`EXACT_MAX`], and at least one, whose times are not known: from partials of encoding version 1.
    Untimed(Box<Untimed>),
    /// More than [`EXACT_MAX`].
    Many(Box<Many>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Timed(Timed::default())
    }
}

impl Partial {
    /// The summary of no readings.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The summary of no readings, to carry these optional parts.
    #[must_use]
    pub fn with_parts(parts: Parts) -> Self {
        Self { parts, ..Self::default() }
    }

    /// The optional parts that it was asked to carry. Of a decoded partial, those that it carries: few readings carry
    /// none, whatever was asked for.
    #[must_use]
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Asks for optional parts, as [`Partial::with_parts`], of what was decoded.
    #[must_use]
    pub fn asking_for(self, parts: Parts) -> Self {
        Self { parts, ..self }
    }

    /// Adds a reading. The value must be finite; otherwise it is a bug of the caller: debug builds panic, release
    /// builds ignore the reading.
    #[inline]
    pub fn push(&mut self, time: Timestamp, value: f64) {
        debug_assert!(value.is_finite(), "a reading must be finite: {value}");
        if !value.is_finite() {
            return;
        }
        // Turn negative zero into zero.
        let point = Point { time, value: value + 0.0 };
        match &mut self.values {
            Values::Many(many) => many.push(point),
            Values::Timed(timed) => {
                if let Err(point) = timed.push(point)
                    && let Some(many) = self.make_many()
                {
                    many.push(point);
                }
            }
            Values::Untimed(untimed) => {
                if untimed.push(point).is_err()
                    && let Some(many) = self.make_many()
                {
                    many.push(point);
                }
            }
        }
    }

    /// Adds readings, with the same result as [`Partial::push`] for each. Several times as fast for many readings,
    /// never slower for few.
    pub fn push_run(&mut self, readings: impl IntoIterator<Item = (Timestamp, f64)>) {
        run::push(self, readings.into_iter());
    }

    /// Adds a reading that is a state: a text of 1 to [`STATE_BYTES_MAX`] bytes without control characters. Another text
    /// is a bug of the caller: debug builds panic, release builds ignore the reading.
    pub fn push_state(&mut self, time: Timestamp, state: &str) {
        self.add_state(time, state, true);
    }

    /// Adds the state of a reading that is a number too, such as a boolean, and is added with [`Partial::push`]. As
    /// [`Partial::push_state`]; but a reader that knows no states loses no reading.
    pub fn push_state_of_number(&mut self, time: Timestamp, state: &str) {
        self.add_state(time, state, false);
    }

    fn add_state(&mut self, time: Timestamp, state: &str, alone: bool) {
        debug_assert!(Self::is_state(state), "not a state: {state:?}");
        if Self::is_state(state) {
            let distinct = self.parts.contains(Parts::DISTINCT);
            self.states.get_or_insert_with(|| Box::new(States::new(distinct))).push(time, state, alone);
        }
    }

    /// Whether a text may be a state: 1 to [`STATE_BYTES_MAX`] bytes, no control characters.
    #[must_use]
    pub fn is_state(text: &str) -> bool {
        states::is_state(text)
    }

    /// Adds all readings of another partial of the same series.
    pub fn merge(&mut self, other: &Self) {
        self.merge_values(other);
        match (&mut self.states, &other.states) {
            (_, None) => {}
            (Some(states), Some(other)) => states.merge(other),
            (states, Some(_)) => states.clone_from(&other.states),
        }
    }

    /// Adds all readings of another partial, perhaps of another series: afterwards nothing is known of their order, but
    /// for the first and last number. See [`SeriesOrder`] for what depends on it. Only the parts that this partial asks
    /// for are kept.
    pub fn merge_across_series(&mut self, other: &Self) {
        let asked = self.parts;
        self.merge_values(other);
        self.parts = asked;
        if let Values::Many(many) = &mut self.values {
            many.keep_unordered(asked);
        }
        if let Some(other) = &other.states {
            let new = || Box::new(States::unordered(asked.contains(Parts::DISTINCT)));
            self.states.get_or_insert_with(new).merge_across_series(other);
        }
    }

    fn merge_values(&mut self, other: &Self) {
        self.parts = self.parts.with(other.parts);
        match (&mut self.values, &other.values) {
            (Values::Timed(own), Values::Timed(few))
                if own.points().len() + few.points().len() <= EXACT_MAX =>
            {
                own.extend(few.points());
            }
            (Values::Timed(own), values) if own.points().is_empty() => {
                self.values = values.clone();
            }
            (_, Values::Timed(few)) => {
                if few.points().is_empty() {
                    return;
                }
                if let Values::Many(many) = &mut self.values {
                    few.points().iter().for_each(|point| many.extent.push(*point));
                    return many.push_few(few.values(), Some(few.points()));
                }
                self.merge_untimed(few.extent(), few.values().collect(), Some(few.points()));
            }
            (_, Values::Untimed(few)) => {
                self.merge_untimed(Some(few.extent), few.values.values().to_vec(), None);
            }
            (_, Values::Many(other)) => {
                if let Some(many) = self.make_many() {
                    many.merge(other);
                }
            }
        }
    }

    /// Adds few readings where the sum may still be few, but the times of all are not known.
    fn merge_untimed(&mut self, extent: Option<Extent>, values: Vec<f64>, points: Option<&[Point]>) {
        let Some(extent) = extent else { return };
        if self.count() + values.len() as u64 > EXACT_MAX as u64 {
            if let Some(many) = self.make_many() {
                many.extent.merge(&extent);
                many.push_few(values.into_iter(), points);
            }
            return;
        }
        if let Values::Timed(timed) = &self.values
            && let Some(extent) = timed.extent()
        {
            self.values = Values::Untimed(Box::new(Untimed::new(extent, timed.values())));
        }
        if let Values::Untimed(own) = &mut self.values {
            own.extent.merge(&extent);
            own.values.extend(&values);
        }
    }

    /// Turns few readings into the summary of many; `None` if there are none.
    fn make_many(&mut self) -> Option<&mut Many> {
        let many = match &self.values {
            Values::Many(_) => None,
            Values::Timed(timed) => {
                let mut many = Many::new(timed.extent()?, self.parts);
                many.push_few(timed.values(), Some(timed.points()));
                Some(many)
            }
            Values::Untimed(untimed) => {
                let mut many = Many::new(untimed.extent, self.parts);
                many.push_few(untimed.values.values().iter().copied(), None);
                Some(many)
            }
        };
        if let Some(many) = many {
            self.values = Values::Many(Box::new(many));
        }
        match &mut self.values {
            Values::Many(many) => Some(many),
            _ => None,
        }
    }

    /// Removes all readings, and keeps memory for few and what was asked for.
    pub fn clear(&mut self) {
        match &mut self.values {
            Values::Timed(timed) => timed.clear(),
            values => *values = Values::default(),
        }
        self.states = None;
    }

    /// Whether there are no readings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0 && self.states.is_none()
    }

    /// The reading with the least value; of several, the earliest.
    #[must_use]
    pub fn min(&self) -> Option<Point> {
        self.extent().map(|extent| extent.min)
    }

    /// The reading with the greatest value; of several, the earliest.
    #[must_use]
    pub fn max(&self) -> Option<Point> {
        self.extent().map(|extent| extent.max)
    }

    /// The earliest number; of several at the same time, the smallest.
    #[must_use]
    pub fn first(&self) -> Option<Point> {
        self.extent().map(|extent| extent.first)
    }

    /// The latest number; of several at the same time, the largest.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.extent().map(|extent| extent.last)
    }

    fn extent(&self) -> Option<Extent> {
        match &self.values {
            Values::Timed(timed) => timed.extent(),
            Values::Untimed(untimed) => Some(untimed.extent),
            Values::Many(many) => Some(many.extent),
        }
    }

    /// Bytes of memory in use, on the heap and inline, without the allocator's overhead.
    #[must_use]
    pub fn memory(&self) -> usize {
        let values = match &self.values {
            Values::Timed(timed) => timed.heap(),
            Values::Untimed(untimed) => size_of::<Untimed>() + untimed.values.heap(),
            Values::Many(many) => size_of::<Many>() + many.heap(),
        };
        let states = self.states.as_ref().map_or(0, |states| size_of::<States>() + states.heap());
        size_of::<Self>() + values + states
    }
}

#[cfg(test)]
mod tests;
