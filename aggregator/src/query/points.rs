//! Merges rows into points: of several series, or of one alone, whose points are complete one after the other.
//!
//! Rows of a series come in order of time, so the present point is kept at hand; it is looked up only when a row leaves
//! it. The memory of a point is counted when it is left.

use catchment_partial::{DecodeError, OrderFigures, Parts, Timestamp, Width, Window};

use super::{
    aggregate::Figures,
    follow::{Followed, Follower},
    plan::Needs,
    range::Range,
};
use crate::store::Steps;

/// Approximate memory of a point, without its partial.
const POINT_BYTES: usize = 64;

/// A stored window that does not fit into the points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WidthMismatch {
    /// The step is not a multiple of the width.
    #[error(
        "step of {step_ms} ms is not a multiple of the stored window width: selected windows are {width_ms} ms wide; use a multiple of {width_ms} ms, or no step"
    )]
    Step {
        /// The requested step.
        step_ms: i64,
        /// The stored width.
        width_ms: u32,
    },
    /// A calendar step begins within a window.
    #[error(
        "a calendar step begins {within_ms} ms after the start of a stored window of {width_ms} ms, which belongs to no single step: use a step that is a multiple of {width_ms} ms, or a time zone whose days begin with a window"
    )]
    Calendar {
        /// The stored width.
        width_ms: u32,
        /// How far within the window the step begins.
        within_ms: i64,
    },
}

/// Why a row was not merged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    /// The query cannot be answered.
    #[error(transparent)]
    Width(#[from] WidthMismatch),
    /// Only this row is lost.
    #[error(transparent)]
    Damaged(#[from] DecodeError),
}

/// Collects rows of series, one series after the other, each in order of the start of its windows.
pub(super) trait Collect {
    /// Merges a row: its window and its encoded partial. Rows from [`Collect::to`] on are left out.
    fn push(&mut self, window: Window, body: &[u8]) -> Result<(), RowError>;

    /// The present series has no more rows.
    fn end_series(&mut self);

    /// Rows from here on are left for later: it only ever moves back.
    fn to(&self) -> Timestamp;

    /// Approximate memory, bytes.
    fn bytes(&self) -> usize;
}

/// The point that rows are merged into now: those of windows of this width that start in this span and end in the point.
#[derive(Clone, Copy, Debug)]
struct Current {
    start_ms: i64,
    from: Timestamp,
    to: Timestamp,
    width: Width,
}

impl Current {
    fn of(range: &Range, window: Window) -> Result<Self, WidthMismatch> {
        let (width, window_ms) = (window.width(), window.start().as_millis());
        let (width_ms, start_ms) = (width.as_millis(), range.point(window_ms));
        let (from, to) = match &range.steps {
            Steps::Whole => (Timestamp::MIN, Timestamp::MAX),
            Steps::Every(step_ms) if step_ms % i64::from(width_ms) != 0 => {
                return Err(WidthMismatch::Step { step_ms: *step_ms, width_ms });
            }
            steps => {
                let end = steps.end_of(window_ms).and_then(Timestamp::from_millis).unwrap_or(Timestamp::MAX);
                if window.end() > end {
                    let within_ms = end.as_millis().saturating_sub(window_ms);
                    return Err(WidthMismatch::Calendar { width_ms, within_ms });
                }
                // Later windows do not fit.
                let to = end.saturating_sub_nanos(width.as_nanos() - 1);
                (Timestamp::from_millis(start_ms).unwrap_or(Timestamp::MIN), to)
            }
        };
        Ok(Self { start_ms, from, to, width })
    }

    #[inline]
    fn holds(&self, window: Window) -> bool {
        let start = window.start();
        window.width() == self.width && self.from <= start && start < self.to
    }
}

/// The present point of [`Points`].
#[derive(Clone, Copy, Debug)]
struct Present {
    point: Current,
    /// Its place in `starts`, and that of its figures.
    place: usize,
    at: usize,
    /// The memory with which its partial was counted.
    counted: usize,
}

/// The points of several series, merged.
#[derive(Debug)]
pub(super) struct Points {
    range: Range,
    /// Optional parts that the merged partials keep.
    parts: Parts,
    /// `None`: nothing that was requested depends on the order of readings.
    follower: Option<Follower>,
    /// Starts of the points in order, each with the place of its figures.
    starts: Vec<(i64, usize)>,
    figures: Vec<Figures>,
    present: Option<Present>,
    to: Timestamp,
    /// Points that are kept if there are more than twice as many.
    most: usize,
    bytes: usize,
}

impl Points {
    /// No points yet, of rows before `to`, of a query over this range; at most twice `most` points.
    pub(super) fn new(range: Range, to: Timestamp, needs: &Needs, most: usize) -> Self {
        let follower = needs.order_bounds.clone().map(|bounds| Follower::new(range.clone(), bounds));
        Self {
            range,
            parts: needs.parts,
            follower,
            starts: Vec::new(),
            figures: Vec::new(),
            present: None,
            to,
            most: most.max(1),
            bytes: 0,
        }
    }

    /// Makes the point of a window the present one; false if that lies beyond the end.
    #[cold]
    fn enter(&mut self, window: Window) -> Result<bool, WidthMismatch> {
        let near = self.present.map_or(0, |present| present.place);
        self.leave();
        let point = Current::of(&self.range, window)?;
        let place = self.place(point.start_ms, near);
        let (at, counted) = match self.starts.get(place) {
            Some((start_ms, at)) if *start_ms == point.start_ms => {
                (*at, self.figures.get(*at).map_or(0, |figures| figures.partial.memory()))
            }
            _ => {
                if self.starts.len() >= 2 * self.most {
                    self.cut();
                    if window.start() >= self.to {
                        return Ok(false);
                    }
                }
                let at = self.figures.len();
                self.figures.push(Figures::new(self.parts));
                self.starts.insert(place, (point.start_ms, at));
                self.bytes += POINT_BYTES;
                (at, 0)
            }
        };
        self.present = Some(Present { point, place, at, counted });
        Ok(true)
    }

    /// Number of points before a start; most likely it is the next one after `near`.
    fn place(&self, start_ms: i64, near: usize) -> usize {
        let next = near + 1;
        match (self.starts.get(near), self.starts.get(next)) {
            (_, Some((start, _))) if *start == start_ms => next,
            (Some((start, _)), None) if *start < start_ms => next,
            _ => self.starts.partition_point(|(start, _)| *start < start_ms),
        }
    }

    fn leave(&mut self) {
        if let Some(Present { at, counted, .. }) = self.present.take() {
            let memory = self.figures.get(at).map_or(0, |figures| figures.partial.memory());
            self.bytes = (self.bytes + memory).saturating_sub(counted);
        }
    }

    /// Leaves the later points for another time.
    fn cut(&mut self) {
        let cut = self.starts.split_off(self.most.min(self.starts.len()));
        if let Some((start_ms, _)) = cut.first() {
            self.to = Timestamp::from_millis(*start_ms).unwrap_or(self.to).min(self.to);
        }
        for (_, at) in cut {
            if let Some(figures) = self.figures.get_mut(at) {
                let order = figures.order.as_ref().map_or(0, OrderFigures::memory);
                let freed = POINT_BYTES + figures.partial.memory() + order;
                self.bytes = self.bytes.saturating_sub(freed);
                *figures = Figures::default();
            }
        }
    }

    /// Leaves rows from this time on for later.
    pub(super) fn cut_at(&mut self, to: Timestamp) {
        self.to = self.to.min(to);
        let to_ms = self.to.as_millis();
        self.starts.truncate(self.starts.partition_point(|(start_ms, _)| *start_ms < to_ms));
    }

    /// Adds the figures of one series in one point to those of the other series there.
    fn add_order(&mut self, (start_ms, figures): Followed) {
        let Ok(place) = self.starts.binary_search_by_key(&start_ms, |(start_ms, _)| *start_ms) else {
            return;
        };
        let at = self.starts.get(place).map(|(_, at)| *at);
        let Some(point) = at.and_then(|at| self.figures.get_mut(at)) else { return };
        let before = point.order.as_ref().map_or(0, OrderFigures::memory);
        let order = match &mut point.order {
            Some(order) => {
                order.merge(&figures);
                order
            }
            none => none.insert(figures),
        };
        self.bytes = (self.bytes + order.memory()).saturating_sub(before);
    }

    /// Merges a point of other series of the same query.
    pub(super) fn merge_point(&mut self, start_ms: i64, figures: Figures) {
        let place = self.starts.partition_point(|(start, _)| *start < start_ms);
        match self.starts.get(place) {
            Some((start, at)) if *start == start_ms => {
                let Some(own) = self.figures.get_mut(*at) else { return };
                let before = own.partial.memory();
                own.partial.merge_across_series(&figures.partial);
                self.bytes = (self.bytes + own.partial.memory()).saturating_sub(before);
            }
            _ => {
                self.bytes += POINT_BYTES + figures.partial.memory();
                self.starts.insert(place, (start_ms, self.figures.len()));
                self.figures.push(figures);
            }
        }
    }

    /// Starts of the points and their figures, in order of time; points without readings are omitted.
    pub(super) fn into_points(self) -> impl Iterator<Item = (i64, Figures)> {
        let Self { starts, mut figures, .. } = self;
        let taken = starts.into_iter().filter_map(move |(start_ms, at)| {
            figures.get_mut(at).map(|figures| (start_ms, std::mem::take(figures)))
        });
        taken.filter(|(_, figures)| is_read(figures))
    }
}

/// Whether a point has readings.
fn is_read(figures: &Figures) -> bool {
    figures.partial.count() > 0 || figures.partial.state_count() > 0
}

impl Collect for Points {
    #[inline]
    fn push(&mut self, window: Window, body: &[u8]) -> Result<(), RowError> {
        if window.start() >= self.to {
            return Ok(());
        }
        let holds = self.present.is_some_and(|present| present.point.holds(window));
        if !holds && !self.enter(window)? {
            return Ok(());
        }
        let Some(Present { point, at, .. }) = self.present else { return Ok(()) };
        let Some(figures) = self.figures.get_mut(at) else { return Ok(()) };
        let Some(follower) = &mut self.follower else {
            // Faster than to decode it first.
            return Ok(figures.partial.merge_encoded_across_series(body, window.start())?);
        };
        let partial = catchment_partial::Partial::decode(body, window.start())?;
        let left = follower.push(point.start_ms, window, &partial);
        figures.partial.merge_across_series(&partial);
        if let Some(left) = left {
            self.add_order(left);
        }
        Ok(())
    }

    fn end_series(&mut self) {
        self.leave();
        if let Some(left) = self.follower.as_mut().and_then(Follower::end_series) {
            self.add_order(left);
        }
    }

    fn to(&self) -> Timestamp {
        self.to
    }

    fn bytes(&self) -> usize {
        let grown = self.present.and_then(|present| {
            Some(self.figures.get(present.at)?.partial.memory().saturating_sub(present.counted))
        });
        self.bytes + grown.unwrap_or(0) + self.follower.as_ref().map_or(0, Follower::bytes)
    }
}

/// The points of one series, of which nothing depends on the order of its readings: each is emitted when it is complete.
pub(super) struct OneSeries<E> {
    range: Range,
    figures: Figures,
    current: Option<Current>,
    to: Timestamp,
    /// Whether another point may be emitted.
    room: bool,
    emit: E,
}

impl<E: FnMut(i64, &Figures) -> bool> OneSeries<E> {
    /// No points yet, of rows before `to`, of a query over this range. `emit` takes a point, and returns whether there is
    /// room for another.
    pub(super) fn new(range: Range, to: Timestamp, needs: &Needs, emit: E) -> Self {
        Self { range, figures: Figures::new(needs.parts), current: None, to, room: true, emit }
    }

    #[inline]
    fn leave(&mut self) {
        if let Some(point) = self.current.take()
            && is_read(&self.figures)
        {
            self.room = (self.emit)(point.start_ms, &self.figures);
            self.figures.partial.clear();
        }
    }
}

impl<E: FnMut(i64, &Figures) -> bool> Collect for OneSeries<E> {
    #[inline]
    fn push(&mut self, window: Window, body: &[u8]) -> Result<(), RowError> {
        let start = window.start();
        if start >= self.to {
            return Ok(());
        }
        let point = match &self.current {
            Some(point) if point.holds(window) => *point,
            _ => Current::of(&self.range, window)?,
        };
        if self.current.is_some_and(|current| current.start_ms != point.start_ms) {
            self.leave();
            if !self.room {
                self.to = point.from;
                return Ok(());
            }
        }
        self.current = Some(point);
        Ok(self.figures.partial.merge_encoded_across_series(body, start)?)
    }

    fn end_series(&mut self) {
        self.leave();
    }

    fn to(&self) -> Timestamp {
        self.to
    }

    fn bytes(&self) -> usize {
        self.figures.partial.memory()
    }
}

#[cfg(test)]
mod tests;
