//! Who writes a definitions log: at a start the caller, later a thread.

use catchment_journal::{AppendError, Committer, Disk, GroupLog, Log};

/// Who writes the log.
pub(super) enum Writer<D: Disk> {
    /// The caller: a start, which may wait for the disk.
    Caller(Log<D>),
    /// A thread: a worker's thread must not wait for a disk.
    Thread(GroupLog<D>),
    /// A simulation, immediately.
    Simulation(GroupLog<D>, Committer<D>),
}

impl<D: Disk> Writer<D> {
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), AppendError> {
        match self {
            Self::Caller(log) => log.append(record).map(drop),
            Self::Thread(log) | Self::Simulation(log, _) => log.append(record).map(drop),
        }
    }

    /// Commits what was appended; where a thread writes, does not wait for it.
    pub(super) fn commit(&mut self) -> Result<(), AppendError> {
        let poisoned = |why: String| AppendError::Poisoned(why.into());
        match self {
            Self::Caller(log) => log.commit().map(drop).map_err(|error| poisoned(error.to_string())),
            Self::Thread(_) => Ok(()),
            Self::Simulation(_, committer) => committer.step().map_err(|why| poisoned(why.to_string())),
        }
    }
}
