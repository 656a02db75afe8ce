//! A plan carried out: what is complete, then each group in the order of its labels, a slice of its points at a
//! time. Blocks on the store, for a piece of a series at a time; between pieces it passes its turn on.

use std::collections::BTreeMap;

use catchment_partial::Timestamp;
use catchment_proto::wire::{
    AggregateRequest, AggregateResponse, Header, Point, SeriesPoints, Value, aggregate_response::Kind,
};

use super::{
    failure::AskError,
    merge::{self, Completeness, Group, Groups, Points},
    outlet::Outlet,
    plan::{Plan, Range},
    walk,
};
use crate::store::{Gap, Store};

/// Most points that are merged at once: some ten kilobytes each at worst, of the query's memory.
const SLICE_POINTS: u32 = 4_096;
/// Most figures of one message.
const MESSAGE_VALUES: usize = 8_192;
/// Partials between two looks at clock and turn: some microseconds each.
const CHECK_EVERY: usize = 16;
/// About what a gateway takes in memory beside its gaps.
const GATEWAY_BYTES: usize = 192;
/// About what a header takes in memory, and each of its gaps.
const HEADER_BYTES: usize = 1 << 10;
const GAP_BYTES: usize = 192;

/// Answers a query that was asked at `now_ms`. Returns the number of points.
///
/// # Errors
/// What ended it early; what was sent before is valid, but not the whole answer.
pub(super) async fn answer(
    store: &dyn Store,
    request: AggregateRequest,
    points_max: u64,
    now_ms: i64,
    outlet: &Outlet<AggregateResponse>,
) -> Result<u64, AskError> {
    let plan = Plan::new(request)?;
    // Watermarks first: what they cover is in the store before anything is read.
    let (mut gateways, mut gateways_bytes) = (BTreeMap::new(), 0);
    walk::each_gateway(store, outlet, |entry| {
        gateways_bytes += GATEWAY_BYTES + entry.gaps.len() * size_of::<Gap>();
        gateways.insert(entry.epoch.gateway.clone(), entry);
        gateways_bytes
    })
    .await?;
    let mut groups = Groups::new(&plan.by);
    walk::each_series(store, outlet, |entry| {
        if plan.selector.matches(&entry.gateway, &entry.key) {
            groups.push(&entry);
        }
        gateways_bytes + groups.bytes()
    })
    .await?;
    let mut points = 0_u64;
    for range in groups.overlaps(plan.range) {
        outlet.turn().await?;
        points = points.saturating_add(range.map_or(0, |range| range.points()));
    }
    if points > points_max {
        return Err(AskError::TooManyPoints { points, max: points_max });
    }
    let mut completeness = Completeness::new(now_ms);
    let mut taken = 0;
    while let Some((gateway, entry)) = gateways.pop_first() {
        outlet.turn().await?;
        if groups.holders().contains(&gateway) {
            completeness.take(&entry, &plan.range, now_ms);
            taken += 1;
        }
    }
    let Completeness { until_ms, gaps } = completeness.end(taken, groups.holders().len());
    let aggregates = plan.aggregates.iter().map(|(name, _)| name.clone()).collect();
    let header = Header { complete_until_ms: until_ms, aggregates, gaps };
    let held = groups.bytes();
    let mut messages = Messages { outlet, header: Some(header), points: Vec::new(), count: 0, held };
    for group in groups.into_groups() {
        outlet.turn().await?;
        let Some(range) = group.overlap(&plan.range) else { continue };
        for slice in range.slices(SLICE_POINTS) {
            // A point starts where the whole range starts, not where this group's windows do.
            let slice = Slice { read: slice, point: Range { from_ms: plan.range.from_ms, ..slice } };
            let points = slice.points(store, &group, &messages).await?;
            // The first slice is where a step that fits no window is refused: before anything was sent.
            messages.header().await?;
            for (start_ms, partial) in points.into_points() {
                outlet.turn().await?;
                messages.push(&group, merge::evaluate(start_ms, &partial, &plan.aggregates)).await?;
            }
            messages.flush(&group).await?;
        }
    }
    messages.header().await?;
    Ok(messages.count)
}

/// The messages of an answer as they become full.
struct Messages<'a> {
    outlet: &'a Outlet<AggregateResponse>,
    header: Option<Header>,
    points: Vec<Point>,
    count: u64,
    /// Bytes that the groups hold.
    held: usize,
}

impl Messages<'_> {
    async fn header(&mut self) -> Result<(), AskError> {
        let Some(header) = self.header.take() else { return Ok(()) };
        let bytes = HEADER_BYTES + header.gaps.len() * GAP_BYTES;
        self.outlet.send(AggregateResponse { kind: Some(Kind::Header(header)) }, bytes).await
    }

    async fn push(&mut self, group: &Group, point: Point) -> Result<(), AskError> {
        let figures = point.values.len().max(1);
        self.points.push(point);
        if self.points.len().saturating_mul(figures) >= MESSAGE_VALUES {
            self.flush(group).await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self, group: &Group) -> Result<(), AskError> {
        if self.points.is_empty() {
            return Ok(());
        }
        let points = std::mem::take(&mut self.points);
        self.count += points.len() as u64;
        let figures: usize = points.iter().map(|point| point.values.len()).sum();
        let labels: usize = group.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let bytes = figures * size_of::<Value>() + points.len() * size_of::<Point>() + labels;
        let series = SeriesPoints { labels: group.labels.clone(), points };
        self.outlet.send(AggregateResponse { kind: Some(Kind::Series(series)) }, bytes).await
    }
}

/// A part of the range that is read at once.
struct Slice {
    /// What is read.
    read: Range,
    /// How windows become points.
    point: Range,
}

impl Slice {
    async fn points(
        &self,
        store: &dyn Store,
        group: &Group,
        messages: &Messages<'_>,
    ) -> Result<Points, AskError> {
        let outlet = messages.outlet;
        let mut points = Points::new(self.point);
        // Both ends were checked by the plan, or lie between two that were.
        let [from, to] = [self.read.from_ms, self.read.to_ms]
            .map(|ms| Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX));
        for id in &group.series {
            let mut at = from;
            while at < to {
                // Also where nothing is found.
                outlet.turn().await?;
                let Some(piece) = store.piece(*id, at, to)? else { break };
                for (number, row) in piece.rows.iter().enumerate() {
                    if number.is_multiple_of(CHECK_EVERY) {
                        outlet.turn().await?;
                    }
                    points.push(row.window, &row.partial(*id)?)?;
                }
                outlet.hold(messages.held + points.bytes())?;
                at = piece.next;
            }
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests;
