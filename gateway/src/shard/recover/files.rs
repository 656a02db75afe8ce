//! The first stage: opens and mends the files of a shard's folder.

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

/// The folder of the checkpoints in a shard's folder.
pub(crate) const CHECKPOINTS: &str = "checkpoint";

/// Whether the beginning of a journal was never released: then it contains all that a checkpoint does.
pub(super) fn is_complete(start: Position, end: Position) -> bool {
    start == Position::ZERO && end > Position::ZERO
}

/// Opens a log. If its only header is destroyed, nothing of it can be read: its files are set aside, and a new log
/// continues after them.
fn open_log<D: Disk>(
    disk: &Arc<D>,
    folder: &Path,
    config: LogConfig,
    recovered: &mut RecoveryReport,
) -> Result<(Log<D>, Recovery), OpenError> {
    match Log::open(Arc::clone(disk), folder, config.clone()) {
        Err(OpenError::Unreadable { path }) => {
            quarantine(&**disk, folder, config.salt)?;
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
    /// The newest undamaged checkpoint. If there is none, the journal is complete, or a loss is reported.
    pub(super) stored: Option<Vec<u8>>,
    pub(super) definitions_log: DefinitionsLog<D>,
    pub(super) definitions: StoredDefinitions,
    /// The outbox was closed, or ends with a complete commit.
    pub(super) outbox_clean: bool,
}

impl<D: Disk> Files<D> {
    /// Opens the files, creates missing ones, and reports torn ends of logs and damaged checkpoints.
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
        // Set aside, so that they are reported once.
        recovered.checkpoints_damaged = checkpoints.quarantine().map_err(unusable)?;
        recovered.torn_bytes = journal_recovery.torn_tail_bytes + outbox_recovery.torn_tail_bytes;
        let (definitions_log, definitions) =
            DefinitionsLog::open(disk, &folder.join(definitions::FOLDER), limits, definitions_salt);
        let outbox_clean = outbox_recovery.is_clean() && outbox_recovery.torn_tail_bytes == 0;
        Ok(Self { journal, outbox, checkpoints, stored, definitions_log, definitions, outbox_clean })
    }
}
