//! An outbox in memory, and a caller that carries out the core's effects and writes down what it did.

use std::ops::RangeInclusive;

use catchment_journal::{Damage, DamageReason};

use super::super::*;

/// What was carried out, in order; what only serves the core itself is left out.
#[derive(Debug, PartialEq)]
pub(super) enum Done {
    /// A batch left, under this number on the wire.
    Batch(u64),
    /// The state of open windows left.
    Live,
    /// Progress left, up to this number on the wire.
    Progress(u64),
    Released(u64),
    Acknowledged(u64),
    Reopened(u64),
    Report(Report),
}

/// An outbox in memory, in which batch N stands at position 10 * N.
pub(super) struct Outbox {
    pub(super) core: SenderCore,
    pub(super) stored: Vec<StoredBatch>,
    /// The next one to read.
    pub(super) at: usize,
    /// Met by the next read.
    pub(super) damage: Vec<Damage>,
    pub(super) inputs: Inputs,
    /// Most batches of a read.
    pub(super) chunk: usize,
    /// The latest wait.
    pub(super) wait: (Option<Duration>, bool),
    /// An acknowledgement is due.
    pub(super) ack_due: bool,
}

pub(super) fn stored(number: u64) -> StoredBatch {
    let bytes = wire::Batch { number, ..wire::Batch::default() }.encode_to_vec();
    StoredBatch { position: Position::new(number * 10), number, bytes }
}

pub(super) fn damage(from: u64, to: u64) -> Damage {
    let (from, to) = (Position::new(from), Position::new(to));
    Damage { from, to, segment: "s".into(), records_lost: Some(1), reason: DamageReason::SegmentHeader }
}

impl Outbox {
    /// With durable batches 1 to `last`, and no progress to report.
    pub(super) fn of(last: u64, in_flight_max: usize) -> Self {
        let mut outbox = Self {
            core: SenderCore::new(3, in_flight_max),
            stored: Vec::new(),
            at: 0,
            damage: Vec::new(),
            inputs: Inputs::default(),
            chunk: usize::MAX,
            wait: (None, false),
            ack_due: false,
        };
        outbox.append(1..=last);
        outbox
    }

    pub(super) fn append(&mut self, numbers: RangeInclusive<u64>) {
        self.stored.extend(numbers.map(stored));
        let end = self.stored.last().map_or(0, |last| last.number * 10 + 10);
        (self.inputs.durable, self.inputs.outbox_bytes) = (Position::new(end), end);
    }

    /// Windows are closed up to the last batch.
    pub(super) fn close(&mut self, watermark: i64) {
        let number = self.stored.last().map_or(0, |last| last.number);
        self.inputs.progress = Progress {
            watermark: Some(Timestamp::from_millis(watermark).unwrap()),
            outbox_end: Position::new(number * 10 + 10),
            number,
            ..Progress::default()
        };
    }

    pub(super) fn begin(&mut self, numbering: Numbering, delivered: u64) {
        self.begin_with(numbering, delivered, Capabilities::PARTIAL_2);
    }

    pub(super) fn begin_with(&mut self, numbering: Numbering, delivered: u64, peer: Capabilities) {
        self.inputs.feedback = Feedback::default();
        self.at = 0;
        self.core.begin(numbering, delivered, peer);
    }

    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Done> {
        match effect {
            Effect::Update => self.core.update(self.inputs.clone()),
            Effect::Read { batches_max } => {
                let most = batches_max.min(self.chunk);
                let batches: Vec<_> = self.stored.iter().skip(self.at).take(most).cloned().collect();
                self.at += batches.len();
                let at_end = batches.len() < most;
                self.core.batches_read(OutboxChunk { batches, damage: mem::take(&mut self.damage), at_end });
            }
            Effect::Reopen(position) => {
                self.at = self.stored.partition_point(|stored| stored.position < position);
                return Some(Done::Reopened(position.get()));
            }
            Effect::Send(request) => {
                return Some(match request.kind.unwrap() {
                    Kind::Batch(batch) if batch.live => Done::Live,
                    Kind::Batch(batch) => Done::Batch(batch.number),
                    Kind::Progress(progress) => Done::Progress(progress.number),
                    Kind::Start(_) => panic!("a second start"),
                    Kind::Raw(_) | Kind::Revocations(_) | Kind::Certificates(_) => panic!("nobody asked"),
                });
            }
            Effect::Release(position) => return Some(Done::Released(position.get())),
            Effect::SignalAcknowledged(position) => return Some(Done::Acknowledged(position.get())),
            Effect::StartAckDeadline => self.ack_due = true,
            Effect::StopAckDeadline => self.ack_due = false,
            Effect::Report(Report::Acknowledged(_)) => {}
            Effect::Report(report) => return Some(Done::Report(report)),
            Effect::Wait { .. } => panic!("it waits"),
        }
        None
    }

    /// Carries out everything until the core waits.
    pub(super) fn run(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        for _ in 0..1_000 {
            match self.core.next_effect() {
                Effect::Wait { pause_until, has_room } => {
                    self.wait = (pause_until, has_room);
                    return done;
                }
                effect => done.extend(self.carry_out(effect)),
            }
        }
        panic!("it never waits: {done:?}");
    }

    pub(super) fn acknowledge(&mut self, number: u64) -> Vec<Done> {
        self.inputs.feedback.acknowledge(number);
        self.run()
    }

    pub(super) fn refuse(&mut self, number: u64) -> Vec<Done> {
        self.inputs.feedback.refuse(number);
        self.run()
    }
}
