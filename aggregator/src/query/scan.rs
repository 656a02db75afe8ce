//! Executes a plan: selects series, splits their points into tasks for all query threads, and sends what these read, in
//! order, after how far the answer is complete.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use catchment_proto::{
    GatewayId,
    wire::{AggregateRequest, AggregateResponse, Header, aggregate_response::Kind},
};

use super::{
    completeness::{Completeness, Holders},
    error::QueryError,
    large_group,
    merge::Groups,
    messages::Message,
    pieces::{Pieces, Work},
    plan::Plan,
    read::{self, Damaged, Query, ReadPieces},
    sink::Sink,
    task::Part,
    walk,
};
use crate::{
    clock_bound::ClockBound,
    ingest::StreamRegistry,
    store::{Gap, GatewayEntry, QueryStore, SeriesId},
};

/// Approximate memory of a gateway without its gaps.
const GATEWAY_BYTES: usize = 192;
/// Approximate memory of a header, and of each of its gaps and gateways.
const HEADER_BYTES: usize = 1 << 10;
const GAP_BYTES: usize = 192;
const PROGRESS_BYTES: usize = 192;

/// The moment at which a query is requested, as far as its answer depends on it.
pub(super) struct Present {
    /// The aggregator's clock, Unix milliseconds.
    pub(super) now_ms: i64,
    /// How far ahead of that clock a watermark is believed.
    pub(super) clock_tolerance: Duration,
    /// Which gateways have a stream open.
    pub(super) streams: Arc<StreamRegistry>,
}

/// Answers a query. Returns the number of points.
///
/// # Errors
/// What ended it early; the messages sent before are valid, but incomplete.
pub(super) async fn execute(
    store: Arc<dyn QueryStore>,
    request: AggregateRequest,
    points_max: u64,
    present: &Present,
    sink: &Sink<AggregateResponse>,
) -> Result<u64, QueryError> {
    let plan = Plan::new(request)?;
    let store_ref = &*store;
    // Watermarks first: the readings that they cover are in the store before anything is read.
    let (mut gateways, mut gateways_bytes) = (BTreeMap::new(), 0);
    walk::each_gateway(store_ref, sink, |entry| {
        gateways_bytes += GATEWAY_BYTES + entry.gaps.len() * size_of::<Gap>();
        gateways.insert(entry.epoch.gateway.clone(), entry);
        gateways_bytes
    })
    .await?;
    let mut groups = Groups::new(&plan.by);
    let mut holders = Holders::new(plan.range, present.now_ms);
    walk::each_series(store_ref, &plan.selector, sink, |entry| {
        holders.push(&entry);
        groups.push(&entry);
        gateways_bytes + holders.bytes() + groups.bytes()
    })
    .await?;
    let completeness = completeness(gateways, holders, present, sink).await?;
    sink.set_memory(groups.bytes() + completeness.gateways.len() * PROGRESS_BYTES)?;
    let query = Arc::new(Query::new(store, plan));
    let mut answer = Answer { sink, query: &query, completeness, points: 0, points_max, header: Sent::Never };
    let result = read_groups(&query, groups, &mut answer).await;
    // Their memory and threads are the query's: it ends after its parts.
    sink.task.stop_parts().await;
    result?;
    answer.end().await?;
    Ok(answer.points)
}

/// How complete the answer is, of all gateways and those that hold selected series.
async fn completeness(
    mut gateways: BTreeMap<GatewayId, GatewayEntry>,
    mut holders: Holders,
    present: &Present,
    sink: &Sink<AggregateResponse>,
) -> Result<Completeness, QueryError> {
    let clock = ClockBound::new(present.now_ms, present.clock_tolerance);
    let (any, mut completeness) = (!holders.is_empty(), Completeness::new(present.now_ms));
    while let Some((gateway, entry)) = gateways.pop_first() {
        sink.yield_point().await?;
        completeness.add(&mut holders, &entry, clock, present.streams.version(&gateway).is_some());
    }
    Ok(completeness.finish(&holders, any))
}

/// Reads all groups in tasks, several ahead of what is sent.
async fn read_groups(query: &Arc<Query>, groups: Groups, answer: &mut Answer<'_>) -> Result<(), QueryError> {
    let task = &answer.sink.task;
    let mut pieces = Pieces::new(query, groups);
    // With each, whether it is a span of time.
    let mut ahead: VecDeque<(bool, Part<ReadPieces>)> = VecDeque::new();
    let split = |pieces| task.split(|task| read::read_pieces(Arc::clone(query), task, pieces));
    loop {
        let mut large = None;
        while ahead.len() < task.ahead() && large.is_none() {
            answer.sink.yield_point().await?;
            match pieces.next() {
                Some(Work::Pieces(pieces)) => ahead.push_back((false, split(pieces))),
                Some(Work::Span(piece)) => ahead.push_back((true, split([piece].into()))),
                Some(Work::Nothing) => {}
                Some(Work::Large(piece)) => large = Some(piece),
                None => break,
            }
        }
        while let Some((span, part)) = ahead.pop_front() {
            let mut read = part.join().await?;
            if span {
                pieces.learn(read.points, !read.rest.is_empty());
            }
            answer.send(std::mem::take(&mut read.messages), &read.damaged).await?;
            if !read.rest.is_empty() {
                ahead.push_front((span, split(read.rest)));
            }
            if large.is_none() {
                break;
            }
        }
        match large {
            Some(piece) => large_group::read(query, piece, answer).await?,
            None if ahead.is_empty() && pieces.is_empty() => return Ok(()),
            None => {}
        }
    }
}

/// Whether the header was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Never,
    Yes,
    /// Damage was found since.
    Outdated,
}

/// The answer, as it is sent.
pub(super) struct Answer<'a> {
    pub(super) sink: &'a Sink<AggregateResponse>,
    query: &'a Query,
    completeness: Completeness,
    /// Sent so far.
    points: u64,
    points_max: u64,
    header: Sent,
}

impl Answer<'_> {
    /// Sends messages in the order of the answer.
    pub(super) async fn send(
        &mut self,
        messages: Vec<Message>,
        damaged: &[Damaged],
    ) -> Result<(), QueryError> {
        for Damaged { series, span } in damaged {
            self.sink.yield_point().await?;
            if let Some(gateway) = self.gateway(*series) {
                self.completeness.add_damaged(&gateway, *span);
            }
            if self.header == Sent::Yes {
                self.header = Sent::Outdated;
            }
        }
        if self.header == Sent::Never {
            // A step that fits no window fails before anything is sent.
            self.send_header().await?;
        }
        for Message { series, points, bytes } in messages {
            self.points = self.points.saturating_add(points as u64);
            if self.points > self.points_max {
                return Err(QueryError::TooManyPoints { max: self.points_max });
            }
            self.sink.send(AggregateResponse { kind: Some(Kind::Series(series)) }, bytes).await?;
        }
        Ok(())
    }

    /// Sends what is left.
    async fn end(&mut self) -> Result<(), QueryError> {
        if self.header == Sent::Yes { Ok(()) } else { self.send_header().await }
    }

    async fn send_header(&mut self) -> Result<(), QueryError> {
        let Completeness { until_ms, gaps, gateways, expected, behind, counts } = self.completeness.clone();
        let header = Header {
            complete_until_ms: until_ms,
            aggregates: self.query.plan.aggregates.iter().map(|(name, _)| name.clone()).collect(),
            gaps,
            gateways,
            gateways_expected: expected,
            gateways_behind: behind,
            late_corrections: counts.late,
            refused_readings: counts.refused,
            ..Header::default()
        };
        let bytes = HEADER_BYTES + header.gaps.len() * GAP_BYTES + header.gateways.len() * PROGRESS_BYTES;
        self.sink.send(AggregateResponse { kind: Some(Kind::Header(header)) }, bytes).await?;
        self.header = Sent::Yes;
        Ok(())
    }

    /// The gateway of a series; `None`: it was removed meanwhile.
    fn gateway(&self, series: SeriesId) -> Option<GatewayId> {
        self.query.store.series(series).map(|entry| entry.gateway)
    }
}

#[cfg(test)]
mod tests;
