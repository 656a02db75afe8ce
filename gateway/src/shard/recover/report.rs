//! The findings of a recovery: what is damaged, what is lost, and the text of the report.

use std::path::PathBuf;

use catchment_journal::Damage;
use catchment_proto::Name;

use crate::fold::{Loss, State};

/// Most findings of each kind that are listed; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// Batches that the outbox lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostBatches {
    /// First number; of the numbers up to `last` those that were used are lost.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// Their windows closed at or after this watermark, Unix milliseconds, where that is known.
    pub after_ms: Option<i64>,
    /// Their windows closed at or before this watermark, Unix milliseconds, where that is known.
    pub before_ms: Option<i64>,
}

/// The findings of a recovery.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// Entries replayed.
    pub entries: u64,
    /// Batches to put into the outbox again.
    pub batches: u64,
    /// Bytes cut at the end of the journal that were never acknowledged.
    pub torn_bytes: u64,
    /// Damaged ranges.
    pub damage: Vec<Damage>,
    /// Messages known to be lost: device, epoch, first and last sequence number.
    pub gaps: Vec<(Name, String, u64, u64)>,
    /// Readings without sequence number that are known to be lost, by device.
    pub readings_lost: Vec<(Name, u64)>,
    /// Batches that are lost and that the journal cannot make again.
    pub batches_lost: Vec<LostBatches>,
    /// Undamaged entries that were skipped because they depend on lost ones.
    pub unfit: u64,
    /// Damaged checkpoints; an earlier one was used.
    pub checkpoints_damaged: Vec<PathBuf>,
    /// The definitions log is damaged; by itself that loses nothing.
    pub definitions_damaged: bool,
    /// Losses of devices whose names are lost too.
    pub unnamed: Vec<String>,
    /// There is no checkpoint, and the journal does not reach back to its beginning.
    pub without_checkpoint: bool,
    /// Findings beyond those listed.
    pub unlisted: u64,
}

/// Adds a finding, or counts it when there are too many.
pub(super) fn list<T>(list: &mut Vec<T>, unlisted: &mut u64, item: T) {
    if list.len() < LISTED_MAX {
        list.push(item);
    } else {
        *unlisted += 1;
    }
}

impl RecoveryReport {
    /// Whether nothing is damaged and nothing is lost.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
            && self.gaps.is_empty()
            && self.readings_lost.is_empty()
            && self.batches_lost.is_empty()
            && self.unnamed.is_empty()
            && self.checkpoints_damaged.is_empty()
            && self.unfit == 0
            && !self.without_checkpoint
            && !self.definitions_damaged
    }

    /// Messages with sequence number known to be lost; an upper bound, because devices may skip numbers.
    pub fn messages_lost(&self) -> u64 {
        let count = |first: u64, last: u64| last.saturating_sub(first).saturating_add(1);
        self.gaps.iter().fold(0, |sum: u64, (_, _, first, last)| sum.saturating_add(count(*first, *last)))
    }

    pub(super) fn note_damage(&mut self, damage: Damage) {
        list(&mut self.damage, &mut self.unlisted, damage);
    }

    pub(super) fn note_loss(&mut self, state: &State, device: u32, loss: Loss) {
        match (state.device_name(device).cloned(), loss) {
            (Some(name), Loss::Messages { epoch, first, last }) => {
                list(&mut self.gaps, &mut self.unlisted, (name, epoch, first, last));
            }
            (Some(name), Loss::Readings(count)) => {
                list(&mut self.readings_lost, &mut self.unlisted, (name, count));
            }
            (None, loss) => {
                let text = format!("of device number {device}, whose name is lost: {loss:?}");
                list(&mut self.unnamed, &mut self.unlisted, text);
            }
        }
    }

    /// Damage and losses as text, a line each.
    pub fn lines(&self) -> Vec<String> {
        let damage = self.damage.iter().map(|damage| format!("damaged: {damage}"));
        damage.chain(self.losses()).collect()
    }

    /// What the damage means for checkpoints, devices and batches, a line each.
    pub fn losses(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for path in &self.checkpoints_damaged {
            lines.push(format!("damaged: checkpoint {}: the one before it is taken", path.display()));
        }
        if self.definitions_damaged {
            lines.push("damaged: definitions log (names/); nothing is lost by that alone".into());
        }
        if self.without_checkpoint {
            lines.push(
                "lost: no checkpoint and no beginning of the journal: what was taken before it and not delivered is lost, \
                 and a message from then that a device sends again counts again"
                    .into(),
            );
        }
        for (device, epoch, first, last) in &self.gaps {
            lines.push(format!("lost: device {device}, epoch {epoch}: messages {first} to {last}"));
        }
        for (device, count) in &self.readings_lost {
            lines.push(format!("lost: device {device}: {count} readings without sequence number"));
        }
        lines.extend(self.unnamed.iter().map(|text| format!("lost: {text}")));
        for batches in &self.batches_lost {
            let time = |ms: Option<i64>| ms.map_or("an unknown time".into(), |ms| format!("{ms} ms"));
            lines.push(format!(
                "lost: batches {} to {} of the outbox: windows that closed from {} to {}",
                batches.first,
                batches.last,
                time(batches.after_ms),
                time(batches.before_ms)
            ));
        }
        if self.unfit > 0 {
            lines.push(format!("left out: {} entries that build on lost ones", self.unfit));
        }
        if self.unlisted > 0 {
            lines.push(format!("and {} findings more", self.unlisted));
        }
        lines
    }
}
