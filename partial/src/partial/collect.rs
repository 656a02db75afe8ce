//! Merges encoded partials of one series window by window, as a store does that makes hours of seconds: readings of several
//! windows are added together, and memory is used again.

use super::encoding;
use super::extent::Point;
use super::many::Many;
use super::{DecodeError, EXACT_MAX, Partial, Parts, Values, run, timed};
use crate::time::Timestamp;

/// Readings that are added to a summary together.
const POINTS_MAX: usize = 8 * EXACT_MAX;
/// Summaries whose memory is kept.
const SPARES_MAX: usize = 8;

/// Memory of partials that are no longer used, for further ones.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a partial takes the box as it is")]
pub struct Spares(Vec<Box<Many>>);

impl Spares {
    /// Takes the memory of a partial.
    pub fn put(&mut self, partial: Partial) {
        if let Values::Many(many) = partial.values
            && self.0.len() < SPARES_MAX
        {
            self.0.push(many);
        }
    }

    /// The summary of no values yet.
    fn take(&mut self, first: Point, parts: Parts) -> Box<Many> {
        match self.0.pop() {
            Some(mut many) => {
                many.reset(first, parts);
                many
            }
            None => Box::new(Many::new(super::Extent::of(first), parts)),
        }
    }

    fn copy(&mut self, other: &Many) -> Box<Many> {
        match self.0.pop() {
            Some(mut many) => {
                many.copy_from(other);
                many
            }
            None => Box::new(other.clone()),
        }
    }
}

/// Merges encoded partials of one series into one.
#[derive(Debug, Default)]
pub struct Collector {
    /// Readings that are not added yet.
    points: Vec<Point>,
    merged: Partial,
    asked: Parts,
}

impl Collector {
    /// Of no partials yet; the result carries these optional parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { points: Vec::new(), merged: Partial::with_parts(parts), asked: parts }
    }

    /// As [`Partial::append`] with what [`Partial::decode`] makes of these bytes; but the optional parts that were asked
    /// for are kept of few readings too. On an error nothing is added.
    ///
    /// # Errors
    ///
    /// Exactly those of [`Partial::decode`].
    pub fn push(&mut self, bytes: &[u8], base: Timestamp, spares: &mut Spares) -> Result<(), DecodeError> {
        if encoding::read_few(bytes, base, &mut self.points)? {
            if self.points.len() > POINTS_MAX - EXACT_MAX {
                self.add_points(spares);
            }
            return Ok(());
        }
        self.add_points(spares);
        if !self.merged.add_encoded(bytes, base, Parts::ALL)? {
            self.merged.append(&Partial::decode(bytes, base)?, spares);
        }
        Ok(())
    }

    /// What was merged.
    pub fn merged(&mut self, spares: &mut Spares) -> &Partial {
        self.add_points(spares);
        &self.merged
    }

    /// Takes what was merged, and begins anew.
    pub fn take(&mut self, spares: &mut Spares) -> Partial {
        self.add_points(spares);
        std::mem::replace(&mut self.merged, Partial::with_parts(self.asked))
    }

    /// Begins anew.
    pub fn clear(&mut self, spares: &mut Spares) {
        self.points.clear();
        match &mut self.merged.values {
            Values::Timed(_) => self.merged.clear(),
            _ => spares.put(std::mem::take(&mut self.merged)),
        }
        self.merged.parts = self.asked;
    }

    fn add_points(&mut self, spares: &mut Spares) {
        // Windows of several parts overlap.
        timed::put_in_order(&mut self.points);
        self.merged.push_points(&self.points, spares);
        self.points.clear();
    }
}

impl Partial {
    /// As [`Partial::merge`], for partials in order of time: where all readings of the other one are later, what came
    /// before is summarised, so that what depends on the order stays known, however many partials follow.
    pub fn append(&mut self, later: &Self, spares: &mut Spares) {
        let parts = self.parts;
        match (&mut self.values, &later.values) {
            (_, Values::Timed(few)) => self.push_points(few.points(), spares),
            (Values::Timed(own), Values::Many(other)) if own.points().is_empty() => {
                self.values = Values::Many(spares.copy(other));
            }
            (_, Values::Many(other)) => {
                self.begin_many(spares);
                if let Some(many) = self.make_many() {
                    many.append(other);
                }
            }
            (_, Values::Untimed(_)) => self.merge_values(later),
        }
        self.parts = parts.with(later.parts);
        match (&mut self.states, &later.states) {
            (_, None) => {}
            (Some(states), Some(later)) => states.append(later),
            (states, Some(_)) => states.clone_from(&later.states),
        }
    }

    /// Adds readings in order of time, then of value.
    fn push_points(&mut self, points: &[Point], spares: &mut Spares) {
        match (&mut self.values, points.first()) {
            (Values::Timed(timed), _) if timed.points().len() + points.len() <= EXACT_MAX => {
                return timed.extend(points);
            }
            (Values::Timed(timed), Some(first)) if timed.points().is_empty() => {
                self.values = Values::Many(spares.take(*first, self.parts));
            }
            _ => self.begin_many(spares),
        }
        run::push_ordered(self, points);
    }

    /// Makes few readings, if there are any, a summary.
    fn begin_many(&mut self, spares: &mut Spares) {
        if let Values::Timed(timed) = &mut self.values
            && let Some(first) = timed.points().first()
        {
            let many = Values::Many(spares.take(*first, self.parts));
            if let Values::Timed(few) = std::mem::replace(&mut self.values, many) {
                run::push_ordered(self, few.points());
            }
        }
    }
}
