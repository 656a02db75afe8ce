//! What a start would find: runs the stages of [`super`] that only read.

use std::{path::Path, sync::Arc};

use catchment_journal::{AtomicFileError, Checkpoints, Disk, Position, ReadOnlyLog, RealDisk};

use super::{
    error::RecoveryError,
    files::{CHECKPOINTS, is_complete},
    replay::{self, FileExtents, OutboxScan, Replay, ReplayBase},
    report::RecoveryReport,
};
use crate::shard::{
    checkpoint::{self, is_foreign},
    definitions::{self, StoredDefinitions},
    progress_tracker::AdvancedEpochs,
};

/// Checks that the checkpoints in a folder may belong to a shard (epoch of the data folder, number of the shard).
/// Unreadable checkpoints pass.
///
/// # Errors
/// [`RecoveryError::Foreign`].
pub(crate) fn check_checkpoints(folder: &Path, (epoch, shard): (u64, u32)) -> Result<(), RecoveryError> {
    let folder = folder.join(CHECKPOINTS);
    if !folder.is_dir() {
        return Ok(());
    }
    let checkpoints = Checkpoints::open(Arc::new(RealDisk), &folder, "state");
    let newest = checkpoints.ok().and_then(|checkpoints| checkpoints.newest().ok()).flatten();
    match newest {
        Some((_, bytes)) if is_foreign(&bytes, epoch, shard) => Err(RecoveryError::Foreign { folder }),
        _ => Ok(()),
    }
}

/// Everything in the outbox of a shard before this was delivered, by its newest checkpoint; zero: not known.
///
/// # Errors
/// The folder of the checkpoints cannot be read.
pub(crate) fn delivered(folder: &Path) -> std::io::Result<Position> {
    let folder = folder.join(CHECKPOINTS);
    if !folder.is_dir() {
        return Ok(Position::ZERO);
    }
    let newest = Checkpoints::open(Arc::new(RealDisk), &folder, "state")?.newest().ok().flatten();
    Ok(newest.map_or(Position::ZERO, |(_, bytes)| checkpoint::delivered(&bytes)))
}

/// What a start would find in the folder of a shard (epoch of the data folder, number of the shard) that nobody has
/// open. Changes nothing; reads the whole outbox.
///
/// # Errors
/// See [`RecoveryError`].
pub fn examine<D: Disk>(
    disk: &Arc<D>,
    folder: &Path,
    (epoch, shard): (u64, u32),
) -> Result<RecoveryReport, RecoveryError> {
    let there = |dir: &Path| disk.list(dir).is_ok_and(|names| !names.is_empty());
    let mut recovered = RecoveryReport::default();
    let dir = folder.join(CHECKPOINTS);
    let mut newest = Ok(None);
    let unusable = |error| RecoveryError::Checkpoint { folder: folder.to_owned(), error };
    if there(&dir) {
        let io = |error| RecoveryError::Io { folder: folder.to_owned(), error };
        let checkpoints = Checkpoints::open(Arc::clone(disk), &dir, "state").map_err(io)?;
        recovered.checkpoints_damaged = checkpoints.damaged().map_err(unusable)?;
        newest = checkpoints.newest();
    }
    let look = |name: &str| {
        let dir = folder.join(name);
        if there(&dir) { ReadOnlyLog::open(Arc::clone(disk), &dir) } else { Ok(None) }
    };
    let (journal, outbox) = (look("journal")?, look("outbox")?);
    let definitions = StoredDefinitions::read_only(disk, &folder.join(definitions::FOLDER));
    let extent =
        journal.as_ref().map_or((Position::ZERO, Position::ZERO), |log| (log.start_position(), log.end));
    let stored = match newest {
        Err(AtomicFileError::Damaged { .. }) if is_complete(extent.0, extent.1) => None,
        other => other.map_err(unusable)?.map(|(_, bytes)| bytes),
    };
    if stored.as_deref().is_some_and(|bytes| is_foreign(bytes, epoch, shard)) {
        return Err(RecoveryError::Foreign { folder: dir });
    }
    recovered.torn_bytes = journal.iter().chain(&outbox).map(|log| log.torn_tail_bytes).sum();
    let outbox_end = outbox.as_ref().map_or(Position::ZERO, |log| log.end);
    let begin = FileExtents { journal: extent, outbox_end, given_up: false, unused: Position::ZERO };
    let base = replay::base(stored.as_deref(), &begin, &definitions, &mut recovered)
        .map_err(|error| RecoveryError::State { folder: folder.to_owned(), error })?;
    let end = extent.1;
    let found = match &outbox {
        Some(outbox) => {
            replay::scan_outbox(|from| outbox.read(from), outbox_end, &base, true, &mut recovered)?
        }
        None => OutboxScan::none(&base),
    };
    let mut lost = found.lost.clone();
    if let Some(journal) = journal {
        let before = recovered.damage.len();
        let ReplayBase { state, from, prefix_lost, detached, .. } = base;
        let (assumed, advanced) = (None, AdvancedEpochs::default());
        let mut replay =
            Replay { state, definitions: &definitions, recovered: &mut recovered, assumed, advanced };
        let mut regenerated = Vec::new();
        replay.run(journal.read(from), |_, _, emission| {
            if replay::is_lost(&lost, emission.number) {
                regenerated.push(emission.number);
            }
        })?;
        let state = replay.state;
        let whole = recovered.damage.len() == before && recovered.unfit == 0 && !prefix_lost && !detached;
        replay::outbox_is_ahead(whole, &found, &state, end, &mut recovered);
        if whole {
            regenerated.iter().for_each(|number| replay::remove_lost(&mut lost, *number));
        }
    }
    recovered.batches_lost = lost;
    Ok(recovered)
}
