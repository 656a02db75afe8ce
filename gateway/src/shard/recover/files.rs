//! The first stage: the files of a shard's folder, opened and mended, before anything is concluded from them.

use std::{path::Path, sync::Arc};

use catchment_journal::{
    AtomicFileError, Checkpoints, Damage, DamageReason, Disk, Log, LogConfig, OpenError, Position, Recovery,
    quarantine,
};

use super::{error::RecoveryError, report::RecoveryReport, setup::Setup};
use crate::shard::{
    ShardFacts,
    checkpoint::is_foreign,
    definitions::{self, DefinitionsLog, StoredDefinitions},
    logs::{journal_config, outbox_config},
};

/// The checkpoints' folder within a shard's.
pub(crate) const CHECKPOINTS: &str = "checkpoint";

/// Whether a journal was never cut at its beginning: then it says all that a checkpoint does.
pub(super) fn is_complete(start: Position, end: Position) -> bool {
    start == Position::ZERO && end > Position::ZERO
}

/// Opens a log. One whose only header is destroyed cannot be read at all: its files are set aside, and it goes on behind.
fn open_log<D: Disk>(
    disk: &Arc<D>,
    folder: &Path,
    config: LogConfig,
    recovered: &mut RecoveryReport,
) -> Result<(Log<D>, Recovery), OpenError> {
    match Log::open(Arc::clone(disk), folder, config.clone()) {
        Err(OpenError::Unreadable { path }) => {
            quarantine(&**disk, folder)?;
            let (log, recovery) = Log::open(Arc::clone(disk), folder, config)?;
            let (from, to, reason) = (Position::ZERO, log.start(), DamageReason::SegmentHeader);
            recovered.note_damage(Damage { from, to, segment: path, records_lost: None, reason });
            Ok((log, recovery))
        }
        other => other,
    }
}

/// The files of a shard, open.
pub(super) struct Files<D: Disk> {
    pub(super) journal: Log<D>,
    pub(super) outbox: Log<D>,
    pub(super) checkpoints: Checkpoints<D>,
    /// The newest whole checkpoint. Without any, the journal is complete or that is reported as a loss.
    pub(super) stored: Option<Vec<u8>>,
    pub(super) definitions_log: DefinitionsLog<D>,
    pub(super) definitions: StoredDefinitions,
    /// The outbox ends as it was closed, or with a whole commit.
    pub(super) outbox_clean: bool,
}

impl<D: Disk> Files<D> {
    /// Opens them, each made if it is not there. What was torn off the logs' ends, and which checkpoints are damaged,
    /// is noted.
    pub(super) fn open(
        disk: &Arc<D>,
        setup: &Setup<'_>,
        recovered: &mut RecoveryReport,
    ) -> Result<Self, RecoveryError> {
        let Setup { folder, limits, facts: ShardFacts { salts, .. }, .. } = setup;
        let [journal_salt, outbox_salt, definitions_salt] = *salts;
        let folder = *folder;
        let io = |error| RecoveryError::Io { folder: folder.to_owned(), error };
        let checkpoints =
            Checkpoints::open(Arc::clone(disk), &folder.join(CHECKPOINTS), "state").map_err(io)?;
        let unusable = |error| RecoveryError::Checkpoint { folder: folder.to_owned(), error };
        let newest = checkpoints.newest();
        let (journal, journal_recovery) =
            open_log(disk, &folder.join("journal"), journal_config(limits, journal_salt), recovered)?;
        let (outbox, outbox_recovery) =
            open_log(disk, &folder.join("outbox"), outbox_config(limits, outbox_salt), recovered)?;
        let stored = match newest {
            Err(AtomicFileError::Damaged { .. }) if is_complete(journal.start(), journal.end()) => None,
            other => other.map_err(unusable)?.map(|(_, bytes)| bytes),
        };
        if stored.as_deref().is_some_and(|bytes| is_foreign(bytes, setup.facts.epoch, setup.index)) {
            return Err(RecoveryError::Foreign { folder: folder.join(CHECKPOINTS) });
        }
        // So that they are reported once.
        recovered.checkpoints_damaged = checkpoints.quarantine().map_err(unusable)?;
        recovered.torn_bytes = journal_recovery.torn_tail_bytes + outbox_recovery.torn_tail_bytes;
        let (definitions_log, definitions) =
            DefinitionsLog::open(disk, &folder.join(definitions::FOLDER), limits, definitions_salt);
        let outbox_clean = outbox_recovery.is_clean() && outbox_recovery.torn_tail_bytes == 0;
        Ok(Self { journal, outbox, checkpoints, stored, definitions_log, definitions, outbox_clean })
    }
}
