//! From checkpoint, journal and outbox to the state, whatever is damaged: what is whole is kept, what is lost is told.
//!
//! Reads only, so that a start and `journal verify` find the same. An entry that builds on a lost one gets that from its
//! second copy ([`super::names`]). Closing entries keep their numbers and borders, so damage shifts nothing.

use std::{collections::BTreeSet, path::PathBuf};

use catchment_journal::{Damage, DamageReason, Disk, Position, ReadError, ReadEvent, Reader};
use catchment_partial::Width;
use catchment_proto::{Name, wire};
use prost::Message;

use super::{checkpoint, names::Copies};
use crate::{
    cut,
    fold::{ApplyError, CheckpointError, ConfigureEntry, Emission, Entry, Loss, State},
};

/// Most of each kind that is listed; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// Batches that the outbox held and lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostBatches {
    /// First number; numbers between are lost as far as they were used.
    pub first: u64,
    /// Last number.
    pub last: u64,
    /// Their windows closed at or after this watermark, Unix milliseconds, where that is known.
    pub after_ms: Option<i64>,
    /// Their windows closed at or before this watermark, Unix milliseconds, where that is known.
    pub before_ms: Option<i64>,
}

/// What a recovery found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Entries replayed.
    pub entries: u64,
    /// Batches put into the outbox again.
    pub batches: u64,
    /// Bytes cut at the end of the journal that were never acknowledged.
    pub torn_bytes: u64,
    /// Stretches that could not be read.
    pub damage: Vec<Damage>,
    /// What is known to be lost: device, epoch, first and last sequence number.
    pub gaps: Vec<(Name, String, u64, u64)>,
    /// Readings without sequence number that are known to be lost, by device.
    pub readings_lost: Vec<(Name, u64)>,
    /// Batches that are lost, and cannot be made again from the journal.
    pub batches_lost: Vec<LostBatches>,
    /// Entries that were whole but did not fit what came before: they build on lost ones.
    pub unfit: u64,
    /// Checkpoints that are damaged; the one before was taken.
    pub checkpoints_damaged: Vec<PathBuf>,
    /// Second copies of names are damaged: that alone loses nothing.
    pub copies_damaged: bool,
    /// What is lost of devices whose names are lost too.
    pub unnamed: Vec<String>,
    /// There is no checkpoint, and the journal does not reach back to its beginning.
    pub without_checkpoint: bool,
    /// Findings beyond those listed.
    pub unlisted: u64,
}

fn list<T>(list: &mut Vec<T>, unlisted: &mut u64, item: T) {
    if list.len() < LISTED_MAX {
        list.push(item);
    } else {
        *unlisted += 1;
    }
}

impl Recovered {
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
            && !self.copies_damaged
    }

    /// How many messages with sequence number are known to be lost, at most: devices may leave numbers out.
    pub fn messages_lost(&self) -> u64 {
        let count = |first: u64, last: u64| last.saturating_sub(first).saturating_add(1);
        self.gaps.iter().fold(0, |sum: u64, (_, _, first, last)| sum.saturating_add(count(*first, *last)))
    }

    pub(super) fn note_damage(&mut self, damage: Damage) {
        list(&mut self.damage, &mut self.unlisted, damage);
    }

    fn note_loss(&mut self, state: &State, device: u32, loss: Loss) {
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

    /// What is damaged and what is lost, a line each, for people.
    pub fn lines(&self) -> Vec<String> {
        let damage = self.damage.iter().map(|damage| format!("damaged: {damage}"));
        damage.chain(self.losses()).collect()
    }

    /// What that means for checkpoints, devices and batches, a line each.
    pub fn losses(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for path in &self.checkpoints_damaged {
            lines.push(format!("damaged: checkpoint {}: the one before it is taken", path.display()));
        }
        if self.copies_damaged {
            lines.push("damaged: second copies of names; nothing is lost by that alone".into());
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

/// Where a replay begins.
pub(super) struct Base {
    pub(super) state: State,
    pub(super) from: Position,
    pub(super) outbox_from: Position,
}

/// The state at the checkpoint, or without one what the second copies know of the time before the journal's start.
pub(super) fn base(
    stored: Option<&[u8]>,
    journal: (Position, Position),
    outbox_end: Position,
    copies: &mut Copies,
    recovered: &mut Recovered,
) -> Result<Base, CheckpointError> {
    let missing = |from, to| Damage {
        from,
        to,
        segment: PathBuf::from("journal"),
        records_lost: None,
        reason: DamageReason::Missing,
    };
    let (start, end) = journal;
    recovered.copies_damaged = copies.damaged > 0;
    // A copy is written after what it copies.
    let beyond = copies.newest().filter(|newest| *newest >= end.get());
    if let Some(newest) = beyond {
        recovered.note_damage(missing(end, Position::new(newest).next()));
    }
    if let Some(stored) = stored {
        let stored = checkpoint::parse(stored).ok_or_else(CheckpointError::short)?;
        let state = State::decode(stored.state)?;
        if stored.position < start {
            recovered.note_damage(missing(stored.position, start));
        }
        if end < stored.position {
            recovered.note_damage(missing(end, stored.position));
        }
        return Ok(Base { state, from: stored.position, outbox_from: stored.outbox });
    }
    let mut state = State::default();
    // An empty journal beside other things is no beginning.
    let empty =
        end == Position::ZERO && (outbox_end > Position::ZERO || beyond.is_some() || copies.damaged > 0);
    if start > Position::ZERO || empty {
        recovered.without_checkpoint = true;
        if let Some(width_ms) = copies.width().map(Width::as_millis) {
            // A width that was checked when it was read.
            let _ = state.apply(0, &Entry::Configure(ConfigureEntry { width_ms }));
        }
        copies.introduce_all(&mut state, if end > Position::ZERO { start } else { Position::new(u64::MAX) });
    }
    Ok(Base { state, from: start, outbox_from: Position::ZERO })
}

/// What the outbox holds.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Highest number; 0 without any.
    pub(super) highest: u64,
    /// Numbers that damage took.
    pub(super) lost: Vec<LostBatches>,
    /// The highest number was read, or nothing was written.
    pub(super) whole: bool,
}

/// Reads the outbox from a position on; `next` is the lowest number that can stand there.
pub(super) fn scan_outbox<D: Disk>(
    mut reader: Reader<D>,
    from: Position,
    next: u64,
    recovered: &mut Recovered,
) -> Result<Outbox, ReadError> {
    let watermark = |record: &[u8]| {
        let (_, bytes) = cut::split_record(record)?;
        wire::Batch::decode(bytes).ok().map(|batch| batch.watermark_ms)
    };
    let mut found = Outbox { highest: next.saturating_sub(1), ..Outbox::default() };
    let damage_before = recovered.damage.len();
    let mut records = 0_u64;
    let (mut record, mut before) = (Vec::new(), Vec::new());
    // Records that damage took since the last one, where that is known: each is a batch.
    let mut damaged = None;
    loop {
        match reader.next(&mut record)? {
            ReadEvent::Record(_) => {
                let Some((number, _)) = cut::split_record(&record) else { continue };
                records += 1;
                let mut first = found.highest.saturating_add(1);
                let taken: Option<Option<u64>> = damaged.take();
                if let Some(Some(records)) = taken {
                    first = first.max(number.saturating_sub(records));
                }
                if taken.is_some() && number > first && found.lost.len() < LISTED_MAX {
                    found.lost.push(LostBatches {
                        first,
                        last: number - 1,
                        after_ms: watermark(&before),
                        before_ms: watermark(&record),
                    });
                }
                found.highest = found.highest.max(number);
                std::mem::swap(&mut record, &mut before);
            }
            ReadEvent::Damage(damage) => {
                if damage.to > damage.from {
                    let before = damaged.unwrap_or(Some(0));
                    damaged = Some(before.zip(damage.records_lost).map(|(a, b)| a.saturating_add(b)));
                }
                recovered.note_damage(damage);
            }
            ReadEvent::End => break,
        }
    }
    found.whole = recovered.damage.len() == damage_before && (records > 0 || reader.position() <= from);
    Ok(found)
}

/// The fold of a journal over its damage.
pub(super) struct Replay<'a> {
    pub(super) state: State,
    pub(super) copies: &'a Copies,
    pub(super) recovered: &'a mut Recovered,
    /// Width for readings before any that was configured, when the entry that did is lost.
    pub(super) window: Option<Width>,
    /// Devices that sent something.
    pub(super) changed: BTreeSet<u32>,
}

impl Replay<'_> {
    /// Folds in all that a reader gives. Every batch that comes out goes to `emit`, with the state and the position of
    /// the entry that closed it.
    pub(super) fn run<D: Disk>(
        &mut self,
        mut reader: Reader<D>,
        mut emit: impl FnMut(&State, Position, Emission),
    ) -> Result<(), ReadError> {
        let mut record = Vec::new();
        loop {
            let position = match reader.next(&mut record)? {
                ReadEvent::Record(position) => position,
                ReadEvent::Damage(damage) => {
                    if damage.to > damage.from {
                        self.state.lose(damage.from.get(), damage.to.get());
                    }
                    self.recovered.note_damage(damage);
                    continue;
                }
                ReadEvent::End => {
                    self.state.replayed();
                    return Ok(());
                }
            };
            self.recovered.entries += 1;
            match Entry::decode(&record) {
                Ok(entry) => {
                    if let Some(emission) = self.fold(position, &entry) {
                        emit(&self.state, position, emission);
                    }
                }
                Err(error) => {
                    tracing::error!(%position, %error, "an entry is left out");
                    self.recovered.unfit += 1;
                }
            }
        }
    }

    fn fold(&mut self, position: Position, entry: &Entry) -> Option<Emission> {
        let mut result = self.attempt(position, entry);
        if matches!(result, Err(ApplyError::NoWidth))
            && let Some(width_ms) = self.copies.width().or(self.window).map(Width::as_millis)
        {
            let _ = self.state.apply(0, &Entry::Configure(ConfigureEntry { width_ms }));
            result = self.attempt(position, entry);
        }
        if let Err(ApplyError::Unknown { .. } | ApplyError::Order { .. }) = result
            && self.state.introduce(entry, self.copies)
        {
            result = self.attempt(position, entry);
        }
        match result {
            Ok(emission) => return emission,
            // It was introduced by its second copy.
            Err(ApplyError::Order { got, expected }) if (got as usize) < expected => {}
            Err(error) => {
                tracing::error!(%position, %error, "an entry is left out");
                self.recovered.unfit += 1;
                if let Entry::Intake(intake) = entry
                    && let Some(loss) = self.state.leave_out(intake)
                {
                    self.recovered.note_loss(&self.state, intake.device, loss);
                }
            }
        }
        None
    }

    fn attempt(&mut self, position: Position, entry: &Entry) -> Result<Option<Emission>, ApplyError> {
        if matches!(entry, Entry::Census(_)) {
            let _ = self.state.introduce(entry, self.copies);
        }
        let losses = self.state.losses(entry);
        losses.iter().for_each(|(device, _)| self.state.suspect(*device));
        let result = self.state.apply(position.get(), entry)?;
        for (device, loss) in losses {
            self.recovered.note_loss(&self.state, device, loss);
        }
        match entry {
            Entry::Intake(intake) => drop(self.changed.insert(intake.device)),
            Entry::Census(census) => {
                for device in &census.device {
                    self.changed.remove(device);
                }
            }
            _ => {}
        }
        Ok(result)
    }
}

/// Whether a number is in ranges that are lost.
pub(super) fn holds(lost: &[LostBatches], number: u64) -> bool {
    lost.iter().any(|batches| (batches.first..=batches.last).contains(&number))
}

/// Takes a number out of ranges that are lost.
pub(super) fn remake(lost: &mut Vec<LostBatches>, number: u64) {
    let holds = |batches: &LostBatches| (batches.first..=batches.last).contains(&number);
    let Some(at) = lost.iter().position(holds) else { return };
    let range = lost.remove(at);
    let rest = [(range.first, number.saturating_sub(1)), (number.saturating_add(1), range.last)];
    let rest = rest.into_iter().filter(|(first, last)| first <= last);
    lost.extend(rest.map(|(first, last)| LostBatches { first, last, ..range.clone() }));
}
