//! Follows one series after the other through the points of a group, for what depends on the order of readings.

use catchment_partial::{OrderFigures, Partial, SeriesOrder, Timestamp, Width, Window};

use super::range::Range;

/// The order-dependent figures of the present series in its present point.
#[derive(Debug)]
pub(super) struct Follower {
    /// The whole range of the query.
    range: Range,
    /// Bounds of the requested times above and below.
    bounds: Vec<f64>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    /// Start of the point.
    point_ms: i64,
    order: SeriesOrder,
    /// Width of the last window, and the span of all windows of the point.
    width: Width,
    span: (Timestamp, Timestamp),
}

/// A point that a series has left, and its figures there.
pub(super) type Followed = (i64, OrderFigures);

impl Follower {
    /// No series yet.
    pub(super) fn new(range: Range, bounds: Vec<f64>) -> Self {
        Self { range, bounds, current: None }
    }

    /// Adds a partial to a point of the present series; windows come in order of their start. Returns the previous
    /// point if the series leaves it.
    pub(super) fn push(&mut self, point_ms: i64, window: Window, partial: &Partial) -> Option<Followed> {
        let left = match &self.current {
            Some(current) if current.point_ms != point_ms => self.end_series(),
            _ => None,
        };
        let (range, width) = (&self.range, window.width());
        let current = self.current.get_or_insert_with(|| Current {
            point_ms,
            order: SeriesOrder::new(&self.bounds),
            width,
            span: range.windows(point_ms, width),
        });
        if current.width != width {
            // The gateway's window width was changed within the point.
            let (from, to) = range.windows(point_ms, width);
            current.span = (current.span.0.min(from), current.span.1.max(to));
            current.width = width;
        }
        current.order.push(window, partial);
        left
    }

    /// Call after the last partial of a series; returns its last point.
    pub(super) fn end_series(&mut self) -> Option<Followed> {
        let Current { point_ms, order, span: (from, to), .. } = self.current.take()?;
        Some((point_ms, order.finish(from, to)))
    }

    /// Approximate memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.current.as_ref().map_or(0, |current| size_of::<Current>() + current.order.memory())
    }
}
