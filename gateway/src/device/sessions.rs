//! What a device's actor decides, apart from its mailbox: which messages are new, which series they mean.
//!
//! Pure but for the shard, which is an argument: the simulation drives the same code.

mod admission;
mod name_collisions;
mod session_series;

use std::{sync::Arc, time::Duration};

use catchment_journal::{Disk, Position};
use catchment_proto::Name;
use tokio_util::sync::CancellationToken;

pub use self::admission::{Admission, SessionIdentity};
use self::session_series::{RefusedSeries, SessionSeries};
use super::{
    SessionId,
    mqtt_session::{MqttSession, PacketIds},
};
use crate::{
    fold::{ClientEntry, IntakeEntry},
    intake::{Intake, MessageMeta, MqttEffect, Reading, Reason, Refusal, name_collisions::NameCollisions},
    metrics::Metrics,
    mqtt::connection::Open,
    shard::{Backpressure, Hold, SeriesFull, Shard},
};

/// Answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Highest sequence number taken of the epoch.
    pub highest: u64,
    /// It is durable once the journal is synced up to here.
    pub durable_at: Position,
}

/// A client's session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Something was kept of it.
    pub present: bool,
    /// It is durable once the journal is synced up to here.
    pub durable_at: Position,
}

/// What became of the messages.
#[derive(Debug)]
pub enum IntakeOutcome {
    /// All were taken, but for what was refused.
    Taken {
        /// What the acknowledgement says: the highest sequence number, or the last message's ordinal.
        ack: u64,
        /// It may be sent once the journal is synced up to here.
        durable_at: Position,
        /// What was refused here, in addition to what decoding refused.
        refusals: Vec<Refusal>,
        /// The device is to be slowed: journal or outbox come near their bound.
        slow: bool,
    },
    /// Nothing was taken and nothing may be acknowledged: the session was ended by a newer one.
    Ended,
}

/// A session, as its device sees it.
#[derive(Debug)]
struct SessionEntry {
    id: SessionId,
    end: CancellationToken,
    epoch: Option<Arc<str>>,
    /// When another session said hello in the same epoch, by the shard's clock.
    taken_over_at: Option<Duration>,
    client: Option<MqttSession>,
    /// It counts among the device's connections: see `admission`.
    admitted: bool,
    series: SessionSeries,
}

/// What a session sends so long after another one said hello in its epoch was not on its way then: its program lives.
const TAKEOVER_GRACE: Duration = Duration::from_secs(5);

/// A device and its sessions.
pub struct DeviceSessions {
    name: Name,
    /// Its index in the shard, while it has sessions: they remember indexes of its series, which hold as long.
    index: Option<(u32, Hold)>,
    sessions: Vec<SessionEntry>,
    sessions_max: usize,
    series_max: usize,
    name_collisions: NameCollisions,
    /// A session that was silent for less counts as alive: one that was displaced after half of it has proven to be.
    silent_for: Duration,
    metrics: Arc<Metrics>,
}

impl DeviceSessions {
    /// A device that is not connected yet.
    pub fn new(name: Name, sessions_max: usize, series_max: usize, metrics: Arc<Metrics>) -> Self {
        let (name_collisions, silent_for) = (NameCollisions::default(), Duration::ZERO);
        Self {
            name,
            index: None,
            sessions: Vec::new(),
            sessions_max,
            series_max,
            name_collisions,
            silent_for,
            metrics,
        }
    }

    /// Holds what the shard knows of the device, if it does: from its first session on nothing of it is forgotten.
    pub fn hold<D: Disk>(&mut self, shard: &mut Shard<D>) {
        if self.index.is_none() {
            self.index = shard.hold(&self.name);
        }
    }

    /// A session has ended.
    pub fn detach(&mut self, session: SessionId) {
        self.sessions.retain(|known| known.id != session);
        if self.sessions.is_empty() {
            self.index = None;
        }
    }

    /// Whether it has no session.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A session's messages are numbered within an epoch from here on. Usually the same program left
    /// an earlier session of that epoch behind; [`Self::take`] reports one that still sends.
    pub fn hello<D: Disk>(&mut self, session: SessionId, epoch: Arc<str>, shard: &Shard<D>) -> Welcome {
        let device = shard.state().device(&self.name);
        let highest = device.map_or(0, |device| shard.state().highest(device, &epoch));
        for known in &mut self.sessions {
            if known.id == session {
                (known.epoch, known.taken_over_at) = (Some(Arc::clone(&epoch)), None);
            } else if known.epoch.as_ref() == Some(&epoch) {
                known.taken_over_at = Some(shard.mono());
            }
        }
        Welcome { highest, durable_at: shard.end() }
    }

    /// The device's index in the shard, which has room for what follows; introduces the device if it is new.
    fn ensure_device<D: Disk>(&mut self, shard: &mut Shard<D>) -> Result<u32, Backpressure> {
        shard.room()?;
        if let Some((index, _)) = self.index {
            return Ok(index);
        }
        let index = shard.device(&self.name)?;
        self.hold(shard);
        Ok(index)
    }

    /// A client (MQTT) opens its session; another connection of the same client is asked to end.
    ///
    /// # Errors
    /// See [`Backpressure`]; nothing was kept or forgotten then.
    pub fn open<D: Disk>(
        &mut self,
        session: SessionId,
        open: &Open,
        shard: &mut Shard<D>,
    ) -> Result<Opened, Backpressure> {
        let device = self.ensure_device(shard)?;
        let kept = shard.state().client(device, &open.client);
        let stored = kept.is_some();
        let ids = kept.filter(|_| !open.clean && !open.persistent).cloned().unwrap_or_default();
        let (forget, keep) = (stored && (open.clean || !open.persistent), open.persistent);
        if forget || (keep && !stored) {
            let client = open.client.as_ref().to_owned();
            shard.keep_client(ClientEntry { device, client, forget, keep })?;
        }
        self.sessions.retain(|known| {
            let other =
                known.client.as_ref().is_some_and(|client| client.is(&open.client)) && known.id != session;
            if other {
                known.end.cancel();
            }
            !other
        });
        if let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) {
            session.client = Some(MqttSession::new(Arc::clone(&open.client), open.persistent, ids));
        }
        Ok(Opened { present: stored && !open.clean, durable_at: shard.end() })
    }

    /// Takes what a session decoded. Messages whose number was taken before are dropped.
    ///
    /// # Errors
    /// See [`Backpressure`]; nothing was taken then.
    pub fn take<D: Disk>(
        &mut self,
        session: SessionId,
        intake: &Intake,
        shard: &mut Shard<D>,
    ) -> Result<IntakeOutcome, Backpressure> {
        let device = self.ensure_device(shard)?;
        let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) else {
            return Ok(IntakeOutcome::Ended);
        };
        shard.check_device_windows(device)?;
        learn(session, device, intake, self.series_max, shard)?;
        let epoch = session.epoch.clone();
        let before = epoch.as_deref().map_or(0, |epoch| shard.state().highest(device, epoch));
        let mut packet_ids =
            session.client.as_ref().map(|client| PacketIds::new(client, device, shard.state()));
        let Deduplicated { mut entry, highest, refusals, duplicates } =
            deduplicate(session, intake, before, packet_ids.as_mut(), self.series_max, shard.spare());
        entry.device = device;
        let ack =
            if epoch.is_some() { highest } else { intake.messages.last().map_or(0, |meta| meta.ordinal) };
        let taken = entry.value.len() as u64;
        let moved = highest > before;
        if let Some(epoch) = epoch.filter(|_| moved) {
            entry.epoch.push_str(&epoch);
            entry.seq = highest;
        }
        let changed = packet_ids.map(|packet_ids| packet_ids.end(&mut entry));
        if taken > 0 || moved || !entry.client.is_empty() {
            shard.take(entry)?;
        } else {
            shard.reuse(entry);
        }
        if let (Some(client), Some(changed)) = (&mut session.client, changed) {
            client.apply(changed);
        }
        session.series.trim(self.series_max.max(1));
        let lives = |since: &mut Duration| shard.mono().saturating_sub(*since) >= TAKEOVER_GRACE;
        let is_shared = !intake.messages.is_empty() && session.taken_over_at.take_if(lives).is_some();
        let shared = if is_shared { session.epoch.clone() } else { None };
        self.note_name_collisions(&intake.spellings);
        if let Some(epoch) = shared {
            self.warn_shared_epoch(&epoch);
        }
        self.metrics.readings.inc_by(taken);
        self.metrics.messages.inc_by(intake.messages.len() as u64 - duplicates);
        if duplicates > 0 {
            self.metrics.duplicates.inc_by(duplicates);
        }
        Ok(IntakeOutcome::Taken { ack, durable_at: shard.end(), refusals, slow: shard.is_near_full() })
    }

    /// Tells that two programs of the device number their messages in one epoch: of two messages with one number one is taken.
    fn warn_shared_epoch(&self, epoch: &str) {
        self.metrics.epochs_shared.inc();
        tracing::warn!(
            device = %self.name, epoch,
            "two programs of one device number their messages in one epoch: of two messages with one number only the first \
             is taken; give each program an identity, or an epoch, of its own"
        );
    }
}

/// What of some messages is new.
struct Deduplicated {
    /// Its readings; without the device and the numbers.
    entry: IntakeEntry,
    /// Highest sequence number.
    highest: u64,
    refusals: Vec<Refusal>,
    /// Messages that were taken before.
    duplicates: u64,
}

/// Sorts messages out whose number, or whose packet of the client, was taken before, and readings of series that are
/// refused. `before` is the highest number taken of the session's epoch, `entry` an empty one.
fn deduplicate(
    session: &SessionEntry,
    intake: &Intake,
    before: u64,
    mut packet_ids: Option<&mut PacketIds<'_>>,
    series_max: usize,
    entry: IntakeEntry,
) -> Deduplicated {
    let mut deduplicated = Deduplicated { entry, highest: before, refusals: Vec::new(), duplicates: 0 };
    let (mut start, mut last_time) = (0, 0_i64);
    for meta in &intake.messages {
        let readings = intake.readings.get(start..meta.readings_end).unwrap_or_default();
        start = meta.readings_end;
        if let Some(seq) = meta.seq {
            if seq <= deduplicated.highest {
                deduplicated.duplicates += 1;
                continue;
            }
            deduplicated.highest = seq;
        }
        if let Some(packet_ids) = &mut packet_ids {
            if packet_ids.is_duplicate(meta.effect) {
                deduplicated.duplicates += 1;
                continue;
            }
            if !is_ended(session, meta.effect, readings) {
                packet_ids.record(meta.effect);
            }
        }
        let (mut refused, mut full) = (0, SeriesFull::Device);
        let IntakeEntry { series: indexes, time: times, value: values, .. } = &mut deduplicated.entry;
        indexes.reserve(readings.len());
        times.reserve(readings.len());
        values.reserve(readings.len());
        let mut last: Option<(u32, u32)> = None;
        for reading in readings {
            // Readings of one series mostly follow one another.
            let series = match last {
                Some((known, series)) if known == reading.series => series,
                _ => {
                    let Some(series) = session.series.get(reading.series) else {
                        refused += 1;
                        full = session.series.full(reading.series);
                        continue;
                    };
                    last = Some((reading.series, series));
                    series
                }
            };
            let time = reading.time.as_nanos();
            indexes.push(series);
            times.push(time.wrapping_sub(last_time));
            values.push(reading.value);
            last_time = time;
        }
        if refused > 0 {
            deduplicated.refusals.push(too_many_series(meta, refused, full, series_max));
        }
    }
    deduplicated
}

/// Whether a message ends here because all its readings are refused: nothing is kept of its identifier then.
fn is_ended(session: &SessionEntry, effect: MqttEffect, readings: &[Reading]) -> bool {
    matches!(effect, MqttEffect::Qos2 { ends_refused: true, .. })
        && !readings.is_empty()
        && readings.iter().all(|reading| session.series.get(reading.series).is_none())
}

/// Learns the device's index of each series that the session uses for the first time, or that was refused before.
fn learn<D: Disk>(
    session: &mut SessionEntry,
    device: u32,
    intake: &Intake,
    series_max: usize,
    shard: &mut Shard<D>,
) -> Result<(), Backpressure> {
    for (index, metric, labels) in &intake.fresh {
        let known = shard.series(device, metric, labels)?;
        if let Err(full @ SeriesFull::Gateway(_)) = known {
            if session.series.refused.len() >= series_max {
                session.series.refused.pop_first();
            }
            let refused = RefusedSeries { metric: metric.clone(), labels: labels.clone(), full };
            session.series.refused.insert(*index, refused);
        }
        session.series.learn(*index, known.ok());
    }
    if session.series.refused.is_empty() {
        return Ok(());
    }
    let mut last = None;
    for index in intake.readings.iter().map(|reading| reading.series) {
        if last.replace(index) == Some(index) {
            continue;
        }
        let Some(refused) = session.series.refused.get_mut(&index) else { continue };
        match shard.series(device, &refused.metric, &refused.labels)? {
            Err(full) => refused.full = full,
            Ok(known) => {
                session.series.refused.remove(&index);
                session.series.learn(index, Some(known));
            }
        }
    }
    Ok(())
}

fn too_many_series(meta: &MessageMeta, count: u32, full: SeriesFull, series_max: usize) -> Refusal {
    let bound = match full {
        SeriesFull::Device => format!("a device may have {series_max} series, the gateway's series_max"),
        // Whether a bound is reached, only the aggregator knows: what is free is granted bit by bit.
        SeriesFull::Gateway(max) => format!(
            "this gateway may have {max} series, as its aggregator says, until those are delivered: send again later; if that \
             lasts, raise the aggregator's series_per_gateway_max, series_per_site_max or store_series_max, or forget series"
        ),
    };
    Refusal {
        reason: Reason::TooManySeries,
        message: format!("{count} readings of new series: {bound}"),
        ordinal: meta.ordinal,
        seq: meta.seq,
        count,
    }
}

#[cfg(test)]
mod tests;
