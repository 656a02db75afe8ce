//! An aggregator without threads and sockets: the product's embedded store on a simulated disk and its admission of
//! delivery streams, one step at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use catchment_aggregator::{
    clock_bound::ClockBound,
    ingest::admit::{self, Admitted, StreamAdmission},
    store::{
        Delivered, EmbeddedStore, Gap, GatewayEntry, GatewayEpoch, IngestStore as _, MaintenanceStore as _,
        MemoryTree, ProgressReport, ReadAll as _, SeriesEntry, SeriesId, StoreConfig, StoreError,
    },
};
use catchment_journal::{Committer, LogConfig, sim::SimDisk};
use catchment_partial::{Partial, Timestamp};
use catchment_proto::{
    GatewayId,
    wire::{self, deliver_request, deliver_response::Kind},
};
use futures_util::future::BoxFuture;

use crate::truth::{Aggregates, Key};

/// Batches of one stream in flight to the store.
const IN_FLIGHT_MAX: usize = 4;

/// Small bounds, so that a short schedule meets them all.
fn config(series_max: usize) -> StoreConfig {
    StoreConfig {
        series_max,
        memory_bytes_max: 64 << 10,
        live_bytes_max: 128 << 10,
        flush_journal_bytes: 24 << 10,
        flush_free_min: 64 << 10,
        journal: LogConfig {
            segment_bytes: 32 << 10,
            bytes_max: 256 << 10,
            record_bytes_max: 32 << 10,
            buffer_bytes_max: 64 << 10,
            reserve_bytes: 16 << 10,
            disk_free_min: 96 << 10,
            salt: None,
        },
        ..StoreConfig::default()
    }
}

/// A message of a stream that waits for the store, in order of arrival.
enum QueuedDelivery {
    Batch { batch_ref: BatchRef, live: bool, put: BoxFuture<'static, Result<(), StoreError>> },
    Progress(ProgressReport),
}

/// A stream whose Start waits until earlier batches of its epoch are durable.
struct PendingStart {
    epoch: Arc<GatewayEpoch>,
    delivered: BoxFuture<'static, Result<Vec<Delivered>, StoreError>>,
}

/// Whether a message holds a partial that an aggregator of the first version refuses.
fn has_later_version(message: &wire::DeliverRequest) -> bool {
    let Some(deliver_request::Kind::Batch(batch)) = &message.kind else { return false };
    let starts = batch.body_bytes.iter().scan(0, |at, length| {
        let start = *at;
        *at += *length as usize;
        Some(start)
    });
    starts.filter_map(|start| batch.bodies.get(start)).any(|version| *version > 1)
}

/// Identifies a batch on its stream.
#[derive(Clone, Copy)]
struct BatchRef {
    shard: u32,
    number: u64,
    stream_start: bool,
    attempt: u32,
}

/// The aggregator's end of a stream.
#[derive(Default)]
pub struct Server {
    pending_start: Option<PendingStart>,
    started: Option<(Arc<GatewayEpoch>, StreamAdmission)>,
    queued: VecDeque<QueuedDelivery>,
}

impl Server {
    /// Whether two streams are of one gateway's folder.
    pub fn is_same_folder(&self, other: &Self) -> bool {
        let epoch = |server: &Self| server.started.as_ref().map(|(epoch, _)| Arc::clone(epoch));
        epoch(self).zip(epoch(other)).is_some_and(|(a, b)| a.is_same_folder(&b))
    }
}

/// A running aggregator.
pub struct Aggregator {
    /// It is of the first version: it announces nothing, and refuses later partials.
    is_old: bool,
    store: Arc<EmbeddedStore<SimDisk>>,
    journal: Committer<SimDisk>,
}

impl Aggregator {
    /// Starts from the disk and the tree. `None` while the disk refuses.
    ///
    /// # Errors
    /// A defect: damage is reported although nothing was damaged.
    pub fn start(
        disk: &SimDisk,
        tree: &MemoryTree,
        disturbed: bool,
        (series_max, is_old): (usize, bool),
    ) -> Result<Option<Self>, String> {
        let (disk, folder) = (Arc::new(disk.clone()), Path::new("/aggregator"));
        let opened = EmbeddedStore::manual(disk, folder, config(series_max), tree.clone());
        let (store, journal, report) = match opened {
            Ok(opened) => opened,
            Err(_) if disturbed => return Ok(None),
            Err(error) => return Err(format!("the store does not open: {error}")),
        };
        if report.damage > 0 || report.lost_batches > 0 {
            return Err(format!("a restart tells of damage: {report:?}"));
        }
        Ok(Some(Self { is_old, store, journal }))
    }

    /// One round of the journal's commits; false when the store has failed.
    pub fn commit(&mut self) -> bool {
        self.journal.step().is_ok() && self.store.failure().is_none()
    }

    /// A flush; false when the store has failed.
    pub fn flush(&mut self) -> bool {
        self.store.flush_now().is_ok()
    }

    /// Whether it is of the first version.
    pub fn is_old(&self) -> bool {
        self.is_old
    }

    /// Whether a flush is due.
    pub fn flush_is_due(&self) -> bool {
        self.store.flush_is_due()
    }

    /// Takes the next message of a stream, if there is room for it.
    ///
    /// # Errors
    /// The stream ends.
    pub fn receive(
        &mut self,
        gateway: &GatewayId,
        server: &mut Server,
        up: &mut VecDeque<wire::DeliverRequest>,
        down: &mut VecDeque<wire::DeliverResponse>,
    ) -> Result<(), String> {
        if server.pending_start.is_some() || server.queued.len() >= IN_FLIGHT_MAX {
            return Ok(());
        }
        let Some(message) = up.pop_front() else { return Ok(()) };
        if self.is_old && has_later_version(&message) {
            return Err("a partial of encoding version 2".to_owned());
        }
        let Some((epoch, admission)) = &mut server.started else {
            let (epoch, _) = admit::start(gateway.clone(), message).map_err(|e| e.to_string())?;
            let (store, epoch) = (Arc::clone(&self.store), Arc::new(epoch));
            let begun = Arc::clone(&epoch);
            let delivered = Box::pin(async move { store.begin(&begun).await });
            server.pending_start = Some(PendingStart { epoch, delivered });
            return self.begin(server, down);
        };
        server.queued.push_back(
            match admission.admit(message, ClockBound::UNBOUNDED).map_err(|e| e.to_string())? {
                Admitted::Progress(report) => QueuedDelivery::Progress(report),
                Admitted::Raw(_)
                | Admitted::RevocationsHeld(_)
                | Admitted::Certificates(_)
                | Admitted::Skipped => {
                    return self.poll_store(server, down);
                }
                Admitted::Batch { batch, stream_start, attempt, .. } => {
                    let (store, epoch) = (Arc::clone(&self.store), Arc::clone(epoch));
                    let batch_ref =
                        BatchRef { shard: batch.shard, number: batch.number, stream_start, attempt };
                    let live = batch.live;
                    let put = Box::pin(async move { store.put(&epoch, batch, stream_start).await });
                    QueuedDelivery::Batch { batch_ref, live, put }
                }
            },
        );
        self.poll_store(server, down)
    }

    /// Answers a Start once the store can.
    fn begin(
        &mut self,
        server: &mut Server,
        down: &mut VecDeque<wire::DeliverResponse>,
    ) -> Result<(), String> {
        let Some(PendingStart { epoch, delivered }) = &mut server.pending_start else { return Ok(()) };
        let Poll::Ready(delivered) = delivered.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return Ok(());
        };
        let admission = StreamAdmission::new(epoch.shards, delivered.map_err(|e| e.to_string())?);
        let newer_epoch = self.store.newer_epoch(epoch).unwrap_or(0);
        let mut resume = wire::Resume { newer_epoch, ..admission.resume() };
        if self.is_old {
            resume.capabilities.clear();
        }
        down.push_back(wire::DeliverResponse { kind: Some(Kind::Resume(resume)) });
        server.started = Some((Arc::clone(epoch), admission));
        server.pending_start = None;
        Ok(())
    }

    /// Lets the store continue with a stream's messages; results are reported in order of arrival.
    ///
    /// # Errors
    /// The stream ends.
    pub fn poll_store(
        &mut self,
        server: &mut Server,
        down: &mut VecDeque<wire::DeliverResponse>,
    ) -> Result<(), String> {
        self.begin(server, down)?;
        let Some((epoch, admission)) = &mut server.started else { return Ok(()) };
        let mut context = Context::from_waker(Waker::noop());
        // All of them are polled, so that a later one may be taken before an earlier one is acknowledged.
        let mut results = VecDeque::new();
        for queued in &mut server.queued {
            results.push_back(match queued {
                QueuedDelivery::Progress(_) => Poll::Ready(Ok(())),
                QueuedDelivery::Batch { put, .. } => put.as_mut().poll(&mut context),
            });
            if !matches!(results.back(), Some(Poll::Ready(Ok(())))) {
                break;
            }
        }
        for result in results {
            let Poll::Ready(result) = result else { break };
            match server.queued.pop_front() {
                Some(QueuedDelivery::Progress(report)) => {
                    self.store.progress(epoch, &report).map_err(|e| e.to_string())?;
                }
                Some(QueuedDelivery::Batch { live: true, .. }) => match result {
                    Ok(()) | Err(StoreError::Full(_)) => {}
                    Err(error) => return Err(error.to_string()),
                },
                // It is sent again, after one that was refused.
                Some(QueuedDelivery::Batch { batch_ref, .. })
                    if !admission.is_current(batch_ref.shard, batch_ref.attempt) => {}
                Some(QueuedDelivery::Batch {
                    batch_ref: BatchRef { shard, number, stream_start, attempt },
                    ..
                }) => {
                    if let Err(StoreError::TooManySeries { message }) = result {
                        admission.refuse(shard, number, stream_start, attempt);
                        let code = "too_many_series".to_owned();
                        let refusal = wire::BatchRefusal { shard, number, code, message };
                        down.push_back(wire::DeliverResponse { kind: Some(Kind::Refusal(refusal)) });
                        continue;
                    }
                    result.map_err(|e| e.to_string())?;
                    let ack = wire::BatchAck { shard, number, series: None };
                    down.push_back(wire::DeliverResponse { kind: Some(Kind::Ack(ack)) });
                }
                None => break,
            }
        }
        Ok(())
    }

    /// A stream has ended, and its gateway has no other one.
    pub fn drop_live(&self, server: &Server) {
        if let Some((epoch, _)) = &server.started {
            self.store.drop_live(epoch);
        }
    }

    /// The watermark of each gateway.
    pub fn watermarks(&self) -> BTreeMap<String, Option<Timestamp>> {
        let gateways = self.store.gateways().into_iter();
        gateways.map(|known| (known.epoch.gateway.to_string(), known.watermark)).collect()
    }

    /// Whether it reports a gap of a gateway between two times.
    pub fn is_missing(&self, gateway: &str, from: i64, to: i64) -> bool {
        let touches = |gap: &Gap| {
            gap.from.is_none_or(|begin| begin.as_nanos() < to)
                && gap.to.is_none_or(|end| end.as_nanos() > from)
        };
        let of = self.store.gateways().into_iter().filter(|known| known.epoch.gateway.to_string() == gateway);
        of.flat_map(|known| known.gaps).any(|gap| touches(&gap))
    }

    /// The gaps that it reports, for a message.
    pub fn gaps(&self) -> String {
        let gaps =
            |known: GatewayEntry| format!("{} {:?} {:?}", known.epoch.gateway, known.watermark, known.gaps);
        self.store.gateways().into_iter().map(gaps).collect::<Vec<_>>().join("; ")
    }

    /// All windows that it answers queries with.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn answer(&self) -> Result<BTreeMap<Key, Aggregates>, String> {
        let series: BTreeMap<SeriesId, SeriesEntry> =
            self.store.all_series().into_iter().map(|entry| (entry.id, entry)).collect();
        let ids: Vec<_> = series.values().map(|entry| entry.id).collect();
        let mut windows: BTreeMap<Key, Partial> = BTreeMap::new();
        let (from, to) = (Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX));
        self.store
            .scan(&ids, from, to, &mut |id, window, partial| {
                if let Some(entry) = series.get(&id) {
                    let key = (entry.gateway.to_string(), entry.key.to_string(), window.start().as_nanos());
                    windows.entry(key).or_insert_with(Partial::empty).merge(partial);
                }
                ControlFlow::Continue(())
            })
            .map_err(|e| e.to_string())?;
        let aggregates = |partial: &Partial| {
            let point = |point: Option<catchment_partial::Point>| {
                point.map_or((0, 0.0), |point| (point.time.as_nanos(), point.value))
            };
            Aggregates {
                count: partial.count(),
                states: partial.states_alone(),
                sum: partial.sum(),
                min: point(partial.min()).1,
                max: point(partial.max()).1,
                first: point(partial.first()),
                last: point(partial.last()),
            }
        };
        Ok(windows.iter().map(|(key, partial)| (key.clone(), aggregates(partial))).collect())
    }

    /// Its state, for a message.
    pub fn describe(&self) -> String {
        format!("{:?}", self.store.stats())
    }
}
