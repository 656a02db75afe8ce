//! A gateway without threads and sockets: one shard of the product on the simulated disk, and what its worker
//! and its sender do, one step at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use catchment_gateway::{
    clock::{Clock, ManualClock},
    device::{DeviceSessions, IntakeOutcome, SessionId},
    intake::{Intake, Reading as Taken, SeriesTable},
    lineage::Lineage,
    metrics::Metrics,
    session::{self, responses::ResponseQueue},
    shard::{Backpressure, Capture, Setup, Shard, ShardFacts},
};
use catchment_journal::{Committer, Position, sim::SimDisk};
use catchment_partial::{Timestamp, Width};
use catchment_proto::{Labels, MetricName, Name, wire};
use tokio_util::sync::CancellationToken;

pub use crate::end::End;
use crate::{
    device::{Message, ToDevice, ToGateway},
    limits::limits,
};

/// Sessions of a device: a connection that was lost may still be there beside the new one.
const SESSIONS_MAX: usize = 3;

mod release_audit;
mod uplink;

use uplink::{OutboxSender, begin_run};

/// A session.
struct Session {
    device: usize,
    table: SeriesTable,
    ordinal: u64,
    /// A hello came: messages carry numbers.
    numbered: bool,
    /// Messages that found no room.
    held: Option<Intake>,
    /// Answers that wait for a sync.
    responses: ResponseQueue,
}

/// A gateway that runs.
pub struct Gateway {
    shard: Shard<SimDisk>,
    journal: Committer<SimDisk>,
    outbox: Committer<SimDisk>,
    metrics: Arc<Metrics>,
    device_sessions: BTreeMap<usize, DeviceSessions>,
    sessions: BTreeMap<SessionId, Session>,
    checkpoint: Option<Capture>,
    live: Option<(Position, Vec<wire::Batch>)>,
    sender: OutboxSender,
    lineage: Lineage<SimDisk>,
    clock: Arc<ManualClock>,
}

impl Gateway {
    /// Starts on what the disk holds. `None` while the disk refuses.
    ///
    /// # Errors
    /// A message about a defect: damage is reported although nothing was damaged.
    pub fn start(
        disk: &SimDisk,
        width: Width,
        clock: &Arc<ManualClock>,
        identity: (u64, i64),
    ) -> Result<Option<Self>, String> {
        let metrics = Metrics::new();
        let setup = Setup {
            folder: Path::new("/gateway"),
            index: 0,
            facts: ShardFacts::default(),
            window: width,
            limits: limits(),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&metrics),
            budget: Arc::default(),
        };
        let disk = Arc::new(disk.clone());
        let (mut shard, [mut journal, outbox], found) = match Shard::manual(&disk, &setup) {
            Ok(started) => started,
            Err(_) => return Ok(None),
        };
        if !found.damage.is_empty() || !found.gaps.is_empty() || found.unfit > 0 {
            return Err(format!("a restart tells of damage: {found:?}"));
        }
        let begun = begin_run(&disk, identity, &mut shard, &mut journal, clock);
        let Some(lineage) = begun else { return Ok(None) };
        Ok(Some(Self {
            lineage,
            clock: Arc::clone(clock),
            shard,
            journal,
            outbox,
            metrics,
            device_sessions: BTreeMap::new(),
            sessions: BTreeMap::new(),
            checkpoint: None,
            live: None,
            sender: OutboxSender::new(),
        }))
    }

    /// A device connects.
    pub fn attach(&mut self, session: SessionId, device: usize, name: &Name) {
        let device_sessions = self.device_sessions.entry(device).or_insert_with(|| {
            DeviceSessions::new(name.clone(), SESSIONS_MAX, limits().series_max, Arc::clone(&self.metrics))
        });
        device_sessions.attach(session, CancellationToken::new());
        device_sessions.hold(&mut self.shard);
        let session_state = Session {
            device,
            table: SeriesTable::new(8),
            ordinal: 0,
            numbered: false,
            held: None,
            responses: ResponseQueue::default(),
        };
        self.sessions.insert(session, session_state);
    }

    /// A session's connection is gone.
    pub fn detach(&mut self, session: SessionId) {
        if let Some(gone) = self.sessions.remove(&session)
            && let Some(device_sessions) = self.device_sessions.get_mut(&gone.device)
        {
            device_sessions.detach(session);
        }
    }

    /// Reads up to some messages of a session; they stay where they are while there is no room.
    ///
    /// # Errors
    /// See [`End`].
    pub fn read(
        &mut self,
        session: SessionId,
        up: &mut VecDeque<ToGateway>,
        most: usize,
        series: &[(MetricName, Labels)],
    ) -> Result<(), End> {
        let Some(known) = self.sessions.get_mut(&session) else { return Ok(()) };
        let Some(device_sessions) = self.device_sessions.get_mut(&known.device) else { return Ok(()) };
        let intake = match known.held.take() {
            Some(intake) => intake,
            None => {
                if let Some(ToGateway::Hello(epoch)) = up.front() {
                    let welcome = device_sessions.hello(session, Arc::clone(epoch), &self.shard);
                    if !known.responses.has_room() {
                        return Err(End::Defect("there is no room for a welcome".to_owned()));
                    }
                    known.responses.push(welcome.durable_at, welcome.highest.to_le_bytes().to_vec());
                    known.numbered = true;
                    up.pop_front();
                    return Ok(());
                }
                let mut intake = Intake::default();
                for _ in 0..most {
                    let Some(ToGateway::Message(message)) = up.front() else { break };
                    known.decode(message, series, &mut intake);
                    up.pop_front();
                }
                intake
            }
        };
        if intake.is_empty() {
            return Ok(());
        }
        match device_sessions.take(session, &intake, &mut self.shard) {
            Ok(IntakeOutcome::Taken { ack, durable_at, refusals, .. }) => {
                if !refusals.is_empty() {
                    return Err(End::Defect(format!("refused: {refusals:?}")));
                }
                known.responses.ack(durable_at, ack, Duration::ZERO);
            }
            Err(Backpressure::Failed(_)) => return Err(End::Failed),
            Err(_) => known.held = Some(intake),
            // One too many of its device: the oldest, whose connection the device has lost.
            Ok(IntakeOutcome::Ended) => {
                up.clear();
                self.sessions.remove(&session);
            }
        }
        Ok(())
    }

    /// The answers of a session that may leave.
    pub fn responses(&mut self, session: SessionId) -> Vec<ToDevice> {
        let durable = self.shard.journal().durable();
        let Some(known) = self.sessions.get_mut(&session) else { return Vec::new() };
        let down = |answer| match answer {
            session::responses::Response::Ack { ack, .. } => ToDevice::Ack(ack),
            session::responses::Response::Encoded { bytes, .. } => {
                ToDevice::Welcome(bytes.try_into().map_or(0, u64::from_le_bytes))
            }
        };
        let mut leaving = Vec::new();
        known.responses.drain_ready(durable, |answer| leaving.push(down(answer)));
        leaving
    }

    /// One round of the journal's commits.
    ///
    /// # Errors
    /// See [`End`].
    pub fn commit_journal(&mut self) -> Result<(), End> {
        self.journal.step().map_err(|_| End::Failed)?;
        self.shard.append_durable_batches();
        Ok(())
    }

    /// One round of the outbox's commits.
    ///
    /// # Errors
    /// See [`End`].
    pub fn commit_outbox(&mut self) -> Result<(), End> {
        self.outbox.step().map_err(|_| End::Failed)
    }

    /// Closes what is due.
    ///
    /// # Errors
    /// See [`End`].
    pub fn tick(&mut self) -> Result<(), End> {
        match self.shard.tick() {
            Err(Backpressure::Failed(_)) => Err(End::Failed),
            _ => Ok(()),
        }
    }

    /// Devices that were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.metrics.devices_forgotten()
    }

    /// The next step of a checkpoint: its state is taken, or it is written if all that it needs is durable.
    /// Tells whether one was written.
    pub fn checkpoint(&mut self) -> bool {
        let Some(capture) = self.checkpoint.take() else {
            if self.shard.checkpoint_due() {
                self.checkpoint = self.shard.capture();
            }
            return false;
        };
        if !self.shard.may_write(&capture) {
            self.checkpoint = Some(capture);
        } else if self.shard.checkpoints().write(&capture.bytes).is_ok() {
            self.shard.checkpointed(capture.position);
            return true;
        }
        false
    }

    /// Whether nothing is open, and all that was closed is at the aggregator.
    pub fn is_done(&self) -> bool {
        self.shard.state().open_count().0 == 0
            && self.shard.progress().is_some_and(|progress| {
                self.sender.has_delivered(&progress) && self.shard.outbox().durable() >= progress.outbox_end
            })
    }

    /// What it waits for, for a message.
    pub fn describe(&self) -> String {
        format!(
            "open {:?}, room {:?}, progress {:?}, journal {} of {} durable, {} bytes, outbox {} bytes, in flight {:?}",
            self.shard.state().open_count(),
            self.shard.room(),
            self.shard.progress(),
            self.shard.journal().durable(),
            self.shard.end(),
            self.shard.journal().bytes(),
            self.shard.outbox().bytes(),
            self.sender.in_flight()
        )
    }
}

impl Session {
    fn decode(&mut self, message: &Message, series: &[(MetricName, Labels)], intake: &mut Intake) {
        self.ordinal += 1;
        for reading in &message.readings {
            let (metric, labels) = &series[reading.series];
            let series = self.table.index(metric.as_str(), labels, &mut intake.fresh).expect("a valid name");
            let time = Timestamp::from_nanos(reading.time);
            intake.readings.push(Taken { series, time, value: reading.value });
        }
        intake.end_message(self.numbered.then_some(message.seq), self.ordinal);
    }
}
