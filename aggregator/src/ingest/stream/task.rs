//! The loop of a stream: reads while there is room, completes in order, responds when the gateway is ready.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use catchment_certs::EndReason;
use catchment_proto::{
    Batch,
    wire::{self, DeliverRequest, DeliverResponse},
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tonic::{Code, Status};

use super::end::{End, broken};
use crate::{
    clock,
    ingest::{
        admit::{Admitted, Order, StreamAdmission},
        backlog::Backlog,
        budget::{Budget, CHECK_EVERY},
        bytes::StreamBytes,
        revocations::{ListsSender, renewed},
        shared::Shared,
        stream_registry::RegisteredStream,
    },
    store::{GatewayEpoch, IngestStore, ProgressReport, StoreError},
};

/// How long a gateway whose batch finds no room is held before it may come back.
pub(super) const FULL_PAUSE: Duration = Duration::from_secs(2);

/// Something in flight, completed in order of arrival.
pub(super) enum Completed {
    Batch { batch_ref: BatchRef, partials: u64, left_out: u64, bytes: usize, result: Result<(), StoreError> },
    Live { left_out: u64, bytes: usize, result: Result<(), StoreError> },
    Progress(ProgressReport),
}

/// Identifies a batch on its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchRef {
    pub(super) shard: u32,
    pub(super) number: u64,
    pub(super) stream_start: bool,
    pub(super) attempt: u32,
}

/// A stream and what is in flight on it.
pub(super) struct StreamTask<'a> {
    pub(super) shared: &'a Shared,
    pub(super) responses: &'a mpsc::Sender<Result<DeliverResponse, Status>>,
    pub(super) epoch: Arc<GatewayEpoch>,
    pub(super) admission: StreamAdmission,
    pub(super) registered: &'a RegisteredStream,
    pub(super) bytes: &'a StreamBytes,
    /// Watermarks that were not believed, as counted so far.
    pub(super) refused: u64,
    /// Windows that were too far ahead of the clock have been logged.
    pub(super) left_out_logged: bool,
    pub(super) in_flight: FuturesOrdered<BoxFuture<'static, Completed>>,
    /// Highest durable number of each shard that is not acknowledged yet; bounded by the shards.
    pub(super) acks: BTreeMap<u32, u64>,
    /// Highest durable number of each shard.
    pub(super) durable: Vec<u64>,
    pub(super) budget: Budget,
    /// A budget to send with the next ack.
    pub(super) series: Option<wire::SeriesBudget>,
    /// The gateway knows that a batch may be refused.
    pub(super) knows_refusals: bool,
    /// Refusals not sent yet: number, code and message; bounded by the shards.
    pub(super) refusals: BTreeMap<u32, (u64, &'static str, String)>,
    /// Questions for raw readings; bounded.
    pub(super) raw_asked: mpsc::Receiver<wire::RawQuery>,
    /// The one to be sent next.
    pub(super) raw_next: Option<wire::RawQuery>,
    /// Revocation lists to send; `None`: the gateway does not take any.
    pub(super) lists: Option<ListsSender>,
    pub(super) backlog: Backlog,
}

impl StreamTask<'_> {
    pub(super) async fn run(
        &mut self,
        mut requests: impl Stream<Item = Result<DeliverRequest, Status>> + Unpin + Send,
        mut superseded: oneshot::Receiver<()>,
        session_ended: impl Future<Output = EndReason>,
    ) -> End {
        let mut session_ended = pin!(session_ended);
        let shared = self.shared;
        let mut stopping = shared.stopping.clone();
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
            let behind = ending.is_none() && self.backlog.waits(&*shared.store, self.bytes);
            let room = ending.is_none() && !behind && self.in_flight.len() < shared.in_flight_max;
            if !room {
                self.bytes.pass();
            }
            tokio::select! {
                biased;
                _ = &mut superseded => {
                    return End::new("superseded", Code::Aborted, "superseded by a newer stream of this gateway");
                }
                // Nothing more is taken or acknowledged of a gateway that is not trusted any more.
                reason = &mut session_ended, if ending.is_none() => match reason.distrusts() {
                    true => return End::of_session(reason),
                    false => ending = Some(End::of_session(reason)),
                },
                Some(done) = self.in_flight.next() => {
                    if let Err(error) = self.complete(done) {
                        // Whatever follows the failed batch is not acknowledged, even if it was stored.
                        self.in_flight = FuturesOrdered::new();
                        self.bytes.release_all();
                        ending = Some(error.into());
                    }
                }
                () = renewed(&mut self.lists) => {}
                permit = self.responses.reserve(), if self.has_answer() => {
                    let (Ok(permit), Some(kind)) = (permit, self.answer()) else {
                        return End { reason: "closed", status: None };
                    };
                    permit.send(Ok(DeliverResponse { kind: Some(kind) }));
                }
                Some(query) = self.raw_asked.recv(), if self.raw_next.is_none() && ending.is_none() => {
                    self.raw_next = Some(query);
                }
                _ = checks.tick() => self.check_budget(),
                _ = stopping.wait_for(|stop| *stop), if ending.is_none() => {
                    ending = Some(End::new("stopping", Code::Unavailable, "this aggregator is stopping"));
                }
                () = shared.store.caught_up(), if behind => {}
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
            Admitted::RevocationsHeld(held) => self.registered.note_lists_held(&held),
            Admitted::Certificates(told) => {
                let certificates = &self.shared.streams.certificates;
                let refused = |reason| metrics.refuse_certificate(reason);
                certificates.take(&self.epoch.gateway, told, clock::now_ms() / 1_000, refused);
            }
            Admitted::Raw(readings) => self.shared.streams.raw_routes.deliver(&self.epoch.gateway, readings),
            Admitted::Skipped => {}
            Admitted::Batch { batch, stream_start, order, attempt, mut left_out } => {
                match order {
                    Order::Next => {}
                    Order::Duplicate => {
                        metrics.duplicates.inc();
                        // Counted when it was stored.
                        left_out = 0;
                    }
                    Order::Gap(skipped) => {
                        metrics.gaps.inc_by(skipped);
                        let gateway = &self.epoch.gateway;
                        tracing::warn!(%gateway, shard = batch.shard, skipped, "batches were lost before this one");
                    }
                }
                self.backlog.note(&batch, clock::now_ms());
                let store = Arc::clone(&self.shared.store);
                let batch_ref = BatchRef { shard: batch.shard, number: batch.number, stream_start, attempt };
                self.in_flight.push_back(Box::pin(put(
                    store,
                    Arc::clone(&self.epoch),
                    batch,
                    batch_ref,
                    (bytes, left_out),
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
    store: Arc<dyn IngestStore>,
    epoch: Arc<GatewayEpoch>,
    batch: Batch,
    batch_ref: BatchRef,
    (bytes, left_out): (usize, u64),
) -> Completed {
    let live = batch.live;
    let partials = batch.entries.len() as u64;
    let result = store.put(&epoch, batch, batch_ref.stream_start).await;
    if live {
        Completed::Live { left_out, bytes, result }
    } else {
        Completed::Batch { batch_ref, partials, left_out, bytes, result }
    }
}
