//! Which messages are new: by sequence number, or by the packet identifiers of an MQTT client.

use super::{
    columns::{Columns, Refused},
    packet_ids::PacketIds,
    registry::SessionEntry,
    session_series::too_many_series,
};
use crate::{
    fold::IntakeEntry,
    intake::{Intake, MqttEffect, Reading, Refusal},
};

/// The new ones of some messages.
pub(super) struct Deduplicated {
    /// Its readings; without the device and the numbers.
    pub(super) entry: IntakeEntry,
    /// Highest sequence number.
    pub(super) highest: u64,
    pub(super) refusals: Vec<Refusal>,
    /// Messages that were taken before.
    pub(super) duplicates: u64,
}

/// Drops messages whose sequence number or packet identifier was taken before, and readings of series that are refused.
/// `before` is the highest number taken of the session's epoch, `entry` an empty one.
pub(super) fn deduplicate(
    session: &SessionEntry,
    intake: &Intake,
    before: u64,
    mut packet_ids: Option<&mut PacketIds<'_>>,
    series_max: usize,
    entry: IntakeEntry,
) -> Deduplicated {
    let (mut highest, mut refusals, mut duplicates) = (before, Vec::new(), 0);
    let mut columns = Columns::new(session, &intake.states, entry);
    let mut start = 0;
    for meta in &intake.messages {
        let begin = std::mem::replace(&mut start, meta.readings_end);
        let readings = intake.readings.get(begin..meta.readings_end).unwrap_or_default();
        if let Some(seq) = meta.seq {
            if seq <= highest {
                duplicates += 1;
                continue;
            }
            highest = seq;
        }
        if let Some(packet_ids) = &mut packet_ids {
            if packet_ids.is_duplicate(meta.effect) {
                duplicates += 1;
                continue;
            }
            if !is_ended(session, meta.effect, readings) {
                packet_ids.record(meta.effect);
            }
        }
        let Refused { count, full } = columns.add(begin, readings);
        if count > 0 {
            refusals.push(too_many_series(meta, count, full, series_max));
        }
    }
    Deduplicated { entry: columns.entry, highest, refusals, duplicates }
}

/// Whether a message ends here because all its readings are refused: nothing is kept of its identifier then.
fn is_ended(session: &SessionEntry, effect: MqttEffect, readings: &[Reading]) -> bool {
    matches!(effect, MqttEffect::Qos2 { ends_refused: true, .. })
        && !readings.is_empty()
        && readings.iter().all(|reading| session.series.get(reading.series).is_none())
}
