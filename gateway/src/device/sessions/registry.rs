//! A device and its sessions.

use std::{sync::Arc, time::Duration};

use catchment_journal::Disk;
use catchment_proto::Name;

use super::{packet_ids::MqttSession, readings_rate::ReadingsRate, session_series::SessionSeries};
use crate::{
    intake::NameCollisions,
    metrics::Metrics,
    shard::{Backpressure, Hold, Shard},
};

/// Number of a session, unique in its process.
pub type SessionId = u64;

/// A session, as its device sees it.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) id: SessionId,
    pub(super) epoch: Option<Arc<str>>,
    /// When another session said hello in the same epoch, by the shard's clock.
    pub(super) taken_over_at: Option<Duration>,
    pub(super) client: Option<MqttSession>,
    /// It counts among the device's connections: see `admission`.
    pub(super) admitted: bool,
    pub(super) series: SessionSeries,
}

/// A device and its sessions.
pub struct DeviceSessions {
    pub(super) name: Name,
    /// Its index in the shard, held while the device has sessions: they remember indexes of its series, which stay
    /// valid as long.
    index: Option<(u32, Hold)>,
    pub(super) sessions: Vec<SessionEntry>,
    pub(super) sessions_max: usize,
    pub(super) series_max: usize,
    pub(super) name_collisions: NameCollisions,
    /// A session that was silent for less counts as alive: one that was displaced after half of it turned out to be.
    pub(super) silent_for: Duration,
    pub(super) readings_rate: ReadingsRate,
    pub(super) metrics: Arc<Metrics>,
}

impl SessionEntry {
    /// A session of which nothing is known yet.
    pub(super) fn new(id: SessionId) -> Self {
        let series = SessionSeries::default();
        Self { id, epoch: None, taken_over_at: None, client: None, admitted: false, series }
    }
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
            readings_rate: ReadingsRate::default(),
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

    /// The device's index in the shard, which has room for what follows; introduces the device if it is new.
    pub(super) fn ensure_device<D: Disk>(&mut self, shard: &mut Shard<D>) -> Result<u32, Backpressure> {
        shard.room()?;
        if let Some((index, _)) = self.index {
            return Ok(index);
        }
        let index = shard.device(&self.name)?;
        self.hold(shard);
        Ok(index)
    }
}
