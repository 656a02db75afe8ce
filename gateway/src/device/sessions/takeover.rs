//! A program takes over from an earlier session of its own: by a hello in the same epoch, or as the same MQTT client.

use std::{sync::Arc, time::Duration};

use catchment_journal::{Disk, Position};

use super::{
    packet_ids::MqttSession,
    registry::{DeviceSessions, SessionEntry, SessionId},
};
use crate::{
    fold::ClientEntry,
    mqtt::connection::Open,
    shard::{Backpressure, Shard},
};

/// Messages that a session sends this long after another one said hello in its epoch were not in flight then: two
/// programs share the epoch.
pub(super) const TAKEOVER_GRACE: Duration = Duration::from_secs(5);

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
    /// The earlier session of the same client, which must end.
    pub taken_over: Option<SessionId>,
}

impl DeviceSessions {
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

    /// A client (MQTT) opens its session; another connection of the same client is none of the device's any more.
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
        let mut taken_over = None;
        self.sessions.retain(|known| {
            let other =
                known.client.as_ref().is_some_and(|client| client.is(&open.client)) && known.id != session;
            if other {
                taken_over = Some(known.id);
            }
            !other
        });
        if let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) {
            session.client = Some(MqttSession::new(Arc::clone(&open.client), open.persistent, ids));
        }
        Ok(Opened { present: stored && !open.clean, durable_at: shard.end(), taken_over })
    }
}

impl SessionEntry {
    /// The epoch of a session that still sends after another one took it over; reported once.
    pub(super) fn take_shared_epoch(&mut self, now: Duration) -> Option<Arc<str>> {
        let lives = |since: &mut Duration| now.saturating_sub(*since) >= TAKEOVER_GRACE;
        self.taken_over_at.take_if(lives)?;
        self.epoch.clone()
    }
}
