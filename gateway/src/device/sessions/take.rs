//! Messages of a session into the shard.

use catchment_journal::{Disk, Position};

use super::{
    deduplicate::{Deduplicated, deduplicate},
    packet_ids::PacketIds,
    registry::{DeviceSessions, SessionId},
};
use crate::{
    intake::{Intake, Refusal},
    shard::{Backpressure, Shard},
};

/// The outcome of handing messages on.
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
        /// The device must be slowed: journal or outbox come near their bound.
        slow: bool,
    },
    /// Nothing was taken and nothing may be acknowledged: the session was ended by a newer one.
    Ended,
}

impl DeviceSessions {
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
        shard.room_for(intake.readings.len())?;
        session.series.learn_all(device, intake, self.series_max, shard)?;
        let epoch = session.epoch.clone();
        let before = epoch.as_deref().map_or(0, |epoch| shard.state().highest(device, epoch));
        let empty = shard.spare();
        let mut packet_ids =
            session.client.as_ref().map(|client| PacketIds::new(client, device, shard.state()));
        let Deduplicated { mut entry, highest, refusals, duplicates } =
            deduplicate(session, intake, before, packet_ids.as_mut(), self.series_max, empty);
        entry.device = device;
        let ack =
            if epoch.is_some() { highest } else { intake.messages.last().map_or(0, |meta| meta.ordinal) };
        let taken = entry.readings();
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
        let shared = if intake.messages.is_empty() { None } else { session.take_shared_epoch(shard.mono()) };
        self.note_name_collisions(&intake.spellings);
        if let Some(epoch) = shared {
            self.warn_shared_epoch(&epoch);
        }
        self.charge_readings(intake, shard.mono());
        self.count_taken(taken, intake.messages.len() as u64, duplicates);
        Ok(IntakeOutcome::Taken { ack, durable_at: shard.end(), refusals, slow: shard.is_near_full() })
    }
}
