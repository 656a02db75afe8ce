//! The clock's decisions, as entries of the journal: which windows are due, when the watermark moves.
//!
//! On-time windows fall due by the time of day ([`crate::clock_guard`]); late ones once they have gathered for the grace
//! period by a clock that does not jump, expressed as a journal position, so that a replay needs no clock. By that clock
//! an on-time window falls due too when it has been open for longer than any clock that goes right would leave it: so
//! none stays open for ever because the time of day was put back or stands still.

use std::{collections::BTreeMap, time::Duration};

use catchment_journal::{Disk, Position};
use catchment_partial::{Timestamp, Window};

use super::{Backpressure, Pending, Shard};
use crate::{
    batch_encoder,
    clock::nanos,
    fold::{CloseEntry, DEVICE_EPOCHS_MAX, Entry, ProgressSnapshotEntry},
};

/// Late windows gather at least so long: a device that sends its history then costs one partial a window.
pub(super) const LATE_GATHER_MIN: Duration = Duration::from_secs(1);
/// Batches closed in one go: devices are served in between.
const BATCHES_AT_ONCE: usize = 1;
/// A share of the bound of open windows that is closed at once when it is exceeded.
const SHED_SHARE: usize = 16;

impl<D: Disk> Shard<D> {
    /// Closes what is due. Returns whether more is due: call again soon.
    ///
    /// # Errors
    /// See [`Backpressure`]; what is due stays due.
    pub fn tick(&mut self) -> Result<bool, Backpressure> {
        self.definitions_log.commit(self.journal.durable());
        self.note_running()?;
        let (now, end) = (self.clock.mono(), self.journal.end().get());
        let late_before = self.late_positions.position_at_age(now, end);
        let opened_before = self.stale_positions.position_at_age(now, end);
        let target = self.target();
        for _ in 0..BATCHES_AT_ONCE {
            // No close while a batch cannot be put away: that would gather them in memory.
            self.append_durable_batches();
            self.room()?;
            let Some(mut entry) = self.due(target, late_before, opened_before) else {
                self.write_progress_snapshot()?;
                self.expire()?;
                return Ok(false);
            };
            self.state.limit(&mut entry, self.limits.batch_memory, batch_encoder::BATCH_PARTIALS);
            self.close(entry)?;
        }
        Ok(true)
    }

    pub(super) fn entry(&self, watermark: Timestamp, late_before: u64) -> CloseEntry {
        CloseEntry {
            number: self.state.next_batch(),
            watermark_ns: watermark.as_nanos(),
            late_before,
            take: u32::MAX,
            ..CloseEntry::default()
        }
    }

    /// The next close that is due, if any.
    pub(super) fn due(&self, target: Timestamp, late_before: u64, opened_before: u64) -> Option<CloseEntry> {
        let watermark = self.state.watermark();
        // The watermark never goes back, whatever the clock does.
        let next = watermark.map_or(target, |now| now.max(target));
        let (open, _) = self.state.open_count();
        if open > self.limits.open_windows_max {
            let excess = open - self.limits.open_windows_max + self.limits.open_windows_max / SHED_SHARE;
            let mut entry = self.entry(watermark.unwrap_or(Timestamp::from_nanos(i64::MIN)), late_before);
            entry.all = true;
            entry.take = u32::try_from(excess).unwrap_or(u32::MAX);
            return Some(entry);
        }
        let on_time = self.state.first_end().is_some_and(|end| end <= next);
        let late = self.state.first_late().is_some_and(|part| part < late_before);
        // The least time is none: a close sets no watermark to it.
        let moves = watermark.map_or(next > Timestamp::MIN, |now| now < next);
        let stale = self.state.is_stale(opened_before);
        let entry = || CloseEntry { opened_before, ..self.entry(next, late_before) };
        (on_time || late || moves || stale).then(entry)
    }

    /// The end of the last window that has waited for its grace.
    pub(super) fn target(&mut self) -> Timestamp {
        let grace = nanos(self.limits.grace);
        let now = self.clock_guard.observe(self.clock.wall(), self.clock.mono()).time;
        let until = Timestamp::from_nanos(now.as_nanos().saturating_sub(grace));
        match self.state.width() {
            Some(width) => Window::containing(until, width).start(),
            None => until,
        }
    }

    pub(super) fn close(&mut self, entry: CloseEntry) -> Result<(), Backpressure> {
        let (position, emission) = self.record(Entry::Close(entry))?;
        self.closed_at = position;
        if let Some(emission) = emission {
            self.metrics.partials.inc_by(emission.closed.len() as u64);
            let batch = batch_encoder::encode_batch(self.index, &self.state, &emission);
            self.pending
                .push_back(Pending { closed_at: position, record: batch_encoder::encode_record(&batch) });
        }
        Ok(())
    }

    /// Writes down how far devices have got, when much was written or much time has passed since the last time.
    fn write_progress_snapshot(&mut self) -> Result<(), Backpressure> {
        let (now, end) = (self.clock.mono(), self.journal.end());
        let grown = end.since(self.progress_tracker.at) >= PROGRESS_SNAPSHOT_BYTES;
        if self.progress_tracker.changed.is_empty()
            || !(grown || now.saturating_sub(self.progress_tracker.since) >= PROGRESS_SNAPSHOT_EVERY)
        {
            return Ok(());
        }
        let mut entry = ProgressSnapshotEntry::default();
        let mut devices = Vec::new();
        for (device, epochs) in self.progress_tracker.changed.iter() {
            if entry.device.len() >= PROGRESS_SNAPSHOT_EPOCHS_MAX {
                break;
            }
            devices.push(device);
            let known = self.state.epochs(device).filter(|(epoch, _)| epochs.iter().any(|e| **e == **epoch));
            for (epoch, highest) in known {
                entry.device.push(device);
                entry.epoch.push(epoch.to_owned());
                entry.highest.push(highest);
            }
        }
        self.record(Entry::ProgressSnapshot(entry))?;
        for device in devices {
            self.progress_tracker.changed.forget(device);
        }
        if self.progress_tracker.changed.is_empty() {
            (self.progress_tracker.at, self.progress_tracker.since) = (self.journal.end(), now);
        }
        Ok(())
    }
}

/// Journal bytes and time between two progress snapshots: what damage can leave unknown.
const PROGRESS_SNAPSHOT_BYTES: u64 = 1 << 20;
const PROGRESS_SNAPSHOT_EVERY: Duration = Duration::from_secs(60);
/// Epochs in one entry, beyond which no device is added; they are at most 64 bytes each, and a device has at most
/// [`DEVICE_EPOCHS_MAX`] and the one without text.
const PROGRESS_SNAPSHOT_EPOCHS_MAX: usize = 4_096;

/// Devices whose numbers moved since the last progress snapshot.
#[derive(Debug, Default)]
pub(super) struct ProgressTracker {
    pub(super) changed: AdvancedEpochs,
    pub(super) at: Position,
    pub(super) since: Duration,
}

/// Epochs of devices in which numbers moved; the empty one stands for readings without number.
#[derive(Debug, Default)]
pub(super) struct AdvancedEpochs(BTreeMap<u32, Vec<Box<str>>>);

impl AdvancedEpochs {
    pub(super) fn note(&mut self, device: u32, epoch: &str) {
        let epochs = self.0.entry(device).or_default();
        if epochs.iter().any(|known| **known == *epoch) {
            return;
        }
        // The state forgets older ones too.
        if epochs.len() > DEVICE_EPOCHS_MAX {
            epochs.remove(0);
        }
        epochs.push(epoch.into());
    }

    /// A progress snapshot holds what moved.
    pub(super) fn forget(&mut self, device: u32) {
        self.0.remove(&device);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &[Box<str>])> {
        self.0.iter().map(|(device, epochs)| (*device, epochs.as_slice()))
    }
}
