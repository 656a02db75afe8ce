//! From checkpoint, journal and outbox to the state, whatever is damaged: keeps what is readable, reports what is lost.
//!
//! Reads only, so that a start and `journal verify` find the same. An entry that depends on a lost definition gets it
//! from the definitions log ([`crate::shard::definitions`]). Closing entries carry their numbers and borders, so
//! damage shifts nothing.

use std::path::PathBuf;

use catchment_journal::{Damage, DamageReason, Disk, Position, ReadError, ReadEvent, Reader};
use catchment_proto::wire;
use prost::Message;

use super::report::{LostBatches, RecoveryReport, list};
use crate::{
    batch_encoder,
    fold::{
        ApplyError, CheckpointError, ConfigureEntry, Emission, Entry, ForgetEntry, ProgressSnapshotEntry,
        State,
    },
    shard::{checkpoint, definitions::StoredDefinitions, progress_tracker::AdvancedEpochs},
};

/// Where a replay begins.
pub(super) struct ReplayBase {
    pub(super) state: State,
    pub(super) from: Position,
    pub(super) outbox_from: Position,
    /// Entries after `from` are lost: the journal starts later.
    pub(super) prefix_lost: bool,
    /// Set when the journal is already known to have lost its end: the state knows nothing from this position on.
    pub(super) lost_end: Option<Position>,
    /// The journal ends before `from`, or is empty although there was one.
    pub(super) detached: bool,
}

fn missing(from: Position, to: Position) -> Damage {
    let segment = PathBuf::from("journal");
    Damage { from, to, segment, records_lost: None, reason: DamageReason::Missing }
}

/// The extents of a shard's files, before their content is read.
pub(super) struct FileExtents {
    /// Start and end of the journal.
    pub(super) journal: (Position, Position),
    pub(super) outbox_end: Position,
    /// The shard is known to have lost everything.
    pub(super) given_up: bool,
    /// A position beyond all that any journal reached.
    pub(super) unused: Position,
}

/// The state at the checkpoint. Without one: what the definitions log knows of the time before the journal's start.
pub(super) fn base(
    stored: Option<&[u8]>,
    begin: &FileExtents,
    definitions: &StoredDefinitions,
    recovered: &mut RecoveryReport,
) -> Result<ReplayBase, CheckpointError> {
    let (start, end) = begin.journal;
    recovered.definitions_damaged = definitions.damaged > 0;
    // A definition is written after its entry.
    let beyond = definitions.newest().filter(|newest| *newest >= end.get());
    if let Some(newest) = beyond {
        recovered.note_damage(missing(end, Position::new(newest).next()));
    }
    let lost_end = beyond.map(|_| end);
    if let Some(stored) = stored {
        let stored = checkpoint::parse(stored).ok_or_else(CheckpointError::short)?;
        let mut state = State::decode(stored.state)?;
        let (from, outbox_from) = (stored.position, stored.outbox);
        let (prefix_lost, detached) = (from < start, end < from);
        if prefix_lost {
            recovered.note_damage(missing(from, start));
            state.mark_lost(from.get(), start.get());
        }
        if detached {
            recovered.note_damage(missing(end, from));
        }
        let lost_end = if detached { Some(from) } else { lost_end };
        return Ok(ReplayBase { state, from, outbox_from, prefix_lost, lost_end, detached });
    }
    let state = State::default();
    // An empty journal beside other files has lost its content; without other files it is new.
    let others = begin.outbox_end > Position::ZERO || beyond.is_some() || definitions.damaged > 0;
    let empty = (end == Position::ZERO && others) || (start == end && begin.given_up);
    let prefix_lost = start > Position::ZERO;
    let mut base = ReplayBase {
        state,
        from: start,
        outbox_from: Position::ZERO,
        prefix_lost,
        lost_end,
        detached: empty,
    };
    if prefix_lost || empty {
        recovered.without_checkpoint = true;
        if let Some(entry) = definitions.configuration() {
            // The width was checked when it was read.
            let _ = base.state.apply(0, &Entry::Configure(entry.clone()));
        }
        let before = if empty { Position::new(u64::MAX) } else { start };
        definitions.restore_all(&mut base.state, before);
        base.state.mark_lost(0, start.get());
    }
    if empty {
        base.lost_end = Some(begin.unused);
        if begin.given_up {
            recovered.note_damage(missing(end, end.next()));
        }
    }
    Ok(base)
}

/// The content of an outbox.
#[derive(Debug, Default)]
pub(super) struct OutboxScan {
    /// Highest number that is known to be used; 0 without any.
    pub(super) highest: u64,
    /// Numbers that damage took.
    pub(super) lost: Vec<LostBatches>,
    /// The highest number was read, or nothing was ever written.
    pub(super) whole: bool,
    /// Watermark of the last batch, Unix milliseconds.
    newest_ms: Option<i64>,
}

impl OutboxScan {
    /// A missing outbox.
    pub(super) fn none(base: &ReplayBase) -> Self {
        let mut outbox = Self::default();
        outbox.complete(Position::ZERO, base);
        outbox
    }

    /// Adds what the checkpoint knows. An outbox that ends before the checkpoint has lost the batches between.
    fn complete(&mut self, end: Position, base: &ReplayBase) {
        let known = base.state.next_batch().saturating_sub(1);
        if end < base.outbox_from {
            self.whole = false;
            let first = self.highest.saturating_add(1);
            if first <= known {
                self.lost.push(LostBatches { first, last: known, after_ms: self.newest_ms, before_ms: None });
            }
        }
        self.highest = self.highest.max(known);
    }
}

/// Reads the outbox from the checkpoint's position in it; everything if `all` is set or the outbox ends before that
/// position.
pub(super) fn scan_outbox<D: Disk>(
    read: impl FnOnce(Position) -> Reader<D>,
    end: Position,
    base: &ReplayBase,
    all: bool,
    recovered: &mut RecoveryReport,
) -> Result<OutboxScan, ReadError> {
    let everything = all || end < base.outbox_from;
    let (from, next) =
        if everything { (Position::ZERO, 1) } else { (base.outbox_from, base.state.next_batch()) };
    let mut found = scan(read(from), from, next, recovered)?;
    found.complete(end, base);
    Ok(found)
}

/// Whether the outbox has batches that the journal does not know. A batch goes to the outbox once its close is
/// durable, so the journal has lost its end. If earlier damage may have taken the close (`whole` is false), this
/// proves nothing.
pub(super) fn outbox_is_ahead(
    whole: bool,
    found: &OutboxScan,
    state: &State,
    end: Position,
    recovered: &mut RecoveryReport,
) -> Option<Position> {
    (whole && found.highest >= state.next_batch()).then(|| {
        recovered.note_damage(missing(end, end.next()));
        end
    })
}

/// Reads the outbox from a position on; `next` is the lowest number possible there.
fn scan<D: Disk>(
    mut reader: Reader<D>,
    from: Position,
    next: u64,
    recovered: &mut RecoveryReport,
) -> Result<OutboxScan, ReadError> {
    let watermark = |record: &[u8]| {
        let (_, bytes) = batch_encoder::split_record(record)?;
        wire::Batch::decode(bytes).ok().map(|batch| batch.watermark_ms)
    };
    let mut found = OutboxScan { highest: next.saturating_sub(1), ..OutboxScan::default() };
    let damage_before = recovered.damage.len();
    let mut records = 0_u64;
    let (mut record, mut before) = (Vec::new(), Vec::new());
    // How many records damage took since the last one, if known: each is a batch.
    let mut damaged = None;
    loop {
        match reader.next(&mut record)? {
            ReadEvent::Record(_) => {
                let Some((number, _)) = batch_encoder::split_record(&record) else { continue };
                records += 1;
                let mut first = found.highest.saturating_add(1);
                let taken: Option<Option<u64>> = damaged.take();
                if let Some(Some(records)) = taken {
                    first = first.max(number.saturating_sub(records));
                }
                if taken.is_some() && number > first {
                    let batches = LostBatches {
                        first,
                        last: number - 1,
                        after_ms: watermark(&before),
                        before_ms: watermark(&record),
                    };
                    list(&mut found.lost, &mut recovered.unlisted, batches);
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
    found.newest_ms = watermark(&before);
    found.whole = recovered.damage.len() == damage_before && (records > 0 || reader.position() <= from);
    Ok(found)
}

/// The fold of a damaged journal.
pub(super) struct Replay<'a> {
    pub(super) state: State,
    pub(super) definitions: &'a StoredDefinitions,
    pub(super) recovered: &'a mut RecoveryReport,
    /// How windows are made if the entry that says it is lost.
    pub(super) assumed: Option<ConfigureEntry>,
    /// Epochs that advanced since the last progress snapshot.
    pub(super) advanced: AdvancedEpochs,
}

impl Replay<'_> {
    /// Folds in all entries of a reader. Every batch goes to `emit`, with the state and the position of the entry
    /// that closed it.
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
                        self.state.mark_lost(damage.from.get(), damage.to.get());
                    }
                    self.recovered.note_damage(damage);
                    continue;
                }
                ReadEvent::End => {
                    self.state.end_replay();
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
                    self.state.mark_incomplete();
                }
            }
        }
    }

    fn fold(&mut self, position: Position, entry: &Entry) -> Option<Emission> {
        let mut result = self.attempt(position, entry);
        if matches!(result, Err(ApplyError::NoWidth))
            && let Some(configuration) = self.definitions.configuration().or(self.assumed.as_ref())
        {
            let _ = self.state.apply(0, &Entry::Configure(configuration.clone()));
            result = self.attempt(position, entry);
        }
        if let Err(ApplyError::Unknown { .. } | ApplyError::Order { .. }) = result
            && self.state.restore_definitions(entry, self.definitions)
        {
            result = self.attempt(position, entry);
        }
        match result {
            Ok(emission) => return emission,
            // The definitions log has restored it already.
            Err(ApplyError::Order { got, expected }) if got < expected => {}
            Err(error) => {
                tracing::error!(%position, %error, "an entry is left out");
                self.recovered.unfit += 1;
                self.state.mark_incomplete();
                if let Entry::Intake(intake) = entry
                    && let Some(loss) = self.state.skip_intake(intake)
                {
                    self.recovered.note_loss(&self.state, intake.device, loss);
                }
            }
        }
        None
    }

    fn attempt(&mut self, position: Position, entry: &Entry) -> Result<Option<Emission>, ApplyError> {
        if matches!(entry, Entry::ProgressSnapshot(_)) {
            let _ = self.state.restore_definitions(entry, self.definitions);
        }
        let losses = self.state.losses(entry);
        losses.iter().for_each(|(device, _)| self.state.mark_device_damaged(*device));
        let result = self.state.apply(position.get(), entry)?;
        for (device, loss) in losses {
            self.recovered.note_loss(&self.state, device, loss);
        }
        match entry {
            Entry::Intake(intake) => self.advanced.note(intake.device, &intake.epoch),
            Entry::ProgressSnapshot(ProgressSnapshotEntry { device: devices, .. })
            | Entry::Forget(ForgetEntry { devices, .. }) => {
                for device in devices {
                    self.advanced.forget(*device);
                }
            }
            _ => {}
        }
        Ok(result)
    }
}

/// Whether a number is in the lost ranges.
pub(super) fn is_lost(lost: &[LostBatches], number: u64) -> bool {
    lost.iter().any(|batches| (batches.first..=batches.last).contains(&number))
}

/// Removes a number from the lost ranges.
pub(super) fn remove_lost(lost: &mut Vec<LostBatches>, number: u64) {
    let holds = |batches: &LostBatches| (batches.first..=batches.last).contains(&number);
    let Some(at) = lost.iter().position(holds) else { return };
    let range = lost.remove(at);
    let rest = [(range.first, number.saturating_sub(1)), (number.saturating_add(1), range.last)];
    let rest = rest.into_iter().filter(|(first, last)| first <= last);
    lost.extend(rest.map(|(first, last)| LostBatches { first, last, ..range.clone() }));
}
