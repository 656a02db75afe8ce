//! A gateway without threads and sockets: one shard of the product on the simulated disk, and what its worker
//! and its sender do, one step at a time.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use catchment_gateway::{
    clock::{Clock, ManualClock},
    device::{DeviceSessions, SessionId},
    fold::MetricParts,
    lineage::Lineage,
    metrics::Metrics,
    shard::{Backpressure, Capture, Setup, Shard, ShardFacts, ShardLimits},
};
use catchment_journal::{Committer, Position, sim::SimDisk};
use catchment_partial::Width;
use catchment_proto::wire;

pub use crate::end::End;
use crate::{
    device::{Device, ToDevice},
    limits::limits,
};

/// Sessions of a device: a connection that was lost may still be there beside the new one.
const SESSIONS_MAX: usize = 3;

mod release_audit;
mod session;
mod uplink;

use session::{Outcome, Process, Session};
use uplink::{OutboxSender, begin_run};

/// A gateway that runs.
pub struct Gateway {
    shard: Shard<SimDisk>,
    journal: Committer<SimDisk>,
    outbox: Committer<SimDisk>,
    metrics: Arc<Metrics>,
    device_sessions: BTreeMap<usize, DeviceSessions>,
    sessions: BTreeMap<SessionId, Session>,
    /// When each session was read last.
    heard: BTreeMap<SessionId, Duration>,
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
        ((window, metric_parts), limits): ((Width, MetricParts), ShardLimits),
        clock: &Arc<ManualClock>,
        identity: (u64, i64),
    ) -> Result<Option<Self>, String> {
        let (metrics, keep) = (Metrics::new(), limits.outbox_keep);
        let setup = Setup {
            folder: Path::new("/gateway"),
            index: 0,
            facts: ShardFacts::default(),
            window,
            metric_parts: Arc::new(metric_parts),
            limits,
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
            heard: BTreeMap::new(),
            checkpoint: None,
            live: None,
            sender: OutboxSender::new(keep),
        }))
    }

    /// A device connects.
    pub fn attach(&mut self, session: SessionId, device: usize, known: &Device) {
        let device_sessions = self.device_sessions.entry(device).or_insert_with(|| {
            let (name, metrics) = (known.name.clone(), Arc::clone(&self.metrics));
            DeviceSessions::new(name, SESSIONS_MAX, limits().series_max, metrics)
        });
        let _ = device_sessions.attach(session);
        device_sessions.hold(&mut self.shard);
        self.sessions.insert(session, Session::new(device, known.protocol));
        self.heard.insert(session, self.clock.mono());
    }

    /// A session's connection is gone.
    pub fn detach(&mut self, session: SessionId) {
        self.heard.remove(&session);
        if let Some(gone) = self.sessions.remove(&session)
            && let Some(device_sessions) = self.device_sessions.get_mut(&gone.device)
        {
            device_sessions.detach(session);
        }
    }

    /// Whether a session is open.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Reads up to so many bytes of a session; they stay where they are while it waits.
    ///
    /// # Errors
    /// See [`End`].
    pub fn read(&mut self, session: SessionId, up: &mut Vec<u8>, most: usize) -> Result<(), End> {
        self.heard.insert(session, self.clock.mono());
        self.step(session, |known, process| known.read(up, most, process))
    }

    /// A session's connection broke, and all that came of it was read.
    ///
    /// # Errors
    /// See [`End`].
    pub fn lose(&mut self, session: SessionId) -> Result<(), End> {
        self.step(session, Session::lose)?;
        self.detach(session);
        Ok(())
    }

    fn step(
        &mut self,
        session: SessionId,
        step: impl FnOnce(&mut Session, &mut Process<'_>) -> Result<Outcome, End>,
    ) -> Result<(), End> {
        let Some(known) = self.sessions.get_mut(&session) else { return Ok(()) };
        let Some(device_sessions) = self.device_sessions.get_mut(&known.device) else { return Ok(()) };
        // All count as silent since they were heard: who was silent for longest gives way.
        let now = self.clock.mono();
        let silence = |other| Some(now.saturating_sub(*self.heard.get(&other)?));
        let mut process = Process {
            id: session,
            device_sessions,
            shard: &mut self.shard,
            metrics: &self.metrics,
            clock: &self.clock,
            silence: &silence,
            displaced: None,
        };
        let outcome = step(known, &mut process)?;
        if let Some(displaced) = process.displaced {
            self.detach(displaced);
        }
        if matches!(outcome, Outcome::Closed) {
            self.detach(session);
        }
        Ok(())
    }

    /// The answers of a session that may leave.
    ///
    /// # Errors
    /// A defect: bytes that the device cannot read.
    pub fn responses(&mut self, session: SessionId) -> Result<Vec<ToDevice>, String> {
        let durable = self.shard.journal().durable();
        self.sessions.get_mut(&session).map_or_else(|| Ok(Vec::new()), |known| known.responses(durable))
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
        } else if self.shard.checkpoints().write_parts(&capture.parts).is_ok() {
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
