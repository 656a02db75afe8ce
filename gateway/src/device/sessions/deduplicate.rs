//! Which messages are new: by sequence number, or by the packet identifiers of an MQTT client.

use super::{packet_ids::PacketIds, registry::SessionEntry, session_series::too_many_series};
use crate::{
    fold::IntakeEntry,
    intake::{Intake, MqttEffect, Reading, Refusal},
    shard::SeriesFull,
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
