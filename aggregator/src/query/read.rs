//! Reads series into points: the tasks into which a query is split, each on whichever query thread is free.

use std::{collections::VecDeque, ops, sync::Arc};

use catchment_partial::{Timestamp, Window};

use super::{
    completeness::GAPS_MAX,
    error::QueryError,
    groups::Group,
    messages::{MESSAGE_BYTES, Message, Messages},
    plan::{Needs, Plan},
    points::{Collect, OneSeries, Points, RowError},
    range::Range,
    task::{Memory, Task},
};
use crate::store::{QueryStore, RowRequest, SeriesId};

/// Values that are read at once, about, and the least and most points: their memory is some ten kilobytes a point at worst.
const SLICE_VALUES: usize = 16_384;
const SLICE_POINTS: (usize, usize) = (256, 4_096);

/// What the tasks of a query share.
pub(super) struct Query {
    pub(super) store: Arc<dyn QueryStore>,
    pub(super) plan: Plan,
    /// Of the plan's aggregates.
    pub(super) needs: Needs,
    /// Points that are read at once.
    pub(super) slice_points: usize,
}

impl Query {
    /// A valid plan over a store.
    pub(super) fn new(store: Arc<dyn QueryStore>, plan: Plan) -> Self {
        let slice_points =
            (SLICE_VALUES / plan.aggregates.len().max(1)).clamp(SLICE_POINTS.0, SLICE_POINTS.1);
        Self { store, needs: plan.needs(), plan, slice_points }
    }
}

/// A span of time in which rows of a series are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) series: SeriesId,
    pub(super) span: (Timestamp, Timestamp),
}

/// Points of a group that are read by one task.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) group: Arc<Group>,
    /// Part of the query's range.
    pub(super) range: Range,
}

/// What a task has read.
pub(super) struct ReadPieces {
    pub(super) messages: Vec<Message>,
    pub(super) points: usize,
    /// What is left, because there are many points already.
    pub(super) rest: VecDeque<Piece>,
    pub(super) damaged: Vec<Damaged>,
    /// Holds the messages.
    pub(super) _memory: Memory,
}

/// What a task has read of some series of a group.
pub(super) struct ReadSeries {
    /// Complete before their [`Collect::to`].
    pub(super) points: Points,
    pub(super) damaged: Vec<Damaged>,
    /// Holds the points.
    pub(super) memory: Memory,
}

/// Reads pieces until there are many points, and evaluates them.
///
/// # Errors
/// What ends the query.
pub(super) async fn read_pieces(
    query: Arc<Query>,
    task: Task,
    mut rest: VecDeque<Piece>,
) -> Result<ReadPieces, QueryError> {
    let memory = task.memory();
    let (mut messages, mut damaged) = (Messages::new(&query.plan), Vec::new());
    while has_room(&query, &messages)
        && let Some(piece) = rest.pop_front()
    {
        let read = Reading { query: &query, task: &task, memory: &memory, held: messages.bytes() };
        let to = read.piece(&piece, &mut messages, &mut damaged).await?;
        messages.end_group(&piece.group);
        memory.set(messages.bytes())?;
        let Piece { group, range } = piece;
        let range = Range { from_ms: to.as_millis(), ..range };
        if range.from_ms < range.to_ms {
            rest.push_front(Piece { group, range });
        }
    }
    let points = messages.points();
    Ok(ReadPieces { messages: messages.take(), points, rest, damaged, _memory: memory })
}

/// Reads some of the series of a group over a range, or its beginning if it has too many points.
///
/// # Errors
/// What ends the query.
pub(super) async fn read_series(
    query: Arc<Query>,
    task: Task,
    piece: Piece,
    series: ops::Range<usize>,
) -> Result<ReadSeries, QueryError> {
    let memory = task.memory();
    let mut damaged = Vec::new();
    let mut points =
        Points::new(query.plan.range.clone(), end(&piece.range), &query.needs, query.slice_points);
    let series = piece.group.series.get(series).unwrap_or_default();
    let read = Reading { query: &query, task: &task, memory: &memory, held: 0 };
    read.series(series, piece.range.from_ms, &mut points, &mut damaged).await?;
    Ok(ReadSeries { points, damaged, memory })
}

fn has_room(query: &Query, messages: &Messages) -> bool {
    messages.points() < query.slice_points && messages.bytes() < MESSAGE_BYTES
}

/// The end of a range.
pub(super) fn end(range: &Range) -> Timestamp {
    time(range.to_ms)
}

fn time(ms: i64) -> Timestamp {
    // Both ends were checked by the plan, or lie between two that were.
    Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX)
}

/// A task that reads.
struct Reading<'a> {
    query: &'a Query,
    task: &'a Task,
    memory: &'a Memory,
    /// Bytes that it holds already.
    held: usize,
}

impl Reading<'_> {
    /// Reads a piece; returns the time up to which it is read.
    async fn piece(
        &self,
        piece: &Piece,
        messages: &mut Messages,
        damaged: &mut Vec<Damaged>,
    ) -> Result<Timestamp, QueryError> {
        let Query { plan, needs, .. } = self.query;
        let (Piece { group, range }, to) = (piece, end(&piece.range));
        if group.series.len() == 1 && needs.order_bounds.is_none() {
            let emit = |start_ms, figures: &_| {
                messages.push(group, start_ms, figures);
                has_room(self.query, messages)
            };
            let mut points = OneSeries::new(plan.range.clone(), to, needs, emit);
            self.series(&group.series, range.from_ms, &mut points, damaged).await?;
            return Ok(points.to());
        }
        let mut points = Points::new(plan.range.clone(), to, needs, self.query.slice_points);
        self.series(&group.series, range.from_ms, &mut points, damaged).await?;
        let (to, mut bytes) = (points.to(), points.bytes());
        for (start_ms, figures) in points.into_points() {
            self.task.yield_point().await?;
            bytes = bytes.saturating_sub(figures.partial.memory());
            messages.push(group, start_ms, &figures);
            self.memory.set(bytes + messages.bytes())?;
        }
        Ok(to)
    }

    /// Reads series from a time on: one after the other, each in order of time.
    async fn series(
        &self,
        series: &[SeriesId],
        from_ms: i64,
        points: &mut (impl Collect + Send),
        damaged: &mut Vec<Damaged>,
    ) -> Result<(), QueryError> {
        let Query { store, plan, .. } = self.query;
        for &id in series {
            // Even if nothing is found.
            self.task.yield_point().await?;
            let request = RowRequest {
                series: id,
                from: time(from_ms),
                to: points.to(),
                steps: plan.range.steps.clone(),
                resolution: plan.resolution,
            };
            let mut rows = store.rows(&request)?;
            loop {
                let (mut failed, mut last) = (None, request.from);
                let mut visit = |window: Window, body: &[u8]| {
                    last = window.start();
                    match points.push(window, body) {
                        Ok(()) => {}
                        Err(RowError::Width(mismatch)) => failed = Some(mismatch),
                        Err(RowError::Damaged(_)) => {
                            add_damaged(damaged, id, (window.start(), window.end()));
                        }
                    }
                };
                let more = rows.advance(&mut visit)?;
                if let Some(mismatch) = failed {
                    return Err(mismatch.into());
                }
                let found = points.bytes() + damaged.len() * size_of::<Damaged>();
                self.memory.set(self.held + found + rows.memory())?;
                if !more || last >= points.to() {
                    break;
                }
                self.task.yield_point().await?;
            }
            for (from, to) in rows.damaged() {
                let span = (request.from.max(*from), points.to().min(*to));
                if span.0 < span.1 {
                    add_damaged(damaged, id, span);
                }
            }
            points.end_series();
        }
        Ok(())
    }
}

/// Adds a damaged span; joins those that follow one another. Beyond [`GAPS_MAX`], the last one grows.
fn add_damaged(damaged: &mut Vec<Damaged>, series: SeriesId, span: (Timestamp, Timestamp)) {
    let full = damaged.len() >= GAPS_MAX;
    match damaged.last_mut() {
        Some(last) if full || (last.series == series && last.span.1 >= span.0) => {
            last.span = (last.span.0.min(span.0), last.span.1.max(span.1));
        }
        _ => damaged.push(Damaged { series, span }),
    }
}
