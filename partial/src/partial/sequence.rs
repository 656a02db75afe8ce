//! The readings of one series in order of time: the latest as they are, earlier ones summarised.
//!
//! A summary of a stretch of time ([`Span`]) can be extended by what comes later, but not by what lies within it. So a
//! sequence keeps the latest [`READINGS_MAX`] readings as they are: a reading that arrives out of order finds its place
//! among them. Only what is older is absorbed into a span.
//!
//! Merging takes both sides' readings and spans together, whatever their order, and evaluates nothing: so it is
//! commutative and associative. What they amount to is computed when it is asked for ([`Sequence::total`]), in order of
//! time. Pieces that do not overlap give the exact result. A piece that begins before the end of those before it counts
//! for itself: the step that leads to it is unknown and counts as none.
//!
//! A merged sequence of more than [`MERGED_MAX`] readings or [`SPANS_MAX`] spans is unknown. The numbers only add up, so
//! this does not depend on the order of merges either.

use std::cmp::Ordering;

use crate::time::Timestamp;

/// Readings that are kept as they are when readings are added one by one.
pub(super) const READINGS_MAX: usize = super::EXACT_MAX;
/// Readings of a merged sequence.
pub(super) const MERGED_MAX: usize = 16 * READINGS_MAX;
/// Spans of a merged sequence.
pub(super) const SPANS_MAX: usize = 16;

/// What readings in an interval of time amount to.
pub(super) trait Span: Clone + PartialEq {
    type Value: Clone + PartialEq;

    /// That of one reading.
    fn of(time: Timestamp, value: Self::Value) -> Self;
    /// Adds what comes next: its first reading is not before the last one here.
    fn append(&mut self, next: &Self);
    /// Adds what lies beside: the step from one to the other is unknown.
    fn beside(&mut self, other: &Self);
    /// Times of the first and last reading.
    fn ends(&self) -> (Timestamp, Timestamp);
    /// Total order of values, for readings at the same time.
    fn order(a: &Self::Value, b: &Self::Value) -> Ordering;
    /// Total order of spans with the same ends.
    fn order_spans(&self, other: &Self) -> Ordering;

    /// Adds a piece, next or beside.
    fn add(&mut self, piece: &Self) {
        if self.ends().1 <= piece.ends().0 { self.append(piece) } else { self.beside(piece) }
    }
}

/// Readings of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sequence<S: Span> {
    /// In order of time, then of value.
    pub(super) readings: Vec<(Timestamp, S::Value)>,
    /// In order of their ends.
    pub(super) spans: Vec<S>,
}

impl<S: Span> Default for Sequence<S> {
    fn default() -> Self {
        Self { readings: Vec::new(), spans: Vec::new() }
    }
}

fn order_readings<S: Span>(a: &(Timestamp, S::Value), b: &(Timestamp, S::Value)) -> Ordering {
    a.0.cmp(&b.0).then_with(|| S::order(&a.1, &b.1))
}

fn order_spans<S: Span>(a: &S, b: &S) -> Ordering {
    a.ends().cmp(&b.ends()).then_with(|| a.order_spans(b))
}

impl<S: Span> Sequence<S> {
    /// Adds a reading; beyond [`READINGS_MAX`], the earliest goes into the span.
    pub(super) fn push(&mut self, time: Timestamp, value: S::Value) {
        let reading = (time, value);
        let place = self.readings.partition_point(|other| order_readings::<S>(other, &reading).is_le());
        self.readings.insert(place, reading);
        if self.readings.len() > READINGS_MAX {
            let (time, value) = self.readings.remove(0);
            self.absorb(S::of(time, value));
        }
    }

    /// Adds a reading that is before all others to the span before which or after which it comes.
    fn absorb(&mut self, mut reading: S) {
        let time = reading.ends().0;
        if let Some(before) = self.spans.iter_mut().rfind(|span| span.ends().1 <= time) {
            return before.append(&reading);
        }
        match self.spans.first_mut() {
            Some(first) if time < first.ends().0 => {
                reading.append(first);
                *first = reading;
            }
            Some(first) => first.beside(&reading),
            None => self.spans.push(reading),
        }
    }

    /// Takes together both sides' readings and spans. Returns whether they are within the bounds; otherwise it is
    /// unknown.
    #[must_use]
    pub(super) fn merge(&mut self, other: &Self, readings_max: usize) -> bool {
        let spans = self.spans.len() + other.spans.len();
        if self.readings.len() + other.readings.len() > readings_max || spans > SPANS_MAX {
            return false;
        }
        let in_order = self.readings.last().zip(other.readings.first());
        let in_order = in_order.is_none_or(|(a, b)| order_readings::<S>(a, b).is_le());
        self.readings.extend_from_slice(&other.readings);
        if !in_order {
            self.readings.sort_by(order_readings::<S>);
        }
        self.spans.extend_from_slice(&other.spans);
        self.spans.sort_by(order_spans);
        true
    }

    /// What all of it amounts to, after `before`.
    pub(super) fn total(&self, mut before: Option<S>) -> Option<S> {
        let mut add = |piece: &S| match &mut before {
            Some(total) => total.add(piece),
            None => before = Some(piece.clone()),
        };
        let mut readings = self.readings.iter().peekable();
        for span in &self.spans {
            while let Some((time, value)) = readings.next_if(|(time, _)| *time < span.ends().0) {
                add(&S::of(*time, value.clone()));
            }
            add(span);
        }
        readings.for_each(|(time, value)| add(&S::of(*time, value.clone())));
        before
    }

    /// Whether its readings and spans are in order and within the bounds.
    pub(super) fn is_possible(&self) -> bool {
        let sorted = self.readings.is_sorted_by(|a, b| order_readings::<S>(a, b).is_le());
        sorted
            && self.spans.is_sorted_by(|a, b| order_spans(a, b).is_le())
            && self.readings.len() <= MERGED_MAX
            && self.spans.len() <= SPANS_MAX
    }
}
