//! Reads a group of many series: each task reads some of them, and what they read is merged.
//!
//! Merging is exact, so the answer does not depend on how the series are split.

use std::{collections::VecDeque, ops, sync::Arc};

use super::{
    error::QueryError,
    messages::Messages,
    pieces::SERIES_A_TASK,
    points::{Collect as _, Points},
    range::Range,
    read::{self, Damaged, Piece, Query, ReadSeries},
    scan::Answer,
};

/// Points between two looks at the memory.
const CHECK_EVERY: usize = 16;

/// Reads a group and sends its points.
///
/// # Errors
/// What ends the query.
pub(super) async fn read(
    query: &Arc<Query>,
    piece: Piece,
    answer: &mut Answer<'_>,
) -> Result<(), QueryError> {
    let Piece { group, range } = piece;
    let mut rest = Some(range);
    while let Some(range) = rest {
        let piece = Piece { group: Arc::clone(&group), range: range.clone() };
        let from_ms = read_span(query, &piece, answer).await?;
        rest = (from_ms < range.to_ms).then_some(Range { from_ms, ..range });
    }
    Ok(())
}

/// Reads a span of time, or its beginning if it has too many points; returns where the rest begins.
async fn read_span(query: &Arc<Query>, piece: &Piece, answer: &mut Answer<'_>) -> Result<i64, QueryError> {
    let (sink, group) = (answer.sink, &piece.group);
    let memory = sink.task.memory();
    let mut damaged = Vec::new();
    let mut merged =
        Points::new(query.plan.range.clone(), read::end(&piece.range), &query.needs, query.slice_points);
    let mut ahead = VecDeque::new();
    let mut chunks = chunks(group.series.len());
    loop {
        while ahead.len() < sink.task.ahead()
            && let Some(series) = chunks.next()
        {
            let piece = piece.clone();
            ahead
                .push_back(sink.task.split(|task| read::read_series(Arc::clone(query), task, piece, series)));
        }
        let Some(part) = ahead.pop_front() else { break };
        let ReadSeries { points, damaged: found, memory: _held } = part.join().await?;
        damaged.extend(found);
        merged.cut_at(points.to());
        let to_ms = merged.to().as_millis();
        for (number, (start_ms, figures)) in points.into_points().enumerate() {
            if start_ms >= to_ms {
                break;
            }
            if number.is_multiple_of(CHECK_EVERY) {
                sink.yield_point().await?;
                memory.set(merged.bytes())?;
            }
            merged.merge_point(start_ms, figures);
        }
    }
    // What lies beyond is read again.
    damaged.retain(|damaged: &Damaged| damaged.span.0 < merged.to());
    let to_ms = merged.to().as_millis();
    let mut messages = Messages::new(&query.plan);
    for (start_ms, figures) in merged.into_points() {
        sink.yield_point().await?;
        messages.push(group, start_ms, &figures);
    }
    messages.end_group(group);
    memory.set(messages.bytes())?;
    answer.send(messages.take(), &damaged).await?;
    Ok(to_ms)
}

/// The series of a group of so many, for one task each.
fn chunks(series: usize) -> impl Iterator<Item = ops::Range<usize>> {
    (0..series).step_by(SERIES_A_TASK).map(move |from| from..(from + SERIES_A_TASK).min(series))
}
