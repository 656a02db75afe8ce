//! The clock's decisions, as entries of the journal: which windows are due, when the watermark moves.
//!
//! On-time windows fall due by the time of day; late ones once they have gathered for the grace period by a
//! clock that does not jump, expressed as a journal position, so that a replay needs no clock.

use std::time::Duration;

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Window};

use super::{Pending, Shard, Wait};
use crate::{
    cut,
    fold::{CloseEntry, Entry},
};

/// Late windows gather at least so long: a device that sends its history then costs one partial a window.
const LATE_GATHER_MIN: Duration = Duration::from_secs(1);
/// Batches closed in one go, so that devices are served in between.
const BATCHES_AT_ONCE: usize = 8;
/// A share of the bound of open windows that is closed at once when it is exceeded.
const SHED_SHARE: usize = 16;

impl<D: Disk> Shard<D> {
    /// Closes what is due. Returns whether more is due: call again soon.
    ///
    /// # Errors
    /// See [`Wait`]; what is due stays due.
    pub fn tick(&mut self) -> Result<bool, Wait> {
        let late_before = self.gathered();
        for _ in 0..BATCHES_AT_ONCE {
            // No close while a batch cannot be put away: that would gather them in memory.
            self.move_durable();
            self.room()?;
            let Some(mut entry) = self.due(late_before) else { return Ok(false) };
            entry.take =
                self.state.measure(&entry, self.limits.batch_memory, cut::BATCH_PARTIALS).min(entry.take);
            self.close(entry)?;
        }
        Ok(true)
    }

    fn entry(&self, watermark: Timestamp, late_before: u64) -> CloseEntry {
        CloseEntry {
            number: self.state.next_batch(),
            watermark_ns: watermark.as_nanos(),
            late_before,
            all: false,
            take: u32::MAX,
        }
    }

    /// The next close that is due, if any.
    fn due(&self, late_before: u64) -> Option<CloseEntry> {
        let target = self.target();
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
        let moves = watermark.is_none_or(|now| now < next);
        (on_time || late || moves).then(|| self.entry(next, late_before))
    }

    /// The end of the last window that has waited for its grace.
    fn target(&self) -> Timestamp {
        let grace = i64::try_from(self.limits.grace.as_nanos()).unwrap_or(i64::MAX);
        let until = Timestamp::from_nanos(self.clock.wall().as_nanos().saturating_sub(grace));
        match self.state.width() {
            Some(width) => Window::containing(until, width).start(),
            None => until,
        }
    }

    /// Position before which late windows have gathered for long enough.
    fn gathered(&mut self) -> u64 {
        let now = self.clock.mono();
        let gather = self.limits.grace.max(LATE_GATHER_MIN);
        let end = self.journal.end().get();
        if self.past_ends.back().is_none_or(|(_, last)| *last != end) {
            self.past_ends.push_back((now, end));
        }
        // Keep the newest that is old enough in front.
        let old_enough = |at: &Duration| *at + gather <= now;
        while self.past_ends.get(1).is_some_and(|(at, _)| old_enough(at)) {
            self.past_ends.pop_front();
        }
        self.past_ends.front().filter(|(at, _)| old_enough(at)).map_or(0, |(_, end)| *end)
    }

    fn close(&mut self, entry: CloseEntry) -> Result<(), Wait> {
        let (position, emission) = self.record(Entry::Close(entry))?;
        self.closed_at = position;
        if let Some(emission) = emission {
            self.metrics.partials.inc_by(emission.closed.len() as u64);
            let batch = cut::batch(self.index, &self.state, &emission);
            self.pending.push_back(Pending { closed_at: position, record: cut::record(&batch) });
        }
        Ok(())
    }
}
