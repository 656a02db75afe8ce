//! Records of a log that stay for a while although nothing needs them: delivered batches in the outbox, so that an
//! aggregator that lost them is refilled, and in the journal what checkpoints cover, for raw readings.
//!
//! They are the beginning of the log. An aggregator that was restored from a backup, or is empty, has a lower number
//! than what was delivered; the sender then continues after that number, as on any stream, and meets the kept batches.
//! They never take space that new batches need: [`catchment_journal::GroupLog::set_spare`] lets the log remove them
//! before an append is refused, and [`give_way`] before the file system is full.

mod limits;

use std::{collections::VecDeque, time::Duration};

use catchment_journal::{Disk, GroupLog, Position, Segment};

pub use self::limits::KeepLimits;

/// Steps in which the time of the delivery is remembered: batches stay at most this share of the time longer.
const STEPS: u32 = 64;
/// Free space of the file system below which kept batches are removed, so that journals never wait for it.
const FREE_MIN: u64 = 64 << 20;

/// The kept records of one log. *Delivered* means, of a journal, covered by a checkpoint. Pure, except for
/// [`Self::delivered`] and [`Self::expire`].
#[derive(Debug)]
pub struct KeptRecords {
    limits: KeepLimits,
    /// Everything before a position was delivered at a time or earlier, by the monotonic clock; ascending. At most
    /// [`STEPS`] + 2. What was delivered before the start of the process counts as delivered with the first of them.
    steps: VecDeque<(Position, Duration)>,
    /// When the last step began.
    step_began: Duration,
    /// The aggregator of the present stream has everything before this.
    present: Position,
}

impl KeptRecords {
    /// Nothing is known to be delivered.
    pub fn new(limits: KeepLimits) -> Self {
        let (steps, step_began) = (VecDeque::new(), Duration::ZERO);
        Self { limits, steps, step_began, present: Position::ZERO }
    }

    /// A stream begins. What its aggregator may lack is not removed for its age.
    pub fn begin_stream(&mut self) {
        self.present = Position::ZERO;
    }

    /// The aggregator of the stream has everything before `position`; `now` is the monotonic clock. Removes what need
    /// not be kept.
    pub fn delivered<D: Disk>(&mut self, outbox: &GroupLog<D>, position: Position, now: Duration) {
        self.note(position, now);
        outbox.set_spare(position);
        self.expire(outbox, now);
    }

    /// Removes what has become too old.
    pub fn expire<D: Disk>(&mut self, log: &GroupLog<D>, now: Duration) {
        let before = self.removable(log.spare(), &log.segments(), now);
        if before > log.start_position() {
            log.release(before);
        }
    }

    /// How long ago the oldest kept batch was delivered, or this process noticed it.
    pub fn age(&self, now: Duration) -> Duration {
        self.steps.front().map_or(Duration::ZERO, |(_, at)| now.saturating_sub(*at))
    }

    fn note(&mut self, position: Position, now: Duration) {
        self.present = self.present.max(position);
        match self.steps.back_mut() {
            Some((last, _)) if *last >= position => {}
            Some((last, at)) if now.saturating_sub(self.step_began) < self.limits.time / STEPS => {
                (*last, *at) = (position, now);
            }
            _ => {
                self.steps.push_back((position, now));
                self.step_began = now;
            }
        }
    }

    /// Everything before this need not be kept. Of all that was delivered (`spare`), too old or too much; never what
    /// the present aggregator may lack.
    fn removable(&mut self, spare: Position, segments: &[Segment], now: Duration) -> Position {
        let mut before = Position::ZERO;
        while let Some((position, at)) = self.steps.front().copied() {
            if now.saturating_sub(at) < self.limits.time {
                break;
            }
            self.steps.pop_front();
            before = position;
        }
        before.max(beyond(segments, spare, self.limits.bytes)).min(self.present)
    }
}

/// Start of the first segment such that it and the later ones hold at most `bytes_max` bytes of spare segments.
fn beyond(segments: &[Segment], spare: Position, bytes_max: u64) -> Position {
    let mut before = Position::ZERO;
    let ends = || segments.iter().skip(1).map(|next| next.start);
    let spare = || segments.iter().zip(ends()).take_while(move |(_, end)| *end <= spare);
    let mut bytes: u64 = spare().map(|(segment, _)| segment.file_bytes).sum();
    for (segment, end) in spare() {
        if bytes <= bytes_max {
            break;
        }
        bytes = bytes.saturating_sub(segment.file_bytes);
        before = end;
    }
    before
}

/// Removes kept records while the file system of the logs, which is one, has little free space. Queries it: not for
/// a thread that must not block.
pub fn give_way<'a, D: Disk + 'a>(logs: impl Iterator<Item = &'a GroupLog<D>>) {
    let mut short = None;
    for log in logs {
        // Without an answer nothing is removed: appends that find no space remove it.
        let missing =
            short.get_or_insert_with(|| FREE_MIN.saturating_sub(log.free_bytes().unwrap_or(FREE_MIN)));
        let kept = log.spare_bytes();
        if *missing > 0 && kept > 0 {
            let before = beyond(&log.segments(), log.spare(), kept.saturating_sub(*missing));
            log.release(before);
            *missing = missing.saturating_sub(kept);
        }
    }
}

#[cfg(test)]
mod tests;
