//! Executes a plan: sends how far the answer is complete, then each group in order of its labels, a slice of its
//! points at a time. Blocks on the store for one chunk of a series at a time, and yields between chunks.

use std::collections::BTreeMap;

use catchment_partial::Timestamp;
use catchment_proto::wire::{
    AggregateRequest, AggregateResponse, Header, Point, SeriesPoints, StateValue, Value,
    aggregate_response::Kind,
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
const MESSAGE_VALUES: usize = 4_096;
/// Bytes at which a message is full before: texts and states take many. A point adds a few ten kilobytes at most.
const MESSAGE_BYTES: usize = 512 << 10;
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
    walk::each_series(store, &plan.selector, sink, |entry| {
        groups.push(&entry);
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
    let mut messages = Messages {
        sink,
        header: Some(header),
        points: Vec::new(),
        values: 0,
        bytes: 0,
        count: 0,
        group_bytes: groups.bytes(),
    };
    for group in groups.into_groups() {
        sink.yield_point().await?;
        send_group(store, &plan, &group, &mut messages).await?;
    }
    messages.header().await?;
    Ok(messages.count)
}

/// Sends the points of a group, a slice of the range at a time.
async fn send_group(
    store: &dyn Store,
    plan: &Plan,
    group: &Group,
    messages: &mut Messages<'_>,
) -> Result<(), QueryError> {
    let Some(range) = group.overlap(&plan.range) else { return Ok(()) };
    for slice in range.slices(SLICE_POINTS) {
        // Points are those of the whole range, not of this group's windows.
        let points = Points::new(plan.range, plan.needs());
        let points = read(store, group, slice, points, messages).await?;
        // A step that fits no window fails in the first slice: before anything was sent.
        messages.header().await?;
        for (start_ms, figures) in points.into_points() {
            messages.sink.yield_point().await?;
            messages.push(group, merge::evaluate(start_ms, &figures, &plan.aggregates)).await?;
        }
        messages.flush(group).await?;
    }
    Ok(())
}

/// Collects the answer into messages and sends those that are full.
struct Messages<'a> {
    sink: &'a Sink<AggregateResponse>,
    header: Option<Header>,
    points: Vec<Point>,
    /// Values and approximate memory of the points.
    values: usize,
    bytes: usize,
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
        self.values += point.values.len().max(1);
        self.bytes += size_of::<Point>() + point.values.iter().map(value_bytes).sum::<usize>();
        self.points.push(point);
        if self.values >= MESSAGE_VALUES || self.bytes >= MESSAGE_BYTES {
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
        self.values = 0;
        self.count += points.len() as u64;
        let labels: usize = group.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let bytes = std::mem::take(&mut self.bytes) + labels;
        let series = SeriesPoints { labels: group.labels.clone(), points };
        self.sink.send(AggregateResponse { kind: Some(Kind::Series(series)) }, bytes).await
    }
}

/// Approximate memory of a value.
fn value_bytes(value: &Value) -> usize {
    let states = value.states.iter().map(|of| size_of::<StateValue>() + of.state.len());
    size_of::<Value>() + value.text.as_ref().map_or(0, String::len) + states.sum::<usize>()
}

/// Reads a slice of the range of a group into its points: series by series, each in order of time.
async fn read(
    store: &dyn Store,
    group: &Group,
    slice: Range,
    mut points: Points,
    messages: &Messages<'_>,
) -> Result<Points, QueryError> {
    let sink = messages.sink;
    // Both ends were checked by the plan, or lie between two that were.
    let [from, to] =
        [slice.from_ms, slice.to_ms].map(|ms| Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX));
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
                points.push(*id, row)?;
            }
            sink.set_memory(messages.group_bytes + points.bytes())?;
            at = chunk.next;
        }
        points.end_series();
    }
    Ok(points)
}

#[cfg(test)]
mod tests;
