//! The readings of one series in order of time: the latest as they are, earlier ones summarised.
//!
//! A summary of a stretch of time ([`Span`]) can be extended by what comes later, but not by what lies within it. So a
//! sequence keeps the latest [`READINGS_MAX`] readings as they are: a reading that arrives out of order finds its place
//! among them. Only what is older is absorbed into a span; what is older still begins another one. A reading that lies
//! within a span came too late: then the order is not known, and nothing that depends on it.
//!
//! Merging takes both sides' readings and spans together, whatever their order, and evaluates nothing: so it is
//! commutative and associative. What they amount to is computed when it is asked for ([`Sequence::total`]), in order of
//! time. Pieces that do not overlap give the exact result. A single reading within a span counts for itself: the steps to
//! and from it are unknown and count as none. Spans that overlap give none.
//!
//! A merged sequence of more than [`MERGED_MAX`] readings or [`SPANS_MAX`] spans is unknown. The numbers only add up, so
//! this does not depend on the order of merges either.

use std::cmp::Ordering;

use super::extent::Unit;
use crate::time::Timestamp;

/// Readings that are kept as they are when readings are added one by one.
pub(super) const READINGS_MAX: usize = super::EXACT_MAX;
/// Readings of a merged sequence.
pub(super) const MERGED_MAX: usize = 16 * READINGS_MAX;
/// Spans of a merged sequence.
pub(super) const SPANS_MAX: usize = 16;

/// Most readings and spans of a merged sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct MergeBounds {
    pub(super) readings: usize,
    pub(super) spans: usize,
}

impl MergeBounds {
    /// Of a partial.
    pub(super) const PARTIAL: Self = Self { readings: MERGED_MAX, spans: SPANS_MAX };
    /// Of all partials of one series in one window, which are taken together for an answer.
    pub(super) const WINDOW: Self = Self { readings: 65_536, spans: 4_096 };
}

/// What readings in an interval of time amount to.
pub(super) trait Span: Clone + PartialEq {
    type Value: Clone + PartialEq;

    /// That of one reading.
    fn of(time: Timestamp, value: Self::Value) -> Self;
    /// Adds what comes next: its first reading is not before the last one here.
    fn append(&mut self, next: &Self);
    /// Adds the next reading, with the same result as [`Span::append`].
    fn append_reading(&mut self, time: Timestamp, value: Self::Value) {
        self.append(&Self::of(time, value));
    }
    /// Adds what lies beside: the step from one to the other is unknown.
    fn beside(&mut self, other: &Self);
    /// Number of readings; saturates.
    fn count(&self) -> u64;
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

/// Spans overlap, so what happened in which order is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tangled;

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
    /// Removes everything, and keeps memory.
    pub(super) fn clear(&mut self) {
        self.readings.clear();
        self.spans.clear();
    }

    /// Adds a reading; beyond [`READINGS_MAX`], the earliest goes into a span. Returns whether all of them are still known
    /// in their order: a reading that lies within a span came too late.
    #[must_use]
    pub(super) fn push(&mut self, time: Timestamp, value: S::Value) -> bool {
        let reading = (time, value);
        let place = self.readings.partition_point(|other| order_readings::<S>(other, &reading).is_le());
        self.readings.insert(place, reading);
        if self.readings.len() <= READINGS_MAX {
            return true;
        }
        let (time, value) = self.readings.remove(0);
        Self::absorb(&mut self.spans, time, value)
    }

    /// Adds readings that are in order, with the same result as [`Sequence::push`] for each, but what is at hand is moved
    /// only once.
    #[must_use]
    pub(super) fn push_ordered(
        &mut self,
        readings: impl Iterator<Item = (Timestamp, S::Value)> + Clone,
    ) -> bool {
        let last = self.readings.last();
        let follows =
            last.zip(readings.clone().next().as_ref()).is_none_or(|(a, b)| order_readings::<S>(a, b).is_le());
        if !follows {
            return readings.into_iter().all(|(time, value)| self.push(time, value));
        }
        let kept = self.readings.len().max(READINGS_MAX);
        self.readings.extend(readings);
        let excess = self.readings.len().saturating_sub(kept);
        let Self { readings, spans } = self;
        readings.drain(..excess).all(|(time, value)| Self::absorb(spans, time, value))
    }

    /// Adds a reading that is before all others to the span after which it comes, or as a span of its own: what lies
    /// between it and the next span may still come. Returns false if it lies within a span.
    fn absorb(spans: &mut Vec<S>, time: Timestamp, value: S::Value) -> bool {
        if let Some(span) = spans.iter_mut().rfind(|span| span.ends().0 <= time) {
            let is_next = span.ends().1 <= time;
            if is_next {
                span.append_reading(time, value);
            }
            return is_next;
        }
        spans.insert(0, S::of(time, value));
        if spans.len() > SPANS_MAX
            && let Some(last) = spans.pop()
            && let Some(before) = spans.last_mut()
        {
            before.add(&last);
        }
        true
    }

    /// Takes together both sides' readings and spans. Returns whether they are within the bounds; otherwise it is
    /// unknown.
    #[must_use]
    pub(super) fn merge(&mut self, other: &Self, bounds: MergeBounds) -> bool {
        let spans = self.spans.len() + other.spans.len();
        if self.readings.len() + other.readings.len() > bounds.readings || spans > bounds.spans {
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

    /// As [`Sequence::merge`], but where the other one is later as a whole, what came before is summarised first, so that
    /// the bounds are not reached.
    #[must_use]
    pub(super) fn append(&mut self, later: &Self) -> bool {
        let follows = self.ends().zip(later.ends()).is_some_and(|(own, later)| own.1 <= later.0);
        let Some(span) = later.spans.first().filter(|_| follows) else {
            return match follows {
                true => self.push_ordered(later.readings.iter().cloned()),
                false => self.merge(later, MergeBounds::PARTIAL),
            };
        };
        let spans_first = later.readings.first().is_none_or(|(time, _)| span.ends().1 <= *time);
        let Some(mut total) = self.total(None).ok().flatten().filter(|_| spans_first) else {
            return self.merge(later, MergeBounds::PARTIAL);
        };
        total.append(span);
        self.spans.clear();
        self.spans.push(total);
        self.spans.extend_from_slice(later.spans.get(1..).unwrap_or_default());
        self.readings.clone_from(&later.readings);
        true
    }

    /// What all of it amounts to, after `before`. A single reading within a span counts for itself: the steps to and from
    /// it count as none.
    ///
    /// # Errors
    /// [`Tangled`]: spans of several readings overlap.
    pub(super) fn total(&self, mut before: Option<S>) -> Result<Option<S>, Tangled> {
        let (mut readings, mut is_known) = (self.readings.iter().peekable(), true);
        for span in &self.spans {
            while let Some((time, value)) = readings.next_if(|(time, _)| *time < span.ends().0) {
                Self::add_reading(&mut before, *time, value.clone());
            }
            match &mut before {
                Some(total) => {
                    let (start, end) = span.ends();
                    is_known &= total.ends().1 <= start || start == end;
                    total.add(span);
                }
                None => before = Some(span.clone()),
            }
        }
        readings.for_each(|(time, value)| Self::add_reading(&mut before, *time, value.clone()));
        if is_known { Ok(before) } else { Err(Tangled) }
    }

    fn add_reading(total: &mut Option<S>, time: Timestamp, value: S::Value) {
        match total {
            Some(total) if total.ends().1 <= time => total.append_reading(time, value),
            Some(total) => total.beside(&S::of(time, value)),
            None => *total = Some(S::of(time, value)),
        }
    }

    /// Number of readings; saturates.
    pub(super) fn count(&self) -> u64 {
        self.spans.iter().fold(self.readings.len() as u64, |sum, span| sum.saturating_add(span.count()))
    }

    /// The coarsest unit in which all its times are whole relative to `base`.
    pub(super) fn unit(&self, base: Timestamp) -> Unit {
        let ends = self.spans.iter().map(Span::ends).flat_map(|(first, last)| [first, last]);
        Unit::of(base, self.readings.iter().map(|(time, _)| *time).chain(ends))
    }

    /// Times of the first and last reading.
    pub(super) fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        let readings = self.readings.first().zip(self.readings.last());
        let readings = readings.map(|(first, last)| (first.0, last.0));
        let all = self.spans.iter().map(Span::ends).chain(readings);
        all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
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
