//! Sends one shard's outbox on a stream.
//!
//! Invariant: batches leave in the order of the outbox, at most `in_flight` of them beyond the highest
//! acknowledged one; the outbox is released only below an acknowledged batch. A batch that is refused for want of room is sent
//! again after a pause, and those behind it after it.

use std::sync::Arc;

use catchment_journal::{Damage, Position, ReadError, ReadEvent, Reader};
use catchment_proto::{
    DictionaryEncoder,
    wire::{self, deliver_request::Kind},
};
use catchment_settings::supervise::resume_panic;
use prost::{Message, bytes::Bytes};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{ack_deadlines, in_flight::InFlight, refusal_backoff::RefusalBackoff};
use crate::{
    batch_encoder,
    lineage::Numbering,
    metrics::Metrics,
    worker::{Progress, ShardLink},
};

/// Batches read from the disk at once, and their bytes.
const READ_BATCHES: usize = 32;
const READ_BYTES: usize = 1 << 20;

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

/// A batch as it stands in the outbox.
#[derive(Debug)]
struct StoredBatch {
    position: Position,
    number: u64,
    bytes: Vec<u8>,
}

/// What the aggregator has said of a shard's batches on a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Feedback {
    /// Everything up to this number is durable.
    pub(super) ack: u64,
    /// The batch that was refused last, and how many refusals that makes on the stream.
    pub(super) refused: (u64, u64),
}

/// The pause after a refusal on one stream.
#[derive(Debug, Default)]
struct Pause {
    /// Refusals that were noted.
    refusals_seen: u64,
    until: Option<Instant>,
}

impl Pause {
    fn is_on(&self) -> bool {
        self.until.is_some()
    }

    async fn wait(&self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }
}

/// One shard's side of the uplink; outlives the streams.
pub(super) struct OutboxSender {
    link: ShardLink,
    in_flight_max: usize,
    ack_deadlines: ack_deadlines::SharedAckDeadlines,
    metrics: Arc<Metrics>,
    /// Damage of the outbox is reported up to here: every stream reads it again from the start.
    reported_damage: Position,
    /// Highest own number that was sent since the start.
    sent: u64,
    refusals: RefusalBackoff,
}

impl OutboxSender {
    pub(super) fn new(
        link: ShardLink,
        in_flight_max: usize,
        ack_deadlines: ack_deadlines::SharedAckDeadlines,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            link,
            in_flight_max,
            ack_deadlines,
            metrics,
            reported_damage: Position::ZERO,
            sent: 0,
            refusals: RefusalBackoff::default(),
        }
    }

    /// Highest own number that was sent since the start.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Own number of the first batch that is not released; `None`: there is none.
    pub(super) async fn first_unreleased(&self) -> Result<Option<u64>, SenderError> {
        let reader = self.link.outbox.read(self.link.outbox.start_position());
        let chunk = read(reader, 1).await?;
        Ok(chunk.batches.first().map(|stored| stored.number))
    }

    /// Sends on a stream until it ends. `delivered` is what the aggregator had before of the present epoch. May be dropped at any
    /// await.
    pub(super) async fn run(
        &mut self,
        numbering: Numbering,
        delivered: u64,
        mut feedback: watch::Receiver<Feedback>,
        sending: mpsc::Sender<wire::DeliverRequest>,
    ) -> Result<(), SenderError> {
        let mut reader = self.link.outbox.read(self.link.outbox.start_position());
        let mut commits = self.link.outbox.subscribe();
        let (mut progress, live) = (self.link.progress.clone(), Arc::clone(&self.link.live));
        live.request_full();
        let mut dictionary = DictionaryEncoder::default();
        let mut in_flight = InFlight::new(numbering, delivered);
        let (mut reported, mut released) = (None, None);
        if let Some(unreported) = in_flight.unreported(self.link.index) {
            transmit(Kind::Progress(unreported), &sending).await?;
        }
        let mut pause = Pause::default();
        loop {
            // Seen before the outbox is read: what comes after wakes the select below.
            commits.mark_unchanged();
            let now = progress.borrow_and_update().clone();
            let readable = self.link.outbox.durable();
            reader.extend();
            let news = *feedback.borrow_and_update();
            self.apply_feedback(news, &mut in_flight, &mut reader, &mut pause);
            let room = if pause.is_on() { 0 } else { self.in_flight_max.saturating_sub(in_flight.len()) };
            if room > 0 {
                let ReadChunk { reader: back, batches, damage, at_end } = read(reader, room).await?;
                reader = back;
                self.report_damage(&damage);
                for stored in batches {
                    self.send(stored, &mut dictionary, &mut in_flight, &sending).await?;
                }
                if !at_end {
                    continue;
                }
            }
            if in_flight.is_empty() {
                // Everything that there was is acknowledged; what is full can go as a whole. Only when something
                // has changed: a release notifies as a commit does, and would wake this loop forever.
                let state = (readable, self.link.outbox.bytes());
                if released.replace(state) != Some(state) {
                    self.link.outbox.release(readable);
                }
                self.link.acknowledged.send_replace(readable);
            }
            if in_flight.is_empty() && reported != now.watermark && readable >= now.outbox_end {
                reported = now.watermark;
                self.report_progress(&now, &in_flight, &sending).await?;
            }
            tokio::select! {
                changed = feedback.changed() => changed.map_err(|_| SenderError::Ended)?,
                () = pause.wait(), if pause.is_on() => {}
                changed = commits.changed(), if room > 0 => {
                    changed.map_err(|_| SenderError::Ended)?;
                    if let Some(why) = commits.borrow().poisoned.clone() {
                        return Err(SenderError::Failed(why));
                    }
                }
                changed = progress.changed() => changed.map_err(|_| SenderError::Ended)?,
                () = live.changed.notified() => {
                    for batch in live.take() {
                        transmit(Kind::Batch(dictionary.encode(batch)), &sending).await?;
                    }
                }
                () = sending.closed() => return Err(SenderError::Ended),
            }
        }
    }

    /// Counts damage that was met for the first time. Which batches it took, a start and `journal verify` tell.
    fn report_damage(&mut self, damage: &[Damage]) {
        for damage in damage {
            if damage.to <= self.reported_damage {
                continue;
            }
            self.reported_damage = damage.to;
            self.metrics.damage.inc();
            self.metrics.batches_lost.inc_by(damage.records_lost.unwrap_or(1));
            tracing::error!(shard = self.link.index, %damage, "the outbox is damaged: batches are lost");
        }
    }

    /// Applies what the aggregator said. After a refusal the outbox is read again from that batch, once a pause is over.
    fn apply_feedback(
        &mut self,
        feedback: Feedback,
        in_flight: &mut InFlight,
        reader: &mut Reader,
        pause: &mut Pause,
    ) {
        self.acknowledge(feedback.ack, in_flight);
        let (number, refusals) = feedback.refused;
        if refusals > pause.refusals_seen {
            pause.refusals_seen = refusals;
            if let Some(position) = in_flight.refuse(number) {
                *reader = self.link.outbox.read(position);
                pause.until = Some(Instant::now() + self.refusals.refused(rand::random()));
            }
        }
        if pause.until.is_some_and(|until| until <= Instant::now()) {
            pause.until = None;
            in_flight.resume();
        }
        if in_flight.is_idle() {
            // A refused batch is not on its way while it waits.
            self.ack_deadlines.lock().idle(self.link.index as usize);
        }
    }

    /// Notes acknowledgements and releases what they cover.
    fn acknowledge(&mut self, ack: u64, in_flight: &mut InFlight) {
        let (batches, covered) = in_flight.acknowledge(ack);
        if batches > 0 {
            let refusals = self.refusals.acknowledged();
            if refusals > 0 {
                tracing::info!(
                    condition = "uplink_refused",
                    shard = self.link.index,
                    refusals,
                    "the aggregator takes batches again"
                );
            }
        }
        self.metrics.batches_acknowledged.inc_by(batches);
        if let Some(position) = covered {
            self.link.outbox.release(position);
        }
    }

    async fn send(
        &mut self,
        stored: StoredBatch,
        dictionary: &mut DictionaryEncoder,
        in_flight: &mut InFlight,
        sending: &mpsc::Sender<wire::DeliverRequest>,
    ) -> Result<(), SenderError> {
        if in_flight.is_known(stored.number) {
            // The aggregator has it; only what it does not have is in flight.
            self.link.outbox.release(stored.position);
            return Ok(());
        }
        match wire::Batch::decode(Bytes::from(stored.bytes)) {
            Ok(mut batch) => {
                in_flight.stamp(&mut batch, stored.number);
                in_flight.record_sent(stored.number, stored.position);
                self.ack_deadlines.lock().record_sent(self.link.index as usize, Instant::now());
                self.sent = self.sent.max(stored.number);
                transmit(Kind::Batch(dictionary.encode(batch)), sending).await
            }
            Err(error) => {
                self.metrics.damage.inc();
                tracing::error!(shard = self.link.index, number = stored.number, %error,
                    "a batch in the outbox cannot be read and is left out");
                Ok(())
            }
        }
    }

    async fn report_progress(
        &self,
        progress: &Progress,
        in_flight: &InFlight,
        sending: &mpsc::Sender<wire::DeliverRequest>,
    ) -> Result<(), SenderError> {
        let Some(watermark) = progress.watermark else { return Ok(()) };
        let progress = wire::Progress {
            shard: self.link.index,
            watermark_ms: batch_encoder::watermark_ms(watermark),
            number: in_flight.wire_number(progress.number),
            history: in_flight.history_for(progress),
        };
        transmit(Kind::Progress(progress), sending).await
    }
}

async fn transmit(kind: Kind, sending: &mpsc::Sender<wire::DeliverRequest>) -> Result<(), SenderError> {
    sending.send(wire::DeliverRequest { kind: Some(kind) }).await.map_err(|_| SenderError::Ended)
}

/// What was read at once.
struct ReadChunk {
    reader: Reader,
    batches: Vec<StoredBatch>,
    damage: Vec<Damage>,
    /// That was all there is.
    at_end: bool,
}

/// Reads some batches on a thread that may block.
async fn read(mut reader: Reader, most: usize) -> Result<ReadChunk, SenderError> {
    let reading = tokio::task::spawn_blocking(move || {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let mut damage = Vec::new();
        let mut record = Vec::new();
        while batches.len() < most.min(READ_BATCHES) && bytes < READ_BYTES {
            match reader.next(&mut record)? {
                ReadEvent::Record(position) => {
                    let Some((number, body)) = batch_encoder::split_record(&record) else { continue };
                    bytes += body.len();
                    batches.push(StoredBatch { position, number, bytes: body.to_vec() });
                }
                ReadEvent::Damage(met) => {
                    damage.push(met);
                    if damage.len() >= READ_BATCHES {
                        break;
                    }
                }
                ReadEvent::End => return Ok(ReadChunk { reader, batches, damage, at_end: true }),
            }
        }
        Ok(ReadChunk { reader, batches, damage, at_end: false })
    });
    resume_panic(reading.await).map_err(|_| SenderError::Ended)?
}
