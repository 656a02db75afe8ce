//! Splits the points of all groups into pieces of work: several small groups, a span of time of a long one, or a group of
//! many series.

use std::{collections::VecDeque, iter::Peekable, sync::Arc};

use super::{
    groups::Group,
    range::Range,
    read::{Piece, Query},
};

/// Most series of one task.
pub(super) const SERIES_A_TASK: usize = 64;
/// Most groups that are looked at in one step.
const GROUPS_A_STEP: usize = 1_024;
/// Most possible points of a span of time, however few of them exist.
const SPAN_POINTS_MAX: u64 = 1 << 32;

/// Work for one task, or several.
pub(super) enum Work {
    /// For one task.
    Pieces(VecDeque<Piece>),
    /// For one task: a span of time of a group.
    Span(Piece),
    /// A group whose series are read by several tasks and merged.
    Large(Piece),
    /// None yet: groups without windows in the range were passed.
    Nothing,
}

/// Groups in the order of the answer.
pub(super) type GroupsLeft = Box<dyn Iterator<Item = Arc<Group>> + Send>;

/// Groups that are still to be read.
pub(super) struct Pieces {
    range: Range,
    /// Points of a task.
    slice_points: u64,
    /// Whether partials may be merged in any order.
    any_order: bool,
    groups: Peekable<GroupsLeft>,
    /// The rest of the group that is being split by time.
    rest: Option<Piece>,
    /// Possible points of the next span of time.
    span_points: u64,
}

impl Pieces {
    /// All points of a query.
    pub(super) fn new(query: &Query, groups: GroupsLeft) -> Self {
        let slice_points = query.slice_points as u64;
        Self {
            range: query.plan.range.clone(),
            slice_points,
            any_order: query.needs.order_bounds.is_none(),
            groups: groups.peekable(),
            rest: None,
            span_points: slice_points,
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&mut self) -> bool {
        self.rest.is_none() && self.groups.peek().is_none()
    }

    /// The next work, in the order of the answer.
    pub(super) fn next(&mut self) -> Option<Work> {
        let (mut pieces, mut series, mut points) = (VecDeque::new(), 0, 0_u64);
        for _ in 0..GROUPS_A_STEP {
            if let Some(Piece { group, range }) = self.rest.take() {
                let (first, rest) = range.split(self.span_points);
                self.rest = rest.map(|range| Piece { group: Arc::clone(&group), range });
                return Some(Work::Span(Piece { group, range: first }));
            }
            let Some(group) = self.groups.peek() else { break };
            let (count, range) = (group.series.len(), group.overlap(&self.range));
            let possible = range.as_ref().map_or(0, Range::points);
            let alone = possible > self.slice_points || (count > SERIES_A_TASK && self.any_order);
            let full = series + count > SERIES_A_TASK || points.saturating_add(possible) > self.slice_points;
            if !pieces.is_empty() && (alone || full) {
                break;
            }
            let (Some(group), Some(range)) = (self.groups.next(), range) else { continue };
            let piece = Piece { group, range };
            if count > SERIES_A_TASK && self.any_order {
                return Some(Work::Large(piece));
            }
            if alone {
                self.rest = Some(piece);
                continue;
            }
            (series, points) = (series + count, points.saturating_add(possible));
            pieces.push_back(piece);
        }
        match pieces.is_empty() {
            false => Some(Work::Pieces(pieces)),
            true => (!self.is_empty()).then_some(Work::Nothing),
        }
    }

    /// A task found so many points in a span, or even more than it takes: of series with few points, spans are longer.
    pub(super) fn learn(&mut self, points: usize, more: bool) {
        if more {
            self.span_points = (self.span_points / 2).max(self.slice_points);
        } else if (points as u64) < self.span_points.min(self.slice_points) / 4 {
            self.span_points = self.span_points.saturating_mul(2).min(SPAN_POINTS_MAX);
        }
    }
}

#[cfg(test)]
mod tests;
