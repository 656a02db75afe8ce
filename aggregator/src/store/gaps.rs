//! Batches that were made and that this store lacks. Pure.
//!
//! A gateway numbers the batches of a shard without gap. One that comes beyond the next shows that those between are lost: to
//! the store (an older copy of its folder, damage to its journal) or to the gateway (damage to its outbox). How far windows were
//! closed before and after does not tell which windows they held: there were late ones among them, and such as were closed early.
//! So a batch says which times those before it cover ([`History`]), as does a report, and a gap begins where the first of the
//! missing windows starts. Of a gateway that does not say (an older version, or damage of its own), nobody knows what is missing:
//! its gap reaches from the beginning.
//!
//! Likewise a gap ends with the last of the missing windows. Where that is not known, it is the watermark that tells: a close is
//! delivered in several batches, and only the last of them moves it. So such a gap ends where the watermark moves for the first time
//! after it was noticed, not at the watermark of the batch that showed it.

use catchment_partial::Timestamp;
use catchment_proto::History;

use super::{Gap, ProgressReport, catalog::Shard};

/// Most gaps of one shard.
const SHARD_MAX: usize = 64;
/// Most gaps of an epoch, over all of its shards: its record stays well below the 64 KiB that sled keeps in one piece.
const EPOCH_MAX: usize = 256;

/// Most gaps of each shard of an epoch with so many shards. Beyond it the two that are nearest become one.
pub(super) fn gaps_max(shards: usize) -> usize {
    (EPOCH_MAX / shards.max(1)).clamp(1, SHARD_MAX)
}

/// A gap in the batches of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardGap {
    /// The first and the last missing batch; 0: their numbers are not known. Batches between that came are not missing.
    pub(super) first: u64,
    pub(super) last: u64,
    /// How far windows were closed when it was noticed.
    pub(super) noticed: Option<Timestamp>,
    /// The end of the last window that is missing, as far as it is known.
    pub(super) end: Option<Timestamp>,
    pub(super) gap: Gap,
}

impl ShardGap {
    /// Windows that end up to `to` are lost, nobody knows which or how many; `None`: up to where the shard is.
    pub(super) fn unknown(to: Option<Timestamp>) -> Self {
        Self { first: 0, last: 0, noticed: None, end: None, gap: Gap { from: None, to, batches: 0 } }
    }

    /// What is known to be missing.
    pub(super) fn to_gap(&self) -> Gap {
        Gap { to: self.gap.to.map(|to| self.end.map_or(to, |end| end.max(to))), ..self.gap }
    }

    fn adjoins(&self, later: &Self) -> bool {
        self.gap.to.is_none_or(|to| later.gap.from.is_none_or(|from| from <= to))
    }

    fn join(&mut self, later: &Self) {
        // With one whose numbers are not known, those of both are not.
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        self.noticed = self.noticed.max(later.noticed);
        self.end = self.end.max(later.end);
        self.gap.from = self.gap.from.min(later.gap.from);
        self.gap.to = self.gap.to.and_then(|to| later.gap.to.map(|later| later.max(to)));
        self.gap.batches = self.gap.batches.saturating_add(later.gap.batches);
    }
}

/// Puts gaps in the order of time, makes one of those that touch, and of the two nearest while there are more than `max`.
pub(super) fn merge(mut gaps: Vec<ShardGap>, max: usize) -> Vec<ShardGap> {
    gaps.sort_by_key(|gap| (gap.gap.from, gap.gap.to.unwrap_or(Timestamp::MAX)));
    let mut merged: Vec<ShardGap> = Vec::with_capacity(gaps.len());
    for gap in gaps {
        match merged.last_mut().filter(|last| last.adjoins(&gap)) {
            Some(last) => last.join(&gap),
            None => merged.push(gap),
        }
    }
    while merged.len() > max.max(1) {
        let between = |(at, pair): (usize, &[ShardGap])| match pair {
            [a, b] => Some((b.gap.from?.saturating_nanos_since(a.gap.to?), at + 1)),
            _ => None,
        };
        let Some((_, second)) = merged.windows(2).enumerate().filter_map(between).min() else { break };
        let later = merged.remove(second);
        if let Some(first) = merged.get_mut(second - 1) {
            first.join(&later);
        }
    }
    merged
}

/// How many batches are missing.
pub(super) fn batches(gaps: &[ShardGap]) -> u64 {
    gaps.iter().fold(0, |sum, gap| sum.saturating_add(gap.gap.batches))
}

impl Shard {
    /// A batch is applied: notes what is missing before it, as far as it says of earlier ones, and moves number and watermark,
    /// neither of which goes back.
    pub(super) fn record(
        &mut self,
        number: u64,
        watermark: Option<Timestamp>,
        history: &History,
        gaps_max: usize,
    ) {
        self.end_open_gap(watermark, false);
        if number > self.number {
            self.note_missing(number - 1, watermark.max(self.whole_to), None, history, gaps_max);
            self.note_found(number);
        }
        self.number = self.number.max(number);
        self.watermark = self.watermark.max(watermark);
        self.whole_to = self.whole_to.max(watermark);
    }

    /// The shard has closed its windows up to a watermark, and all that it made is delivered.
    pub(super) fn record_progress(&mut self, report: &ProgressReport, gaps_max: usize) {
        let &ProgressReport { watermark, last: number, ref history, .. } = report;
        self.end_open_gap(watermark, true);
        if number > self.number {
            let to = watermark.map(|watermark| self.whole_to.map_or(watermark, |whole| whole.max(watermark)));
            self.note_missing(number, watermark.max(self.whole_to), to, history, gaps_max);
        }
        self.watermark = self.watermark.max(watermark);
        // Without a number some batch may be missing that only a later one will show.
        if number > 0 && number >= self.number {
            self.whole_to = self.whole_to.max(watermark);
        }
    }

    /// Notes that the batches behind the last one applied, up to `last`, are missing, unless it is noted.
    fn note_missing(
        &mut self,
        last: u64,
        noticed: Option<Timestamp>,
        to: Option<Timestamp>,
        history: &History,
        gaps_max: usize,
    ) {
        let noted = self.gaps.iter().map(|gap| gap.last).max().unwrap_or(0);
        let first = self.number.max(noted).saturating_add(1);
        if last < first {
            return;
        }
        let batches = last - first + 1;
        let span = history.of_last(batches);
        // A gateway that knows how far what is missing reaches need not know where it begins.
        let from = span.map(|span| span.from).filter(|from| *from > Timestamp::MIN);
        let end = span.map(|span| span.to);
        // What is known ends at once: the epoch may end with it, and its watermark never move again.
        let gap = Gap { from, to: end.or(to), batches };
        self.gaps.push(ShardGap { first, last, noticed, end, gap });
        self.gaps = merge(std::mem::take(&mut self.gaps), gaps_max);
    }

    /// A batch came that was noted as missing: its gateway had reported it before. So what is lost does not depend on which of the
    /// two is heard first, as after a restart, when the gateway reports again.
    fn note_found(&mut self, number: u64) {
        let missed = |gap: &ShardGap| (gap.first..=gap.last).contains(&number);
        let Some(at) = self.gaps.iter().position(missed) else { return };
        let Some(gap) = self.gaps.get_mut(at) else { return };
        gap.gap.batches = gap.gap.batches.saturating_sub(1);
        gap.first += u64::from(gap.first == number);
        if gap.gap.batches == 0 && gap.first > self.number {
            self.gaps.remove(at);
        }
    }

    /// Ends the gap that has no end yet, once the windows of all its batches are closed: with all batches `delivered` that is
    /// so at this watermark, else at the first one beyond that at which it was noticed.
    fn end_open_gap(&mut self, watermark: Option<Timestamp>, delivered: bool) {
        let Some(watermark) = watermark else { return };
        for gap in self.gaps.iter_mut().filter(|gap| gap.gap.to.is_none()) {
            let beyond = gap.noticed.is_none_or(|noticed| noticed < watermark);
            if beyond || delivered && gap.noticed == Some(watermark) {
                gap.gap.to = Some(watermark);
            }
        }
    }
}

#[cfg(test)]
mod tests;
