//! Batches that gateways made and this store lacks. Pure.
//!
//! A gateway numbers the batches of a shard without gaps, so a batch beyond the next number shows that those between
//! are lost: by the store (an older copy of its folder, damage to its journal) or by the gateway (damage to its
//! outbox). The watermarks before and after do not tell which windows they held: some were late, some were closed
//! early. So a batch carries the times that earlier batches cover ([`History`]), as does a progress report, and a gap
//! begins at the start of the first missing window. If the gateway does not report this (an older version, or damage
//! of its own), nobody knows what is missing, and the gap reaches from the beginning.
//!
//! Likewise a gap ends with the last missing window. If that is unknown, the watermark decides: a close is delivered
//! in several batches, and only the last one moves the watermark. So such a gap ends where the watermark moves for
//! the first time after the gap was noticed, not at the watermark of the batch that revealed it.

use catchment_partial::Timestamp;
use catchment_proto::History;

use crate::store::{Gap, ProgressReport, catalog::Shard};

/// Most gaps of one shard.
const SHARD_MAX: usize = 64;
/// Most gaps of an epoch over all its shards: its record stays well below the 64 KiB that sled keeps in one piece.
const EPOCH_MAX: usize = 256;

/// Most gaps per shard of an epoch with this many shards. Beyond it the two nearest gaps are merged.
pub(in crate::store) fn gaps_max(shards: usize) -> usize {
    (EPOCH_MAX / shards.max(1)).clamp(1, SHARD_MAX)
}

/// A gap in the batches of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ShardGap {
    /// First and last missing batch; 0: numbers unknown. Batches between them that arrived are not missing.
    pub(in crate::store) first: u64,
    pub(in crate::store) last: u64,
    /// Time up to which windows were closed when it was noticed.
    pub(in crate::store) noticed: Option<Timestamp>,
    /// End of the last missing window, as far as known.
    pub(in crate::store) end: Option<Timestamp>,
    pub(in crate::store) gap: Gap,
}

impl ShardGap {
    /// Windows that end up to `to` are lost, unknown which and how many; `None`: the end is not known yet.
    pub(in crate::store) fn unknown(to: Option<Timestamp>) -> Self {
        Self { first: 0, last: 0, noticed: None, end: None, gap: Gap { from: None, to, batches: 0 } }
    }

    /// Windows that end after `from`, and up to `to`, are lost, unknown which and how many.
    pub(in crate::store) fn between(from: Timestamp, to: Timestamp) -> Self {
        Self { gap: Gap { from: Some(from), to: Some(to), batches: 0 }, ..Self::unknown(None) }
    }

    /// The gap as known so far.
    pub(in crate::store) fn to_gap(self) -> Gap {
        Gap { to: self.gap.to.map(|to| self.end.map_or(to, |end| end.max(to))), ..self.gap }
    }

    fn adjoins(&self, later: &Self) -> bool {
        self.gap.to.is_none_or(|to| later.gap.from.is_none_or(|from| from <= to))
    }

    fn join(&mut self, later: &Self) {
        // If the numbers of one are unknown, so are those of both.
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        self.noticed = self.noticed.max(later.noticed);
        self.end = self.end.max(later.end);
        self.gap.from = self.gap.from.min(later.gap.from);
        self.gap.to = self.gap.to.and_then(|to| later.gap.to.map(|later| later.max(to)));
        self.gap.batches = self.gap.batches.saturating_add(later.gap.batches);
    }
}

/// Sorts gaps by time, merges those that touch, and merges the two nearest while there are more than `max`.
pub(in crate::store) fn merge(mut gaps: Vec<ShardGap>, max: usize) -> Vec<ShardGap> {
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

/// Number of missing batches.
pub(in crate::store) fn batches(gaps: &[ShardGap]) -> u64 {
    gaps.iter().fold(0, |sum, gap| sum.saturating_add(gap.gap.batches))
}

impl Shard {
    /// Records an applied batch: notes what is missing before it, as far as its history describes earlier batches,
    /// and advances number and watermark, neither of which goes back.
    pub(in crate::store) fn record(
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

    /// Records that the shard has closed its windows up to a watermark and delivered everything it made.
    pub(in crate::store) fn record_progress(&mut self, report: &ProgressReport, gaps_max: usize) {
        let &ProgressReport { watermark, last: number, ref history, .. } = report;
        self.end_open_gap(watermark, true);
        if number > self.number {
            let to = watermark.map(|watermark| self.whole_to.map_or(watermark, |whole| whole.max(watermark)));
            self.note_missing(number, watermark.max(self.whole_to), to, history, gaps_max);
        }
        self.watermark = self.watermark.max(watermark);
        // Without a number, a batch may be missing that only a later one will reveal.
        if number > 0 && number >= self.number {
            self.whole_to = self.whole_to.max(watermark);
        }
    }

    /// Notes that the batches after the last applied one, up to `last`, are missing, unless already noted.
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
        // A gateway may know where the missing windows end, but not where they begin.
        let from = span.map(|span| span.from).filter(|from| *from > Timestamp::MIN);
        let end = span.map(|span| span.to);
        // A known end applies at once: the epoch may end there, and its watermark never move again.
        let gap = Gap { from, to: end.or(to), batches };
        self.gaps.push(ShardGap { first, last, noticed, end, gap });
        self.gaps = merge(std::mem::take(&mut self.gaps), gaps_max);
    }

    /// Corrects a gap when a batch arrives that was noted as missing, because the gateway's report came first. So the
    /// loss does not depend on which of the two comes first, as after a restart, when the gateway reports again.
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

    /// Closes the gap without an end once the windows of all its batches are closed: if all batches are `delivered`,
    /// at this watermark, else at the first one beyond the watermark at which the gap was noticed.
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
