//! A gateway's runs, and its side of the streams to the aggregator.

use std::{path::Path, sync::Arc, time::Duration};

use catchment_gateway::{
    clock::{Clock, ManualClock},
    kept::{KeepLimits, KeptRecords},
    lineage::{DeliveryStatus, FolderPast, Lineage, Numbering},
    shard::{Backpressure, Shard},
    uplink::{
        feedback::Feedback,
        outbox_chunk::read_chunk,
        outbox_start::position_after,
        sender_core::{Effect, Inputs, Report, SenderCore},
    },
    worker::Progress,
};
use catchment_journal::{Committer, Reader, sim::SimDisk};
use catchment_proto::{Capabilities, wire};

use super::{End, Gateway, release_audit::ReleaseAudit};
use crate::limits::limits;

/// Batches in flight: few, so that the bound is met.
const IN_FLIGHT_MAX: usize = 3;
/// The length of each pause within its bounds.
const JITTER: f64 = 0.5;

/// The gateway's side of the uplink: the product's decisions, carried out on the simulated disk and link.
pub(super) struct OutboxSender {
    core: SenderCore,
    kept: KeptRecords,
    stream: Option<Stream>,
}

/// The gateway's end of a stream to the aggregator.
struct Stream {
    numbering: Numbering,
    /// The aggregator has every batch up to this number of the present epoch.
    delivered: u64,
    reader: Reader<SimDisk>,
    audit: ReleaseAudit,
    feedback: Feedback,
    /// The latest that the shard published.
    progress: Progress,
}

impl OutboxSender {
    pub(super) fn new(keep: KeepLimits) -> Self {
        Self { core: SenderCore::new(0, IN_FLIGHT_MAX), kept: KeptRecords::new(keep), stream: None }
    }

    /// Whether everything up to this progress is acknowledged on the present stream, and the aggregator knows.
    pub(super) fn has_delivered(&self, progress: &Progress) -> bool {
        self.stream.is_some() && self.core.has_delivered(progress)
    }

    /// Batches in flight on the present stream.
    pub(super) fn in_flight(&self) -> Option<usize> {
        self.stream.as_ref().map(|_| self.core.in_flight().len())
    }

    /// Carries out effects until something was sent and the core looks at its inputs again, or it waits.
    fn run(
        &mut self,
        shard: &Shard<SimDisk>,
        now: Duration,
        batches_at_once: usize,
    ) -> Result<Vec<wire::DeliverRequest>, End> {
        let Self { core, kept, stream: Some(stream) } = self else { return Ok(Vec::new()) };
        let outbox = shard.outbox();
        let mut requests = Vec::new();
        loop {
            match core.next_effect() {
                Effect::Update if !requests.is_empty() => return Ok(requests),
                Effect::Update => {
                    if let Some(progress) = shard.progress() {
                        stream.progress = progress;
                    }
                    core.update(Inputs {
                        now,
                        jitter: JITTER,
                        feedback: stream.feedback,
                        progress: stream.progress.clone(),
                        durable: outbox.durable(),
                        outbox_bytes: outbox.bytes(),
                        delivered: outbox.spare(),
                    });
                }
                Effect::Read { batches_max } => {
                    stream.reader.extend();
                    let chunk = read_chunk(&mut stream.reader, batches_max.min(batches_at_once))
                        .map_err(|_| End::Failed)?;
                    stream.audit.read(&chunk, outbox.durable());
                    core.batches_read(chunk);
                }
                Effect::Reopen(position) => {
                    stream.reader = outbox.read(position);
                    stream.audit.reopened(position);
                }
                Effect::Send(request) => requests.push(*request),
                Effect::Release(position) => {
                    stream.audit.release(position, stream.numbering.own(stream.delivered))?;
                    kept.delivered(outbox, position, now);
                }
                Effect::Report(Report::Damage(damage)) => {
                    return Err(End::Defect(format!("outbox: {damage}")));
                }
                Effect::Report(Report::Unreadable { number, error }) => {
                    return Err(End::Defect(format!("the outbox's record of batch {number}: {error}")));
                }
                Effect::Report(
                    Report::Acknowledged(_)
                    | Report::Resent { .. }
                    | Report::RefusalsOver(_)
                    | Report::PartsLeftOut(_)
                    | Report::Held { .. },
                )
                | Effect::SignalAcknowledged(_)
                | Effect::StartAckDeadline
                | Effect::StopAckDeadline => {}
                Effect::Wait { .. } => return Ok(requests),
            }
        }
    }
}

impl Gateway {
    /// The first message of a stream.
    pub fn begin_stream(&self) -> wire::Start {
        self.lineage.start(1)
    }

    /// A stream begins with the aggregator's response to the Start. False: the folder is not what it was, a new epoch
    /// has begun, and the stream ends.
    ///
    /// # Errors
    /// See [`End`].
    pub fn connect(&mut self, resume: &wire::Resume) -> Result<bool, End> {
        let outbox = self.shard.outbox();
        let delivery_status = DeliveryStatus { resume, sent: &[self.sender.core.sent()] };
        if self.lineage.detect_fork(&delivery_status, &[]).is_some() {
            let mut reader = outbox.read(outbox.start_position());
            let chunk = read_chunk(&mut reader, 1).map_err(|_| End::Failed)?;
            let held = chunk.batches.first().map(|stored| stored.number);
            let now = self.clock.wall();
            if let Some(fork) = self.lineage.detect_fork(&delivery_status, &[held]) {
                self.lineage.fork(&fork, now).map_err(|_| End::Failed)?;
            }
            return Ok(false);
        }
        let delivered = resume.delivered.first().copied().unwrap_or(0);
        let numbering = self.lineage.numbering(0);
        let from = position_after(outbox, numbering.own(delivered)).map_err(|_| End::Failed)?;
        let reader = outbox.read(from);
        self.sender.kept.begin_stream();
        self.shard.restart_live();
        self.sender.core.begin(numbering.clone(), delivered, Capabilities::read(&resume.capabilities));
        self.sender.stream = Some(Stream {
            numbering,
            delivered,
            reader,
            audit: ReleaseAudit::beginning(from),
            feedback: Feedback::default(),
            progress: Progress::default(),
        });
        Ok(true)
    }

    /// The stream is lost.
    pub fn disconnect(&mut self) {
        self.sender.stream = None;
        self.live = None;
    }

    /// Everything up to a batch is durable at the aggregator.
    pub fn acknowledged(&mut self, number: u64) {
        if let Some(stream) = &mut self.sender.stream {
            stream.delivered = stream.delivered.max(number);
            stream.feedback.acknowledge(number);
        }
    }

    /// The aggregator has no room for a batch.
    pub fn refused(&mut self, number: u64) {
        if let Some(stream) = &mut self.sender.stream {
            stream.feedback.refuse(number);
        }
    }

    /// The next messages for the aggregator, with at most so many batches.
    ///
    /// # Errors
    /// See [`End`].
    pub fn next_deliveries(&mut self, batches_max: usize) -> Result<Vec<wire::DeliverRequest>, End> {
        self.sender.run(&self.shard, self.clock.mono(), batches_max)
    }

    /// The state of open windows, once it is durable.
    pub fn live(&mut self) -> Vec<wire::DeliverRequest> {
        let OutboxSender { core, stream: Some(_), .. } = &mut self.sender else { return Vec::new() };
        let (end, batches) = self.live.take().unwrap_or_else(|| {
            let (end, batches, _) = self.shard.live();
            (end, batches)
        });
        if self.shard.journal().durable() < end {
            self.live = Some((end, batches));
            return Vec::new();
        }
        core.live(batches);
        let mut requests = Vec::new();
        while let Effect::Send(request) = core.next_effect() {
            requests.push(*request);
        }
        requests
    }
}

/// Begins a run as a gateway's start does: records where its batches begin, closes the windows that were open before
/// it, and records where that ends. `None` while the disk refuses.
pub(super) fn begin_run(
    disk: &Arc<SimDisk>,
    identity: (u64, i64),
    shard: &mut Shard<SimDisk>,
    journal: &mut Committer<SimDisk>,
    clock: &Arc<ManualClock>,
) -> Option<Lineage<SimDisk>> {
    let mut lineage =
        Lineage::open(Arc::clone(disk), Path::new("/gateway"), identity, FolderPast::Unknown).ok()?;
    lineage.begin_run(clock.wall().as_millis(), None, &[shard.base()], limits().open_max).ok()?;
    let sealed = loop {
        match shard.seal() {
            Ok(sealed) => break sealed,
            Err(Backpressure::Sync) => journal.step().ok()?,
            Err(_) => return None,
        }
    };
    lineage.seal(&[sealed]).ok()?;
    Some(lineage)
}
