//! Sends one shard's outbox on a stream: carries out what [`super::sender_core`] decides, and waits in between.

use std::sync::Arc;

use catchment_journal::{ReadError, Reader};
use catchment_proto::{Capabilities, wire};
use catchment_settings::supervise::resume_panic;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    ack_deadlines::SharedAckDeadlines,
    feedback::Feedback,
    outbox_chunk::{OutboxChunk, read_chunk},
    outbox_start::position_after,
    sender_core::{Effect, Inputs, Report, SenderCore},
    transcode::TranscodeError,
};
use crate::{
    conditions::AGGREGATOR_OUTDATED,
    kept::{KeepLimits, KeptRecords},
    lineage::Numbering,
    metrics::Metrics,
    worker::{Progress, ShardLink},
};

/// Why a sender cannot continue.
#[derive(Debug, thiserror::Error)]
pub(super) enum SenderError {
    /// The outbox cannot be read.
    #[error("outbox: {0}")]
    Read(#[from] ReadError),
    /// The outbox has failed.
    #[error("outbox: {0}")]
    Failed(Arc<str>),
    /// The stream has ended.
    #[error("the stream has ended")]
    Ended,
}

/// What a sender knows of the aggregator when a stream begins.
pub(super) struct Peer<'a> {
    /// Its URL.
    pub(super) aggregator: &'a str,
    /// What it announced.
    pub(super) capabilities: Capabilities,
    /// It has every batch of the shard up to this number of the present epoch.
    pub(super) delivered: u64,
}

/// One shard's side of the uplink; outlives the streams.
pub(super) struct OutboxSender {
    link: ShardLink,
    core: SenderCore,
    kept: KeptRecords,
    /// The present stream has been reported to refill an aggregator.
    refills: bool,
    ack_deadlines: SharedAckDeadlines,
    metrics: Arc<Metrics>,
    /// The core's times count from here.
    start: Instant,
}

impl OutboxSender {
    pub(super) fn new(
        link: ShardLink,
        (in_flight_max, keep): (usize, KeepLimits),
        ack_deadlines: SharedAckDeadlines,
        metrics: Arc<Metrics>,
    ) -> Self {
        let core = SenderCore::new(link.index, in_flight_max);
        let (kept, start) = (KeptRecords::new(keep), Instant::now());
        Self { link, core, kept, refills: false, ack_deadlines, metrics, start }
    }

    /// Its shard.
    pub(super) fn link(&self) -> &ShardLink {
        &self.link
    }

    /// Highest own number that was sent since the start.
    pub(super) fn sent(&self) -> u64 {
        self.core.sent()
    }

    /// Own number of the first batch in the outbox, be it delivered or not; `None`: it is empty.
    pub(super) async fn first_held(&self) -> Result<Option<u64>, SenderError> {
        let reader = self.link.outbox.read(self.link.outbox.start_position());
        let (_, chunk) = read(reader, 1).await?;
        Ok(chunk.batches.first().map(|stored| stored.number))
    }

    /// Sends on a stream until it ends. May be dropped at any await.
    pub(super) async fn run(
        &mut self,
        numbering: Numbering,
        peer: Peer<'_>,
        mut feedback: watch::Receiver<Feedback>,
        sending: mpsc::Sender<wire::DeliverRequest>,
    ) -> Result<(), SenderError> {
        let mut reader = self.begin(numbering.own(peer.delivered)).await?;
        let mut commits = self.link.outbox.subscribe();
        let (mut progress, live) = (self.link.progress.clone(), Arc::clone(&self.link.live));
        live.request_full();
        self.core.begin(numbering, peer.delivered, peer.capabilities);
        loop {
            match self.core.next_effect() {
                Effect::Update => {
                    // Seen before the outbox is read: a later change ends the wait below.
                    commits.mark_unchanged();
                    let progress = progress.borrow_and_update().clone();
                    let feedback = *feedback.borrow_and_update();
                    let inputs = self.inputs(progress, feedback);
                    self.core.update(inputs);
                }
                Effect::Read { batches_max } => {
                    reader.extend();
                    let (extended, chunk) = read(reader, batches_max).await?;
                    reader = extended;
                    self.core.batches_read(chunk);
                }
                Effect::Reopen(position) => reader = self.link.outbox.read(position),
                Effect::Send(request) => {
                    sending.send(*request).await.map_err(|_| SenderError::Ended)?;
                }
                Effect::Wait { pause_until, has_room } => tokio::select! {
                    changed = feedback.changed() => changed.map_err(|_| SenderError::Ended)?,
                    () = sleep_until(self.start + pause_until.unwrap_or_default()), if pause_until.is_some() => {}
                    changed = commits.changed(), if has_room => {
                        changed.map_err(|_| SenderError::Ended)?;
                        if let Some(why) = commits.borrow().poisoned.clone() {
                            return Err(SenderError::Failed(why));
                        }
                    }
                    changed = progress.changed() => changed.map_err(|_| SenderError::Ended)?,
                    () = live.changed.notified() => self.core.live(live.take()),
                    () = sending.closed() => return Err(SenderError::Ended),
                },
                Effect::Release(position) => {
                    let now = self.start.elapsed();
                    self.kept.delivered(&self.link.outbox, position, now);
                    self.metrics.kept.show_age(self.link.index, self.kept.age(now));
                }
                Effect::SignalAcknowledged(position) => {
                    self.link.acknowledged.send_replace(position);
                }
                Effect::StartAckDeadline => {
                    self.ack_deadlines.lock().record_sent(self.link.index as usize, Instant::now());
                }
                Effect::StopAckDeadline => self.ack_deadlines.lock().idle(self.link.index as usize),
                Effect::Report(report) => self.report(&report, peer.aggregator),
            }
        }
    }

    fn inputs(&self, progress: Progress, feedback: Feedback) -> Inputs {
        Inputs {
            now: self.start.elapsed(),
            jitter: rand::random(),
            feedback,
            progress,
            durable: self.link.outbox.durable(),
            outbox_bytes: self.link.outbox.bytes(),
            delivered: self.link.outbox.spare(),
        }
    }

    /// Begins to read the outbox for an aggregator that has every batch up to an own number.
    async fn begin(&mut self, delivered: u64) -> Result<Reader, SenderError> {
        self.kept.begin_stream();
        self.refills = false;
        let outbox = self.link.outbox.clone();
        let finding = tokio::task::spawn_blocking(move || {
            let from = position_after(&outbox, delivered)?;
            Ok(outbox.read(from))
        });
        resume_panic(finding.await).map_err(|_| SenderError::Ended)?
    }

    fn report(&mut self, report: &Report, aggregator: &str) {
        let shard = self.link.index;
        match report {
            Report::Acknowledged(batches) => {
                self.metrics.batches_acknowledged.inc_by(*batches);
            }
            Report::Resent { number } => {
                self.metrics.kept.resent.inc();
                if !std::mem::replace(&mut self.refills, true) {
                    tracing::warn!(
                        %aggregator, shard, number,
                        "the aggregator lacks batches that were delivered: those kept are sent again"
                    );
                }
            }
            Report::RefusalsOver(refusals) => tracing::info!(
                condition = "uplink_refused",
                shard,
                refusals,
                "the aggregator takes batches again"
            ),
            // A start and `journal verify` report which batches are lost.
            Report::Damage(damage) => {
                self.metrics.damage.inc();
                self.metrics.batches_lost.inc_by(damage.records_lost.unwrap_or(1));
                tracing::error!(shard, %damage, "the outbox is damaged: batches are lost");
            }
            Report::Unreadable { number, error } => {
                self.metrics.damage.inc();
                tracing::error!(shard, number, %error, "a batch in the outbox cannot be read and is left out");
            }
            Report::PartsLeftOut(partials) => {
                self.metrics.uplink_parts_left_out.inc_by(*partials);
            }
            Report::Held { number, error } => {
                let why = match error {
                    TranscodeError::States => "is of a version before states",
                    _ => "cannot read the partials that a later version of this gateway wrote",
                };
                let text = format!(
                    "the aggregator at {aggregator} {why}: upgrade it; batches that it cannot read wait in the outbox"
                );
                if self.metrics.conditions.set(AGGREGATOR_OUTDATED, Some(text.clone())) {
                    tracing::warn!(condition = AGGREGATOR_OUTDATED, shard, number, %error, "{text}");
                }
            }
        }
    }
}

/// Reads some batches on a thread that may block.
async fn read(mut reader: Reader, batches_max: usize) -> Result<(Reader, OutboxChunk), SenderError> {
    let reading = tokio::task::spawn_blocking(move || {
        let chunk = read_chunk(&mut reader, batches_max)?;
        Ok((reader, chunk))
    });
    resume_panic(reading.await).map_err(|_| SenderError::Ended)?
}
