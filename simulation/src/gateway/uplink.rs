//! A gateway's runs, and its end of the streams to the aggregator.

use std::{path::Path, sync::Arc};

use catchment_gateway::{
    batch_encoder,
    clock::{Clock, ManualClock},
    lineage::{DeliveryStatus, FolderPast, Lineage},
    shard::{Backpressure, Shard},
    uplink::in_flight::InFlight,
};
use catchment_journal::{Committer, Position, ReadEvent, Reader, sim::SimDisk};
use catchment_partial::Timestamp;
use catchment_proto::{DictionaryEncoder, wire};
use prost::Message as _;

use super::{End, Gateway};
use crate::limits::limits;

/// Batches on their way at once: few, so that the bound is met.
const IN_FLIGHT_MAX: usize = 3;

/// The gateway's end of a stream to the aggregator.
pub(super) struct OutboxSender {
    dictionary: DictionaryEncoder,
    pub(super) in_flight: InFlight,
    reader: Reader<SimDisk>,
    /// Goes ahead of all.
    unreported: Option<wire::Progress>,
    pub(super) reported: Option<Timestamp>,
    /// A batch was refused: the next turn sends nothing.
    paused: bool,
}

impl Gateway {
    /// The first message of a stream.
    pub fn begin_stream(&self) -> wire::Start {
        self.lineage.start(1)
    }

    /// A stream to the aggregator begins with its answer to the Start. False: the folder is not what it was, a new epoch has
    /// begun, and the stream ends.
    ///
    /// # Errors
    /// See [`End`].
    pub fn connect(&mut self, resume: &wire::Resume) -> Result<bool, End> {
        let outbox = self.shard.outbox();
        let mut reader = outbox.read(outbox.start_position());
        let delivery_status = DeliveryStatus { resume, sent: &[self.sent] };
        if self.lineage.detect_fork(&delivery_status, &[]).is_some() {
            let mut record = Vec::new();
            let held = match reader.next(&mut record).map_err(|_| End::Failed)? {
                ReadEvent::Record(_) => batch_encoder::split_record(&record).map(|(number, _)| number),
                _ => None,
            };
            let now = self.clock.wall();
            if let Some(fork) = self.lineage.detect_fork(&delivery_status, &[held]) {
                self.lineage.fork(&fork, now).map_err(|_| End::Failed)?;
            }
            return Ok(false);
        }
        self.shard.restart_live();
        let delivered = resume.delivered.first().copied().unwrap_or(0);
        let in_flight = InFlight::new(self.lineage.numbering(0), delivered);
        let unreported = in_flight.unreported(0);
        self.sender = Some(OutboxSender {
            dictionary: DictionaryEncoder::default(),
            in_flight,
            reader,
            unreported,
            reported: None,
            paused: false,
        });
        Ok(true)
    }

    /// The stream is lost.
    pub fn disconnect(&mut self) {
        self.sender = None;
        self.live = None;
    }

    /// Everything up to a batch is durable at the aggregator.
    pub fn acknowledged(&mut self, number: u64) {
        let Some(sender) = &mut self.sender else { return };
        if let (_, Some(position)) = sender.in_flight.acknowledge(number) {
            self.shard.outbox().release(position);
        }
    }

    /// The aggregator has no room for a batch: it is sent again after a pause, and those behind it after it.
    pub fn refused(&mut self, number: u64) {
        let Some(sender) = &mut self.sender else { return };
        if let Some(position) = sender.in_flight.refuse(number) {
            sender.reader = self.shard.outbox().read(position);
            sender.paused = true;
        }
    }

    /// The next message for the aggregator.
    ///
    /// # Errors
    /// See [`End`].
    pub fn next_delivery(&mut self) -> Result<Option<wire::DeliverRequest>, End> {
        let Some(sender) = &mut self.sender else { return Ok(None) };
        if let Some(unreported) = sender.unreported.take() {
            return Ok(Some(request(wire::deliver_request::Kind::Progress(unreported))));
        }
        let outbox = self.shard.outbox();
        let progress = self.shard.progress();
        let readable = outbox.durable();
        sender.reader.extend();
        let mut record = Vec::new();
        let paused = std::mem::take(&mut sender.paused);
        if !paused {
            sender.in_flight.resume();
        }
        while !paused && sender.in_flight.len() < IN_FLIGHT_MAX {
            match sender.reader.next(&mut record).map_err(|_| End::Failed)? {
                ReadEvent::Record(position) => {
                    let (number, bytes) =
                        batch_encoder::split_record(&record).ok_or_else(|| unreadable(position))?;
                    if sender.in_flight.is_known(number) {
                        outbox.release(position);
                        continue;
                    }
                    let mut batch = wire::Batch::decode(bytes).map_err(|_| unreadable(position))?;
                    sender.in_flight.stamp(&mut batch, number);
                    sender.in_flight.record_sent(number, position);
                    self.sent = self.sent.max(number);
                    return Ok(Some(request(wire::deliver_request::Kind::Batch(
                        sender.dictionary.encode(batch),
                    ))));
                }
                ReadEvent::Damage(damage) => return Err(End::Defect(format!("outbox: {damage}"))),
                ReadEvent::End => break,
            }
        }
        if !sender.in_flight.is_empty() {
            return Ok(None);
        }
        outbox.release(readable);
        let Some(progress) =
            progress.filter(|now| now.watermark != sender.reported && readable >= now.outbox_end)
        else {
            return Ok(None);
        };
        sender.reported = progress.watermark;
        let message = progress.watermark.map(|watermark| {
            let number = sender.in_flight.wire_number(progress.number);
            let history = sender.in_flight.history_for(&progress);
            let progress = wire::Progress { shard: 0, watermark_ms: watermark.as_millis(), number, history };
            request(wire::deliver_request::Kind::Progress(progress))
        });
        Ok(message)
    }

    /// The state of open windows, once it is durable.
    pub fn live(&mut self) -> Vec<wire::DeliverRequest> {
        let Some(sender) = &mut self.sender else { return Vec::new() };
        let (end, batches) = self.live.take().unwrap_or_else(|| {
            let (end, batches, _) = self.shard.live();
            (end, batches)
        });
        if self.shard.journal().durable() < end {
            self.live = Some((end, batches));
            return Vec::new();
        }
        let message = |batch| request(wire::deliver_request::Kind::Batch(sender.dictionary.encode(batch)));
        batches.into_iter().map(message).collect()
    }
}

/// As a gateway's start: where the batches of this run begin, the end of what was open, and where that ends. `None` while the
/// disk refuses.
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

fn unreadable(position: Position) -> End {
    End::Defect(format!("the outbox's record at {position} is no batch"))
}

fn request(kind: wire::deliver_request::Kind) -> wire::DeliverRequest {
    wire::DeliverRequest { kind: Some(kind) }
}
