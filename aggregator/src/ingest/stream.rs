//! The task of one delivery stream.
//!
//! Batches are put concurrently, so that the store can make many durable with one sync. Their results are taken in
//! order of arrival, and acks are merged by shard while the gateway is slow to read them.
//! The stream is not read while the most batches are in flight, or while the next message does not fit into the
//! memory for waiting messages ([`super::bytes`]): HTTP/2 flow control slows the gateway. Any error ends the stream
//! after the acks of everything before it; the gateway resends whatever was not acknowledged. A batch with new series
//! or a new epoch for which there is no room does not end the stream: it is refused, later batches of its shard are
//! skipped until the gateway resends it, and other shards continue. If the gateway is too old to know refusals, its
//! stream ends.

mod end;
mod results;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use catchment_proto::{
    Batch, GatewayId, SeriesKey,
    wire::{self, DeliverRequest, DeliverResponse, deliver_response::Kind},
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tonic::{Code, Status};

pub(super) use self::end::End;
use self::{
    end::broken,
    results::{TOO_MANY_EPOCHS, TOO_MANY_SERIES},
};
use super::{
    admit::{self, Admitted, Order, StreamAdmission},
    budget::{Budget, CHECK_EVERY},
    bytes::StreamBytes,
    service::Shared,
    stream_registry::RegisteredStream,
};
use crate::store::{GatewayEpoch, ProgressReport, Store, StoreError};

/// Longest wait for the first message.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a gateway whose batch finds no room is held before it may come back.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// Something in flight, completed in order of arrival.
enum Completed {
    Batch { batch_ref: BatchRef, partials: u64, bytes: usize, result: Result<(), StoreError> },
    Live { bytes: usize, result: Result<(), StoreError> },
    Progress(ProgressReport),
}

/// Identifies a batch on its stream.
#[derive(Clone, Copy, Debug)]
struct BatchRef {
    shard: u32,
    number: u64,
    stream_start: bool,
    attempt: u32,
}

/// Whether a gateway knows that a batch may be refused: one that reports its run does.
fn knows_refusals(message: &DeliverRequest) -> bool {
    matches!(&message.kind, Some(wire::deliver_request::Kind::Start(start)) if start.run != 0)
}

/// Keeps a stream attached to its epoch in the store while it lives.
struct Attached<'a> {
    store: &'a dyn Store,
    epoch: &'a GatewayEpoch,
}

impl<'a> Attached<'a> {
    fn new(store: &'a dyn Store, epoch: &'a GatewayEpoch) -> Self {
        store.attach(epoch);
        Self { store, epoch }
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.store.detach(self.epoch);
    }
}

/// Serves one stream until it ends.
pub(super) async fn run(
    shared: &Shared,
    gateway: GatewayId,
    bytes: &StreamBytes,
    requests: impl Stream<Item = Result<DeliverRequest, Status>> + Send,
    responses: &mpsc::Sender<Result<DeliverResponse, Status>>,
) -> End {
    let mut requests = pin!(requests);
    let start = match tokio::time::timeout(START_TIMEOUT, requests.next()).await {
        Err(_) => return End::new("silent", Code::DeadlineExceeded, "no Start arrived in time"),
        Ok(None) => return End { reason: "closed", status: None },
        Ok(Some(Err(status))) => return broken(status),
        Ok(Some(Ok(message))) => (knows_refusals(&message), admit::start(gateway, message)),
    };
    let (knows_refusals, start) = start;
    let (mut epoch, version) = match start {
        Ok(start) => start,
        Err(refusal) => return refusal.into(),
    };
    clamp_created(shared, &mut epoch);
    let (registered, superseded) = shared.streams.register(&epoch, &version);
    let epoch = Arc::new(epoch);
    // Dropped last: nothing of the stream is in flight then.
    let _attached = Attached::new(&*shared.store, &epoch);
    let delivered = match shared.store.begin(&epoch).await {
        Ok(delivered) => delivered,
        Err(error) => return error.into(),
    };
    let (store, of) = (Arc::clone(&shared.store), epoch.gateway.clone());
    let known = Box::new(move |key: &SeriesKey| store.known_series(&of, key));
    let admission = StreamAdmission::new(epoch.shards, delivered).with_known_series(known);
    let (budget, series) = Budget::begin(&*shared.store, &epoch);
    let newer_epoch = shared.store.newer_epoch(&epoch).unwrap_or(0);
    let resume = wire::Resume { series, newer_epoch, ..admission.resume() };
    let durable = resume.delivered.clone();
    let resume = DeliverResponse { kind: Some(Kind::Resume(resume)) };
    let end = if responses.send(Ok(resume)).await.is_err() {
        End { reason: "closed", status: None }
    } else {
        let mut task = StreamTask {
            shared,
            responses,
            epoch: Arc::clone(&epoch),
            admission,
            registered: &registered,
            bytes,
            refused: 0,
            in_flight: FuturesOrdered::new(),
            acks: BTreeMap::new(),
            durable,
            budget,
            series: None,
            knows_refusals,
            refusals: BTreeMap::new(),
        };
        task.run(requests, superseded).await
    };
    if registered.leave() {
        shared.store.drop_live(&epoch);
        if shared.streams.waiting.end((&epoch.gateway, epoch.id), None) {
            publish_waiting(shared);
        }
    }
    end
}

/// Limits the claimed creation time of a data folder to what this clock allows.
fn clamp_created(shared: &Shared, epoch: &mut GatewayEpoch) {
    let known = shared.store.created_ms(epoch);
    let claimed = std::mem::replace(&mut epoch.created_ms, 0);
    epoch.created_ms = shared.clock_bound().created(claimed, known);
    if epoch.created_ms != claimed {
        tracing::warn!(
            gateway = %epoch.gateway, epoch = epoch.id, claimed_ms = claimed, taken_ms = epoch.created_ms,
            "a gateway's data folder claims to have been created in the future: check the gateway's clock"
        );
    }
}

/// Publishes at `/readyz` which gateways' batches wait for room.
fn publish_waiting(shared: &Shared) {
    shared.metrics.conditions.set("series_full", shared.streams.waiting.summary(TOO_MANY_SERIES));
    shared.metrics.conditions.set("epochs_full", shared.streams.waiting.summary(TOO_MANY_EPOCHS));
}

struct StreamTask<'a> {
    shared: &'a Shared,
    responses: &'a mpsc::Sender<Result<DeliverResponse, Status>>,
    epoch: Arc<GatewayEpoch>,
    admission: StreamAdmission,
    registered: &'a RegisteredStream,
    bytes: &'a StreamBytes,
    /// Watermarks that were not believed, as counted so far.
    refused: u64,
    in_flight: FuturesOrdered<BoxFuture<'static, Completed>>,
    /// Highest durable number of each shard that is not acknowledged yet; bounded by the shards.
    acks: BTreeMap<u32, u64>,
    /// Highest durable number of each shard.
    durable: Vec<u64>,
    budget: Budget,
    /// A budget to send with the next ack.
    series: Option<wire::SeriesBudget>,
    /// The gateway knows that a batch may be refused.
    knows_refusals: bool,
    /// Refusals not sent yet: number, code and message; bounded by the shards.
    refusals: BTreeMap<u32, (u64, &'static str, String)>,
}

impl StreamTask<'_> {
    async fn run(
        &mut self,
        mut requests: impl Stream<Item = Result<DeliverRequest, Status>> + Unpin + Send,
        mut superseded: oneshot::Receiver<()>,
    ) -> End {
        let mut stopping = self.shared.stopping.clone();
        // Set when no more is read: the stream ends with it once everything in flight is acknowledged.
        let mut ending: Option<End> = None;
        let mut checks = tokio::time::interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.in_flight.is_empty() && self.acks.is_empty() && self.refusals.is_empty() {
                match ending.take() {
                    Some(end) if end.holds_back() => return self.hold_back(end, superseded, stopping).await,
                    Some(end) => return end,
                    None => {}
                }
            }
            let room = ending.is_none() && self.in_flight.len() < self.shared.in_flight_max;
            if !room {
                self.bytes.pass();
            }
            tokio::select! {
                biased;
                _ = &mut superseded => {
                    return End::new("superseded", Code::Aborted, "superseded by a newer stream of this gateway");
                }
                Some(done) = self.in_flight.next() => {
                    if let Err(error) = self.complete(done) {
                        // Whatever follows the failed batch is not acknowledged, even if it was stored.
                        self.in_flight = FuturesOrdered::new();
                        self.bytes.release_all();
                        ending = Some(error.into());
                    }
                }
                permit = self.responses.reserve(), if !self.acks.is_empty() || !self.refusals.is_empty() => {
                    let (Ok(permit), Some(kind)) = (permit, self.answer()) else {
                        return End { reason: "closed", status: None };
                    };
                    permit.send(Ok(DeliverResponse { kind: Some(kind) }));
                }
                _ = checks.tick() => self.check_budget(),
                _ = stopping.wait_for(|stop| *stop), if ending.is_none() => {
                    ending = Some(End::new("stopping", Code::Unavailable, "this aggregator is stopping"));
                }
                () = self.bytes.evicted(), if ending.is_none() => ending = Some(End::names()),
                request = next(self.bytes, &mut requests), if room => ending = self.take(request).err(),
            }
        }
    }

    /// Takes a message; the error is the end of the stream.
    fn take(&mut self, request: Option<Result<DeliverRequest, Status>>) -> Result<(), End> {
        let admitted = match request {
            Some(Ok(message)) => {
                self.note_contention();
                self.admission.admit(message, self.shared.clock_bound()).map_err(End::from)
            }
            Some(Err(status)) => Err(broken(status)),
            None => Err(End { reason: "closed", status: None }),
        };
        let bytes = match &admitted {
            Ok(Admitted::Batch { .. }) => self.admission.message_bytes(),
            _ => 0,
        };
        self.bytes.read(bytes);
        let admitted = admitted?;
        if matches!(admitted, Admitted::Batch { .. } | Admitted::Skipped) {
            self.bytes.names(self.admission.dictionary_bytes());
        }
        self.dispatch(admitted, bytes);
        Ok(())
    }

    /// Counts watermarks that were not believed, and marks the gateway.
    fn note_clock_skew(&mut self) {
        let refused = self.admission.watermarks_refused();
        self.shared.metrics.watermarks_refused.inc_by(refused.saturating_sub(self.refused));
        let ahead_ms = self.admission.ahead_ms();
        if let (0, Some(ahead_ms)) = (self.refused, ahead_ms) {
            let gateway = &self.epoch.gateway;
            tracing::warn!(
                %gateway, ahead_ms,
                "a gateway's watermark is ahead of this clock by more than clock_tolerance and is not believed: check both clocks"
            );
        }
        self.registered.note_ahead(ahead_ms);
        self.refused = refused;
    }

    /// Reports a gateway whose data folder exists twice.
    fn note_contention(&self) {
        if self.registered.note_delivery() {
            self.shared.metrics.contended.inc();
            let gateway = &self.epoch.gateway;
            tracing::warn!(
                %gateway,
                "two data folders deliver under one certificate: stop one of them, and give each gateway its own identity"
            );
        }
    }

    /// Gives a batch to the store; queues a progress report after everything in flight.
    fn dispatch(&mut self, admitted: Admitted, bytes: usize) {
        if self.admission.watermarks_refused() > 0 {
            self.note_clock_skew();
        }
        let metrics = &self.shared.metrics;
        match admitted {
            Admitted::Progress(report) => {
                self.in_flight.push_back(Box::pin(async move { Completed::Progress(report) }));
            }
            Admitted::Skipped => {}
            Admitted::Batch { batch, stream_start, order, attempt } => {
                match order {
                    Order::Next => {}
                    Order::Duplicate => _ = metrics.duplicates.inc(),
                    Order::Gap(skipped) => {
                        metrics.gaps.inc_by(skipped);
                        let gateway = &self.epoch.gateway;
                        tracing::warn!(%gateway, shard = batch.shard, skipped, "batches were lost before this one");
                    }
                }
                let store = Arc::clone(&self.shared.store);
                let batch_ref = BatchRef { shard: batch.shard, number: batch.number, stream_start, attempt };
                self.in_flight.push_back(Box::pin(put(
                    store,
                    Arc::clone(&self.epoch),
                    batch,
                    batch_ref,
                    bytes,
                )));
            }
        }
    }

    /// Checks whether the budget has changed while nothing is acknowledged; if so, repeats an ack to carry it.
    fn check_budget(&mut self) {
        if let Some(series) = self.budget.changed(&*self.shared.store, &self.epoch) {
            self.series = Some(series);
            if let Some(durable) = self.durable.first() {
                self.acks.entry(0).or_insert(*durable);
            }
        }
    }

    /// Holds a gateway whose batch found no room, so that it does not resend it over and over.
    async fn hold_back(
        &mut self,
        end: End,
        superseded: oneshot::Receiver<()>,
        mut stopping: watch::Receiver<bool>,
    ) -> End {
        tokio::select! {
            () = tokio::time::sleep(FULL_PAUSE) => {}
            _ = superseded => {}
            _ = stopping.wait_for(|stop| *stop) => {}
            () = self.responses.closed() => {}
        }
        end
    }
}

/// The next message, once there is memory for it.
async fn next<S: Stream + Unpin>(bytes: &StreamBytes, requests: &mut S) -> Option<S::Item> {
    poll_fn(|task| bytes.poll_read(task, |task| Pin::new(&mut *requests).poll_next(task))).await
}

async fn put(
    store: Arc<dyn Store>,
    epoch: Arc<GatewayEpoch>,
    batch: Batch,
    batch_ref: BatchRef,
    bytes: usize,
) -> Completed {
    let live = batch.live;
    let partials = batch.entries.len() as u64;
    let result = store.put(&epoch, batch, batch_ref.stream_start).await;
    if live {
        Completed::Live { bytes, result }
    } else {
        Completed::Batch { batch_ref, partials, bytes, result }
    }
}

#[cfg(test)]
mod tests;
