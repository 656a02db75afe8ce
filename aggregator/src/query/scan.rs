//! Executes a plan: sends how far the answer is complete, then each group in order of its labels, a slice of its
//! points at a time. Blocks on the store for one chunk of a series at a time, and yields between chunks.

use std::collections::BTreeMap;

use catchment_partial::Timestamp;
use catchment_proto::wire::{
    AggregateRequest, AggregateResponse, Header, Point, SeriesPoints, Value, aggregate_response::Kind,
};

use super::{
    error::QueryError,
    merge::{self, Completeness, Group, Groups, Points},
    plan::{Plan, Range},
    sink::Sink,
    walk,
};
use crate::store::{Gap, Store};

/// Most points merged at once: some ten kilobytes each at worst, out of the query's memory.
const SLICE_POINTS: u32 = 4_096;
/// Most values of one message.
const MESSAGE_VALUES: usize = 8_192;
/// Partials between two yield points: some microseconds each.
const CHECK_EVERY: usize = 16;
/// Approximate memory of a gateway without its gaps.
const GATEWAY_BYTES: usize = 192;
/// Approximate memory of a header, and of each of its gaps.
const HEADER_BYTES: usize = 1 << 10;
const GAP_BYTES: usize = 192;

/// Answers a query requested at `now_ms`. Returns the number of points.
///
/// # Errors
/// What ended it early; the messages sent before are valid, but incomplete.
pub(super) async fn execute(
    store: &dyn Store,
    request: AggregateRequest,
    points_max: u64,
    now_ms: i64,
    sink: &Sink<AggregateResponse>,
) -> Result<u64, QueryError> {
    let plan = Plan::new(request)?;
    // Watermarks first: the readings that they cover are in the store before anything is read.
    let (mut gateways, mut gateways_bytes) = (BTreeMap::new(), 0);
    walk::each_gateway(store, sink, |entry| {
        gateways_bytes += GATEWAY_BYTES + entry.gaps.len() * size_of::<Gap>();
        gateways.insert(entry.epoch.gateway.clone(), entry);
        gateways_bytes
    })
    .await?;
    let mut groups = Groups::new(&plan.by);
    walk::each_series(store, sink, |entry| {
        if plan.selector.matches(&entry.gateway, &entry.key) {
            groups.push(&entry);
        }
        gateways_bytes + groups.bytes()
    })
    .await?;
    let mut points = 0_u64;
    for range in groups.overlaps(plan.range) {
        sink.yield_point().await?;
        points = points.saturating_add(range.map_or(0, |range| range.points()));
    }
    if points > points_max {
        return Err(QueryError::TooManyPoints { points, max: points_max });
    }
    let mut completeness = Completeness::new(now_ms);
    let mut taken = 0;
    while let Some((gateway, entry)) = gateways.pop_first() {
        sink.yield_point().await?;
        if groups.gateways().contains(&gateway) {
            completeness.add(&entry, &plan.range, now_ms);
            taken += 1;
        }
    }
    let Completeness { until_ms, gaps } = completeness.finish(taken, groups.gateways().len());
    let aggregates = plan.aggregates.iter().map(|(name, _)| name.clone()).collect();
    let header = Header { complete_until_ms: until_ms, aggregates, gaps };
    let group_bytes = groups.bytes();
    let mut messages = Messages { sink, header: Some(header), points: Vec::new(), count: 0, group_bytes };
    for group in groups.into_groups() {
        sink.yield_point().await?;
        let Some(range) = group.overlap(&plan.range) else { continue };
        for slice in range.slices(SLICE_POINTS) {
            // A point starts at the start of the whole range, not of this group's windows.
            let slice = PointSlice { read: slice, point: Range { from_ms: plan.range.from_ms, ..slice } };
            let points = slice.points(store, &group, &messages).await?;
            // A step that fits no window fails in the first slice: before anything was sent.
            messages.header().await?;
            for (start_ms, partial) in points.into_points() {
                sink.yield_point().await?;
                messages.push(&group, merge::evaluate(start_ms, &partial, &plan.aggregates)).await?;
            }
            messages.flush(&group).await?;
        }
    }
    messages.header().await?;
    Ok(messages.count)
}

/// Collects the answer into messages and sends those that are full.
struct Messages<'a> {
    sink: &'a Sink<AggregateResponse>,
    header: Option<Header>,
    points: Vec<Point>,
    count: u64,
    /// Bytes held by the groups.
    group_bytes: usize,
}

impl Messages<'_> {
    async fn header(&mut self) -> Result<(), QueryError> {
        let Some(header) = self.header.take() else { return Ok(()) };
        let bytes = HEADER_BYTES + header.gaps.len() * GAP_BYTES;
        self.sink.send(AggregateResponse { kind: Some(Kind::Header(header)) }, bytes).await
    }

    async fn push(&mut self, group: &Group, point: Point) -> Result<(), QueryError> {
        let values = point.values.len().max(1);
        self.points.push(point);
        if self.points.len().saturating_mul(values) >= MESSAGE_VALUES {
            self.flush(group).await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self, group: &Group) -> Result<(), QueryError> {
        if self.points.is_empty() {
            return Ok(());
        }
        let points = std::mem::take(&mut self.points);
        self.count += points.len() as u64;
        let values: usize = points.iter().map(|point| point.values.len()).sum();
        let labels: usize = group.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let bytes = values * size_of::<Value>() + points.len() * size_of::<Point>() + labels;
        let series = SeriesPoints { labels: group.labels.clone(), points };
        self.sink.send(AggregateResponse { kind: Some(Kind::Series(series)) }, bytes).await
    }
}

/// A part of the range that is read at once.
struct PointSlice {
    /// The range to read.
    read: Range,
    /// Maps windows to points.
    point: Range,
}

impl PointSlice {
    async fn points(
        &self,
        store: &dyn Store,
        group: &Group,
        messages: &Messages<'_>,
    ) -> Result<Points, QueryError> {
        let sink = messages.sink;
        let mut points = Points::new(self.point);
        // Both ends were checked by the plan, or lie between two that were.
        let [from, to] = [self.read.from_ms, self.read.to_ms]
            .map(|ms| Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX));
        for id in &group.series {
            let mut at = from;
            while at < to {
                // Even if nothing is found.
                sink.yield_point().await?;
                let Some(chunk) = store.chunk(*id, at, to)? else { break };
                for (number, row) in chunk.rows.iter().enumerate() {
                    if number.is_multiple_of(CHECK_EVERY) {
                        sink.yield_point().await?;
                    }
                    points.push(row.window, &row.partial(*id)?)?;
                }
                sink.set_memory(messages.group_bytes + points.bytes())?;
                at = chunk.next;
            }
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests;
