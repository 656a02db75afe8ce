//! The clock's decisions: which windows are due, when the watermark moves, when progress is written down, which
//! devices are forgotten. Decides only; the shard writes the entries that this proposes.
//!
//! On-time windows fall due by wall-clock time ([`crate::clock_guard`]). Late windows fall due once they have
//! gathered for the grace period by the monotonic clock, expressed as a journal position, so that a replay needs no
//! clock. An on-time window also falls due when it has been open, by the monotonic clock, for longer than a correct
//! clock would leave it open: so none stays open forever because the wall clock was put back or stands still.

use std::{sync::Arc, time::Duration};

use catchment_journal::Position;
use catchment_partial::{Timestamp, Window};

use super::{
    ShardLimits,
    expiry::{Expiry, Hold, Scan},
    position_history::PositionHistory,
    progress_tracker::{AdvancedEpochs, ProgressTracker},
};
use crate::{
    batch_encoder,
    clock::{Clock, nanos},
    clock_guard::ClockGuard,
    fold::{CloseEntry, ForgetEntry, ProgressSnapshotEntry, State},
};

/// Late windows gather at least this long, so that a device that sends its history costs one partial a window.
const LATE_GATHER_MIN: Duration = Duration::from_secs(1);
/// When there are too many open windows, this share of their bound is closed at once.
const SHED_SHARE: usize = 16;

/// What is due at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueBounds {
    /// On-time windows that end at or before this are due.
    target: Timestamp,
    /// The clock, less the grace: the target lies at or before it.
    until: Timestamp,
    /// Late windows opened before this position are due.
    late_before: u64,
    /// On-time windows opened before this position have been open for too long.
    opened_before: u64,
}

/// A progress snapshot that is due.
pub(super) struct ProposedSnapshot {
    pub(super) entry: ProgressSnapshotEntry,
    /// The devices that it covers.
    pub(super) devices: Vec<u32>,
    /// By the monotonic clock.
    pub(super) now: Duration,
}

/// Decides by the clock what a shard closes, writes down and forgets.
pub(super) struct Closer {
    clock: Arc<dyn Clock>,
    clock_guard: ClockGuard,
    grace: Duration,
    open_windows_max: usize,
    batch_memory: usize,
    /// Which late windows have waited long enough.
    late_positions: PositionHistory,
    /// Which on-time windows have been open for too long.
    stale_positions: PositionHistory,
    /// Position of the last close: the watermark is durable once the journal is synced beyond it.
    closed_at: Position,
    /// What was due when the clock was read last.
    looked: Option<DueBounds>,
    progress_tracker: ProgressTracker,
    expiry: Expiry,
}

impl Closer {
    /// Begins with the state of a recovery: where its journal ends, which epochs advanced since its last progress
    /// snapshot.
    pub(super) fn new(
        limits: &ShardLimits,
        clock: Arc<dyn Clock>,
        state: &State,
        end: Position,
        advanced: AdvancedEpochs,
    ) -> Self {
        let now = clock.mono();
        Self {
            clock,
            clock_guard: ClockGuard::default(),
            grace: limits.grace,
            open_windows_max: limits.open_windows_max,
            batch_memory: limits.batch_memory,
            late_positions: PositionHistory::new(limits.grace.max(LATE_GATHER_MIN)),
            stale_positions: PositionHistory::new(limits.open_max),
            closed_at: Position::ZERO,
            looked: None,
            progress_tracker: ProgressTracker::new(advanced, end, now),
            expiry: Expiry::new(limits, now, state.running()),
        }
    }

    /// The monotonic clock.
    pub(super) fn mono(&self) -> Duration {
        self.clock.mono()
    }

    /// The wall clock and the monotonic one.
    pub(super) fn now(&self) -> (Timestamp, Duration) {
        (self.clock.wall(), self.clock.mono())
    }

    /// A close of nothing, which makes a batch if it reports refused readings; `None` before the first close.
    pub(super) fn close_nothing(&self, state: &State) -> Option<CloseEntry> {
        let watermark = state.watermark().filter(|_| state.width().is_some())?;
        Some(CloseEntry { take: 0, ..close_entry(state, watermark, 0) })
    }

    /// Reads the clock: what is due now. `end` is the journal's end.
    pub(super) fn look(&mut self, state: &State, end: Position) -> DueBounds {
        let (now, end) = (self.clock.mono(), end.get());
        let (until, target) = self.target(state);
        let due = DueBounds {
            late_before: self.late_positions.position_at_age(now, end),
            opened_before: self.stale_positions.position_at_age(now, end),
            target,
            until,
        };
        self.looked = Some(due);
        due
    }

    /// Whether the watermark is ahead of the clock, which was put back.
    pub(super) fn is_ahead(&self, state: &State) -> bool {
        self.looked.is_some_and(|looked| state.watermark().is_some_and(|watermark| looked.until < watermark))
    }

    /// The watermark as an aggregator gets it. If it is ahead of the clock, which was put back, all readings are late: then
    /// the time up to which they have gathered and are closed, by the clock of now; `None` while a close of them is due.
    pub(super) fn reported_watermark(&self, state: &State) -> Option<Timestamp> {
        let watermark = state.watermark()?;
        let Some(looked) = self.looked.filter(|_| self.is_ahead(state)) else { return Some(watermark) };
        let gathered = looked.until.saturating_sub_nanos(nanos(self.grace.max(LATE_GATHER_MIN)));
        let waits = state.first_late().is_some_and(|part| part < looked.late_before);
        let window = |width| Window::containing(gathered, width).start();
        (!waits).then(|| state.width().map_or(gathered, window))
    }

    /// The clock less the grace, and the end of the last window that ended before.
    fn target(&mut self, state: &State) -> (Timestamp, Timestamp) {
        let grace = nanos(self.grace);
        let now = self.clock_guard.observe(self.clock.wall(), self.clock.mono()).time;
        let until = Timestamp::from_nanos(now.as_nanos().saturating_sub(grace));
        (until, state.width().map_or(until, |width| Window::containing(until, width).start()))
    }

    /// The next close that is due, if any: one batch.
    pub(super) fn next_close(&self, state: &State, due: &DueBounds) -> Option<CloseEntry> {
        let watermark = state.watermark();
        // The watermark never goes back, whatever the clock does.
        let next = watermark.map_or(due.target, |now| now.max(due.target));
        let (open, _) = state.open_count();
        if open > self.open_windows_max {
            let excess = open - self.open_windows_max + self.open_windows_max / SHED_SHARE;
            let take = u32::try_from(excess).unwrap_or(u32::MAX);
            return Some(self.close_any(state, due.late_before, take));
        }
        let on_time = state.first_end().is_some_and(|end| end <= next);
        let late = state.first_late().is_some_and(|part| part < due.late_before);
        // The least time means that there is no watermark: a close does not set it.
        let moves = watermark.map_or(next > Timestamp::MIN, |now| now < next);
        let stale = state.is_stale(due.opened_before);
        let entry =
            || CloseEntry { opened_before: due.opened_before, ..close_entry(state, next, due.late_before) };
        (on_time || late || moves || stale).then(|| self.one_batch(state, entry()))
    }

    /// A close of open windows whether they are due or not; the watermark stays. One batch.
    pub(super) fn close_any(&self, state: &State, late_before: u64, take: u32) -> CloseEntry {
        let watermark = state.watermark().unwrap_or(Timestamp::from_nanos(i64::MIN));
        self.one_batch(state, CloseEntry { all: true, take, ..close_entry(state, watermark, late_before) })
    }

    fn one_batch(&self, state: &State, mut entry: CloseEntry) -> CloseEntry {
        state.limit(&mut entry, self.batch_memory, batch_encoder::BATCH_PARTIALS);
        entry
    }

    /// A close was written at a position.
    pub(super) fn closed(&mut self, at: Position) {
        self.closed_at = at;
    }

    /// Position of the last close.
    pub(super) fn closed_at(&self) -> Position {
        self.closed_at
    }

    /// Messages of a device's epoch were taken.
    pub(super) fn note_intake(&mut self, device: u32, epoch: &str) {
        self.progress_tracker.note(device, epoch);
    }

    /// The progress snapshot that is due, if any.
    pub(super) fn progress_snapshot(&self, state: &State, end: Position) -> Option<ProposedSnapshot> {
        let now = self.clock.mono();
        self.progress_tracker.is_due(end, now).then(|| {
            let (entry, devices) = self.progress_tracker.snapshot(state);
            ProposedSnapshot { entry, devices, now }
        })
    }

    /// The snapshot of these devices, proposed at a time, was written; the journal ends at `end` now.
    pub(super) fn progress_written(&mut self, devices: &[u32], now: Duration, end: Position) {
        self.progress_tracker.written(devices, end, now);
    }

    /// How long the gateway has run, in seconds, when that is to be written down now: when a step has passed, and all
    /// devices were looked at since the last one.
    pub(super) fn running_step(&mut self, state: &State) -> Option<u32> {
        let (now, before) = (self.clock.mono(), state.running());
        self.expiry.step(now, before)
    }

    /// The running time was written.
    pub(super) fn running_written(&mut self) {
        self.expiry.begin_scan();
    }

    /// Looks at some devices: what is to be forgotten, what is to be listed as used. `None` between two scans.
    pub(super) fn scan_devices(&self, state: &State) -> Option<(ForgetEntry, Scan)> {
        self.expiry.scan(state)
    }

    /// What a scan found is written.
    pub(super) fn scanned(&mut self, scan: Scan) {
        self.expiry.scanned(scan);
    }

    /// A device was forgotten.
    pub(super) fn forget(&mut self, device: u32) {
        self.progress_tracker.forget(device);
    }

    /// Holds a device: nothing of it is forgotten until the hold is dropped.
    pub(super) fn hold(&mut self, device: u32) -> Hold {
        self.expiry.hold(device)
    }
}

fn close_entry(state: &State, watermark: Timestamp, late_before: u64) -> CloseEntry {
    CloseEntry {
        number: state.next_batch(),
        watermark_ns: watermark.as_nanos(),
        late_before,
        take: u32::MAX,
        ..CloseEntry::default()
    }
}
