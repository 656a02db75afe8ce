//! The task of one delivery stream.
//!
//! Batches are put concurrently, so that the store can make many durable with one sync; their results are taken
//! in the order in which they came, and acks are merged by shard while the gateway is slow to read them.
//! When the bound of batches in flight is reached, or the next message does not fit into the memory for what waits
//! ([`super::bytes`]), the stream is not read: HTTP/2's flow control slows the gateway. Any error ends the stream after the
//! acks of everything before it; the gateway sends again what was not acknowledged. A batch for whose series or epoch there is
//! no room does not end the stream: it is refused, batches of its shard are left out until it comes again, and other shards
//! continue. The stream of a gateway that is too old to know refusals ends.

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
/// A gateway whose batch finds no room is held this long before it may come back.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// Something in flight, in the order of its arrival.
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

/// Whether a gateway knows that a batch may be refused: one that says which run it is.
fn knows_refusals(message: &DeliverRequest) -> bool {
    matches!(&message.kind, Some(wire::deliver_request::Kind::Start(start)) if start.run != 0)
}

/// A stream that the store knows of, for as long as it lives.
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
        Err(_) => return End::new("silent", Code::DeadlineExceeded, "no Start came"),
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
    // Given up last: nothing of the stream is on its way then.
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

/// Takes the time at which a data folder says that it was created, no later than this clock allows.
fn clamp_created(shared: &Shared, epoch: &mut GatewayEpoch) {
    let known = shared.store.created_ms(epoch);
    let claimed = std::mem::replace(&mut epoch.created_ms, 0);
    epoch.created_ms = shared.clock_bound().created(claimed, known);
    if epoch.created_ms != claimed {
        tracing::warn!(
            gateway = %epoch.gateway, epoch = epoch.id, claimed_ms = claimed, taken_ms = epoch.created_ms,
            "a gateway's data folder claims to be created in the future: check the gateway's clock"
        );
    }
}

/// Says at `/readyz` whose batches wait for room.
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
    /// Watermarks that were not believed, as far as they are counted.
    refused: u64,
    in_flight: FuturesOrdered<BoxFuture<'static, Completed>>,
    /// Highest number of each shard that is durable and not yet told; bounded by the shards.
    acks: BTreeMap<u32, u64>,
    /// Highest durable number of each shard.
    durable: Vec<u64>,
    budget: Budget,
    /// A budget that the next ack tells.
    series: Option<wire::SeriesBudget>,
    /// The gateway knows that a batch may be refused.
    knows_refusals: bool,
    /// Refusals that are not yet told: number, code and message; bounded by the shards.
    refusals: BTreeMap<u32, (u64, &'static str, String)>,
}

impl StreamTask<'_> {
    async fn run(
        &mut self,
        mut requests: impl Stream<Item = Result<DeliverRequest, Status>> + Unpin + Send,
        mut superseded: oneshot::Receiver<()>,
    ) -> End {
        let mut stopping = self.shared.stopping.clone();
        // Set when no more is read: the end that comes when everything in flight is acknowledged.
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
                        // What follows the failed batch is not acknowledged, whatever became of it.
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

    /// Takes what came; the error is the end that follows.
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

    /// Counts a watermark that was not believed, and marks its gateway.
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

    /// Tells of a gateway whose data folder is there twice.
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

    /// Gives something to the store, or in line behind what is there.
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

    /// Looks whether the budget has changed although nothing is acknowledged: an ack that is no news tells it.
    fn check_budget(&mut self) {
        if let Some(series) = self.budget.changed(&*self.shared.store, &self.epoch) {
            self.series = Some(series);
            if let Some(durable) = self.durable.first() {
                self.acks.entry(0).or_insert(*durable);
            }
        }
    }

    /// Keeps a gateway waiting whose batch found no room, so that it does not send it over and over.
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

/// The next message, when there is memory for it.
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
