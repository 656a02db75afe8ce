//! Decides what of one shard's outbox is sent on a stream, and what of it is released.
//!
//! Pure: no socket, disk, timer or randomness. The caller carries out one [`Effect`] after another and hands in what
//! came of it. `sender.rs` does so over the network; the simulation does so on simulated disks and links.
//!
//! Invariants:
//!
//! * Batches leave in the order of the outbox, at most `in_flight_max` of them beyond the highest acknowledged one.
//! * The outbox is released only below a batch that was acknowledged, or that the aggregator had when the stream began;
//!   as a whole only when nothing is in flight and nothing refused or held waits.
//! * A refused batch is sent again after a pause, and later ones after it. No batch leaves during the pause.
//! * Progress is reported only when every batch before it is acknowledged.
//! * An aggregator gets only what it announced that it reads. A batch that cannot be expressed to it, and every later
//!   one, waits for a stream to one that can take it.
//! * What the aggregator may not know of a new epoch leaves before any batch.
//! * The outbox is not released as a whole again until its durable end or its size has changed: a release notifies as a
//!   commit does, and would wake its own sender forever.

mod report;

use std::{collections::VecDeque, mem, time::Duration};

use catchment_journal::Position;
use catchment_partial::Timestamp;
use catchment_proto::{
    Capabilities, DictionaryEncoder,
    wire::{self, deliver_request::Kind},
};
use prost::{Message as _, bytes::Bytes};

pub use self::report::{Report, Unreadable};
use super::{
    feedback::Feedback,
    in_flight::InFlight,
    outbox_chunk::{OutboxChunk, StoredBatch},
    refusal_backoff::RefusalBackoff,
    transcode::{self, TranscodeError},
};
use crate::{batch_encoder::watermark_ms, lineage::Numbering, worker::Progress};

/// What the core decides by; the latest of each.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Monotonic time. A pause is over when it has come.
    pub now: Duration,
    /// In [0, 1): varies the length of a pause.
    pub jitter: f64,
    /// What the aggregator has said on this stream.
    pub feedback: Feedback,
    /// How far the shard has closed its windows. To be taken before `durable`.
    pub progress: Progress,
    /// Everything in the outbox below this is durable. To be taken before the outbox is read.
    pub durable: Position,
    /// Size of the outbox.
    pub outbox_bytes: u64,
    /// Everything in the outbox below this was delivered, on this stream or an earlier one.
    pub delivered: Position,
}

/// What the caller is to do next.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Call [`SenderCore::update`] at once.
    Update,
    /// Read up to so many batches, from where reading stands up to what is durable by now, and call
    /// [`SenderCore::batches_read`].
    Read {
        /// Most batches.
        batches_max: usize,
    },
    /// Reading continues at this position.
    Reopen(Position),
    /// Send this on the stream.
    Send(Box<wire::DeliverRequest>),
    /// The aggregator has everything in the outbox below this position: it may be released.
    Release(Position),
    /// Signal that everything in the outbox below this position is acknowledged.
    SignalAcknowledged(Position),
    /// A batch is about to leave: its acknowledgement is due in time.
    StartAckDeadline,
    /// Nothing is in flight: no acknowledgement is due.
    StopAckDeadline,
    /// Count and log this.
    Report(Report),
    /// Wait until an input changes or the pause is over. Open windows ([`SenderCore::live`]) may leave meanwhile.
    Wait {
        /// The end of the pause after a refusal.
        pause_until: Option<Duration>,
        /// Batches could leave: also wait for commits of the outbox.
        has_room: bool,
    },
}

/// What happens when all effects are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Update,
    /// The outbox is read to its end.
    Settle,
    Wait,
}

/// One shard's side of the uplink. It outlives the streams; what belongs to one begins anew with each.
#[derive(Debug)]
pub struct SenderCore {
    shard: u32,
    in_flight_max: usize,
    /// Highest own number that was sent since the start of the process.
    sent: u64,
    refusals: RefusalBackoff,
    /// Damage of the outbox is reported up to here: every stream reads it again from the start.
    reported_damage: Position,
    stream: Stream,
}

/// What belongs to one stream.
#[derive(Debug)]
struct Stream {
    in_flight: InFlight,
    /// What the aggregator announced.
    peer: Capabilities,
    dictionary: DictionaryEncoder,
    inputs: Inputs,
    /// Effects that are decided.
    effects: VecDeque<Effect>,
    /// Batches that were read and have not left.
    unsent: VecDeque<StoredBatch>,
    next: Next,
    /// Batches could leave at the last update.
    has_room: bool,
    /// Refusals that were noted.
    refusals_seen: u64,
    pause_until: Option<Duration>,
    /// The watermark that was reported last.
    reported: Option<Timestamp>,
    /// Durable end and size of the outbox at its last release as a whole.
    released: Option<(Position, u64)>,
    signalled: Option<Position>,
}

impl Stream {
    fn new(in_flight: InFlight, peer: Capabilities) -> Self {
        Self {
            in_flight,
            peer,
            dictionary: DictionaryEncoder::default(),
            inputs: Inputs::default(),
            effects: VecDeque::new(),
            unsent: VecDeque::new(),
            next: Next::Update,
            has_room: false,
            refusals_seen: 0,
            pause_until: None,
            reported: None,
            released: None,
            signalled: None,
        }
    }

    fn send(&mut self, kind: Kind) {
        self.effects.push_back(Effect::Send(Box::new(wire::DeliverRequest { kind: Some(kind) })));
    }

    /// A batch as this aggregator reads it, and how many of its partials lack what they had.
    fn expressed(&self, bytes: Vec<u8>) -> Result<(wire::Batch, u64), Unreadable> {
        let mut batch = wire::Batch::decode(Bytes::from(bytes))?;
        let reads_all = self.peer.contains(Capabilities::PARTIAL_2);
        let left_out = if reads_all { 0 } else { transcode::closed_to_version_1(&mut batch)? };
        Ok((batch, left_out))
    }

    fn report_left_out(&mut self, partials: u64) {
        if partials > 0 {
            self.effects.push_back(Effect::Report(Report::PartsLeftOut(partials)));
        }
    }

    /// A batch and all later ones wait for another stream.
    fn hold(&mut self, number: u64, error: TranscodeError) {
        self.in_flight.hold();
        self.unsent.clear();
        self.has_room = false;
        self.effects.push_back(Effect::Report(Report::Held { number, error }));
    }

    /// The outbox is read to its end. If all of it is acknowledged, it is released as a whole.
    fn release_all(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        let Inputs { durable, outbox_bytes, .. } = self.inputs;
        let outbox = Some((durable, outbox_bytes));
        if mem::replace(&mut self.released, outbox) != outbox {
            self.effects.push_back(Effect::Release(durable));
        }
        if self.signalled.replace(durable) != Some(durable) {
            self.effects.push_back(Effect::SignalAcknowledged(durable));
        }
    }

    /// Reports progress when every batch before it is acknowledged.
    fn report_progress(&mut self, shard: u32) {
        let progress = self.inputs.progress.clone();
        let is_covered = self.in_flight.is_empty() && self.inputs.durable >= progress.outbox_end;
        if !is_covered || self.reported == progress.watermark {
            return;
        }
        self.reported = progress.watermark;
        let Some(watermark) = progress.watermark else { return };
        self.send(Kind::Progress(wire::Progress {
            shard,
            watermark_ms: watermark_ms(watermark),
            number: self.in_flight.wire_number(progress.number),
            history: self.in_flight.history_for(&progress),
        }));
    }
}

impl SenderCore {
    /// Nothing was sent. The first stream begins with [`Self::begin`].
    pub fn new(shard: u32, in_flight_max: usize) -> Self {
        Self {
            shard,
            in_flight_max,
            sent: 0,
            refusals: RefusalBackoff::default(),
            reported_damage: Position::ZERO,
            stream: Stream::new(InFlight::new(Numbering::default(), 0), Capabilities::NONE),
        }
    }

    /// Highest own number that was sent since the start of the process.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The batches in flight.
    pub fn in_flight(&self) -> &InFlight {
        &self.stream.in_flight
    }

    /// Whether everything up to this progress is acknowledged, and the aggregator knows.
    pub fn has_delivered(&self, progress: &Progress) -> bool {
        self.stream.in_flight.is_empty() && self.stream.reported == progress.watermark
    }

    /// A stream begins, to an aggregator with these capabilities. It has every batch up to the number `delivered` of the
    /// present epoch; reading begins at or before the first batch above it
    /// ([`super::outbox_start::position_after`]).
    pub fn begin(&mut self, numbering: Numbering, delivered: u64, peer: Capabilities) {
        self.stream = Stream::new(InFlight::new(numbering, delivered), peer);
        if let Some(unreported) = self.stream.in_flight.unreported(self.shard) {
            self.stream.send(Kind::Progress(unreported));
        }
    }

    /// The next thing to do. Each effect is carried out before the next one is asked for.
    pub fn next_effect(&mut self) -> Effect {
        loop {
            if let Some(effect) = self.stream.effects.pop_front() {
                return effect;
            }
            if let Some(stored) = self.stream.unsent.pop_front() {
                self.send_batch(stored);
                continue;
            }
            match self.stream.next {
                Next::Update => return Effect::Update,
                Next::Settle => {
                    self.stream.next = Next::Wait;
                    self.stream.release_all();
                    self.stream.report_progress(self.shard);
                }
                Next::Wait => {
                    self.stream.next = Next::Update;
                    let Stream { pause_until, has_room, .. } = self.stream;
                    return Effect::Wait { pause_until, has_room };
                }
            }
        }
    }

    /// Answers [`Effect::Update`].
    pub fn update(&mut self, inputs: Inputs) {
        self.stream.inputs = inputs;
        self.apply_feedback();
        let in_flight = self.stream.in_flight.len();
        let batches_max = match self.stream.pause_until {
            Some(_) => 0,
            None if self.stream.in_flight.is_held() => 0,
            None => self.in_flight_max.saturating_sub(in_flight),
        };
        self.stream.has_room = batches_max > 0;
        if self.stream.has_room {
            self.stream.effects.push_back(Effect::Read { batches_max });
        } else {
            self.stream.next = Next::Wait;
        }
    }

    /// Answers [`Effect::Read`].
    pub fn batches_read(&mut self, chunk: OutboxChunk) {
        for damage in chunk.damage {
            if damage.to > self.reported_damage {
                self.reported_damage = damage.to;
                self.stream.effects.push_back(Effect::Report(Report::Damage(damage)));
            }
        }
        self.stream.unsent.extend(chunk.batches);
        self.stream.next = if chunk.at_end { Next::Settle } else { Next::Update };
    }

    /// The state of open windows, to be sent without acknowledgement. Instead of waiting on.
    pub fn live(&mut self, batches: Vec<wire::Batch>) {
        let stream = &mut self.stream;
        let mut left_out = 0;
        for mut batch in batches {
            if !stream.peer.contains(Capabilities::PARTIAL_2) {
                // Its columns are this gateway's own and do not contradict.
                let Ok(rewritten) = transcode::live_to_version_1(&mut batch) else { continue };
                left_out += rewritten;
            }
            let batch = stream.dictionary.encode(batch);
            stream.send(Kind::Batch(batch));
        }
        stream.report_left_out(left_out);
    }

    /// Applies what the aggregator said. After a refusal reading continues at that batch, once a pause is over.
    fn apply_feedback(&mut self) {
        let Inputs { now, jitter, feedback, .. } = self.stream.inputs;
        self.acknowledge(feedback.ack);
        let stream = &mut self.stream;
        if feedback.refusals > stream.refusals_seen {
            stream.refusals_seen = feedback.refusals;
            if let Some(position) = stream.in_flight.refuse(feedback.refused) {
                stream.effects.push_back(Effect::Reopen(position));
                stream.pause_until = Some(now + self.refusals.refused(jitter));
            }
        }
        if stream.pause_until.is_some_and(|until| until <= now) {
            stream.pause_until = None;
            stream.in_flight.resume();
        }
        if stream.in_flight.is_idle() {
            // A refused batch is not in flight while it waits.
            stream.effects.push_back(Effect::StopAckDeadline);
        }
    }

    /// Applies acknowledgements and releases what they cover.
    fn acknowledge(&mut self, ack: u64) {
        let (batches, covered) = self.stream.in_flight.acknowledge(ack);
        if batches > 0 {
            let refusals = self.refusals.acknowledged();
            if refusals > 0 {
                self.stream.effects.push_back(Effect::Report(Report::RefusalsOver(refusals)));
            }
            self.stream.effects.push_back(Effect::Report(Report::Acknowledged(batches)));
        }
        if let Some(position) = covered {
            self.stream.effects.push_back(Effect::Release(position));
        }
    }

    /// Sends a batch, unless the aggregator has it.
    fn send_batch(&mut self, stored: StoredBatch) {
        let StoredBatch { position, number, bytes } = stored;
        let stream = &mut self.stream;
        if stream.in_flight.is_known(number) {
            stream.effects.push_back(Effect::Release(position));
            return;
        }
        match stream.expressed(bytes) {
            Ok((mut batch, left_out)) => {
                stream.in_flight.stamp(&mut batch, number);
                if position < stream.inputs.delivered {
                    stream.effects.push_back(Effect::Report(Report::Resent { number }));
                }
                stream.in_flight.record_sent(number, position);
                self.sent = self.sent.max(number);
                stream.effects.push_back(Effect::StartAckDeadline);
                let batch = stream.dictionary.encode(batch);
                stream.send(Kind::Batch(batch));
                stream.report_left_out(left_out);
            }
            Err(Unreadable::Partials(error)) if error.is_whole() => stream.hold(number, error),
            Err(error) => {
                stream.effects.push_back(Effect::Report(Report::Unreadable { number, error }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
