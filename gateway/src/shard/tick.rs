//! A shard's tick: the entries that the clock makes due.

use catchment_journal::Disk;

use super::{Backpressure, Shard, closer::ProposedSnapshot, outbox::PendingBatch};
use crate::{
    batch_encoder,
    fold::{CloseEntry, Entry, ForgetEntry},
};

/// Batches closed in one go: devices are served in between.
const BATCHES_AT_ONCE: usize = 1;

impl<D: Disk> Shard<D> {
    /// Closes what is due. Returns whether more is due: call again soon.
    ///
    /// # Errors
    /// See [`Backpressure`]; what is due stays due.
    pub fn tick(&mut self) -> Result<bool, Backpressure> {
        self.journaled.commit_definitions();
        self.write_running_time()?;
        let due = self.closer.look(self.journaled.state(), self.journaled.journal().end());
        for _ in 0..BATCHES_AT_ONCE {
            // No close while a batch does not find room: batches would gather in memory.
            self.append_durable_batches();
            self.room()?;
            let Some(entry) = self.closer.next_close(self.journaled.state(), &due) else {
                self.report_refused()?;
                self.write_progress_snapshot()?;
                self.expire()?;
                return Ok(false);
            };
            // Whatever is due closes: there are too many open windows.
            let early = if entry.all { entry.take } else { 0 };
            self.close(entry)?;
            self.metrics.windows.closed_early.inc_by(early.into());
        }
        Ok(true)
    }

    /// Writes a close; its batch waits for the sync.
    pub(super) fn close(&mut self, entry: CloseEntry) -> Result<(), Backpressure> {
        match entry.last {
            Some(_) => self.close_reporting(entry),
            // There may be no batch.
            None => self.write_close(entry),
        }
    }

    /// Reports refused readings in a batch without windows, if they have waited for long.
    fn report_refused(&mut self) -> Result<(), Backpressure> {
        if !self.refused.is_due(self.closer.mono()) {
            return Ok(());
        }
        self.closer.close_nothing(self.journaled.state()).map_or(Ok(()), |entry| self.close_reporting(entry))
    }

    /// Writes a close whose batch reports the refused readings.
    fn close_reporting(&mut self, entry: CloseEntry) -> Result<(), Backpressure> {
        let refused = self.refused.take();
        let written = self.write_close(CloseEntry { refused: refused.clone(), ..entry });
        written.inspect_err(|_| self.refused.give_back(refused))
    }

    fn write_close(&mut self, entry: CloseEntry) -> Result<(), Backpressure> {
        let (position, emission) = self.journaled.record(Entry::Close(entry))?;
        self.closer.closed(position);
        if let Some(emission) = emission {
            self.metrics.partials.inc_by(emission.closed.len() as u64);
            let mut batch = batch_encoder::encode_batch(self.index, self.journaled.state(), &emission);
            if self.closer.is_ahead(self.journaled.state()) {
                // No aggregator would believe it; progress says how far the shard is.
                batch.watermark_ms = 0;
            }
            self.outbox.push(PendingBatch::new(position, &batch));
        }
        Ok(())
    }

    /// Writes how far devices have got, when that is due.
    fn write_progress_snapshot(&mut self) -> Result<(), Backpressure> {
        let Some(proposed) = self.closer.progress_snapshot(self.journaled.state(), self.end()) else {
            return Ok(());
        };
        let ProposedSnapshot { entry, devices, now } = proposed;
        self.journaled.record(Entry::ProgressSnapshot(entry))?;
        self.closer.progress_written(&devices, now, self.journaled.journal().end());
        Ok(())
    }

    /// Writes how long the gateway has run, when that is due.
    fn write_running_time(&mut self) -> Result<(), Backpressure> {
        if let Some(running_s) = self.closer.running_step(self.journaled.state()) {
            self.journaled.record(Entry::Forget(ForgetEntry { running_s, ..ForgetEntry::default() }))?;
            self.closer.running_written();
        }
        Ok(())
    }

    /// Looks at some devices: forgets what was unused for long, and lists connected devices as used.
    fn expire(&mut self) -> Result<(), Backpressure> {
        let Some((entry, scan)) = self.closer.scan_devices(self.journaled.state()) else { return Ok(()) };
        if !entry.is_empty() {
            self.forget(entry)?;
        }
        self.closer.scanned(scan);
        Ok(())
    }

    fn forget(&mut self, entry: ForgetEntry) -> Result<(), Backpressure> {
        let (devices, series) = (self.state().device_count(), self.state().series_count());
        let clients = entry.client.len() as u64;
        let (_, _, entry) = self.journaled.record_kept(Entry::Forget(entry))?;
        if let Entry::Forget(entry) = entry {
            entry.devices.iter().for_each(|device| self.closer.forget(*device));
        }
        let devices = devices.saturating_sub(self.state().device_count()) as u64;
        let series = series.saturating_sub(self.state().series_count()) as u64;
        self.budget.release_devices(devices);
        self.metrics.forget(devices, series, clients);
        Ok(())
    }
}
