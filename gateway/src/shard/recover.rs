//! From the data folder to a running shard: newest whole checkpoint, then the journal from there.
//!
//! Batches that the replay emits again are equal to those that left before, by number and content; only those
//! beyond the highest number in the outbox are put there.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_journal::{
    Checkpoints, Committer, Damage, Disk, GroupLog, Log, LogConfig, OpenError, Position, ReadError,
    ReadEvent, RealDisk, WholeError,
};

use catchment_partial::Width;
use catchment_proto::Name;

use super::{Limits, Pending, Shard, ShardLog, Wait, checkpoint};
use crate::{
    clock::Clock,
    cut,
    fold::{CheckpointError, ConfigureEntry, Entry, State},
    metrics::Metrics,
};

/// Most gaps that are listed.
const GAPS_MAX: usize = 1_000;

/// Why a shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoints' folder cannot be made or listed.
    #[error("{}: {error}", .folder.display())]
    Io {
        /// The shard's folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The checkpoints cannot be read.
    #[error("{}: {error}", .folder.display())]
    Checkpoint {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: WholeError,
    },
    /// A checkpoint that this version cannot read.
    #[error("{}: {error}", .folder.display())]
    State {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: CheckpointError,
    },
    /// The journal ends before the checkpoint: files are missing.
    #[error(
        "{}: the journal ends at {end}, before its checkpoint at {checkpoint}: files of the journal are missing; \
         put them back, or set the whole data folder aside to begin a new epoch",
        .folder.display()
    )]
    Missing {
        /// The shard's folder.
        folder: PathBuf,
        /// Where the journal ends.
        end: Position,
        /// Where it was at the checkpoint.
        checkpoint: Position,
    },
    /// The first entry cannot be written.
    #[error(transparent)]
    Wait(#[from] Wait),
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
    /// Entries that were whole but did not fit what came before: they build on lost ones.
    pub unfit: u64,
}

fn journal_config(limits: &Limits) -> LogConfig {
    LogConfig {
        bytes_max: limits.journal_bytes_max,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: limits.entry_bytes_max,
        ..LogConfig::default()
    }
}

fn outbox_config(limits: &Limits) -> LogConfig {
    LogConfig {
        bytes_max: limits.outbox_bytes_max,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: limits.record_bytes_max,
        ..LogConfig::default()
    }
}

/// Highest batch number in the outbox from a position on.
fn highest_batch<D: Disk>(
    outbox: &ShardLog<D>,
    from: Position,
    recovered: &mut Recovered,
) -> Result<u64, ReadError> {
    let mut reader = outbox.read(from);
    let mut record = Vec::new();
    let mut highest = 0;
    loop {
        match reader.next(&mut record)? {
            ReadEvent::Record(_) => {
                highest = highest.max(cut::split_record(&record).map_or(0, |(number, _)| number));
            }
            ReadEvent::Damage(damage) => recovered.damage.push(damage),
            ReadEvent::End => return Ok(highest),
        }
    }
}

/// What a shard is opened with.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The shard's folder.
    pub folder: &'a Path,
    /// Number of the shard.
    pub index: u32,
    /// Width of new windows.
    pub window: Width,
    /// Its bounds.
    pub limits: Limits,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

impl Shard {
    /// Opens a shard's folder, made if there is none, and brings the state to where the journal ends.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn open(setup: &Setup<'_>) -> Result<(Self, Recovered), RecoverError> {
        let disk = Arc::new(RealDisk);
        Self::recover(&disk, setup, |log, name| GroupLog::start(log, &format!("{name}-{}", setup.index)))
    }
}

impl<D: Disk> Shard<D> {
    /// As [`Shard::open`] on any disk, with logs that are committed by their [`Committer`]s alone: the journal's,
    /// then the outbox's. For simulations.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn manual(
        disk: &Arc<D>,
        setup: &Setup<'_>,
    ) -> Result<(Self, [Committer<D>; 2], Recovered), RecoverError> {
        let mut committers = Vec::new();
        let (shard, recovered) = Self::recover(disk, setup, |log, _| {
            let (log, committer) = GroupLog::manual(log);
            committers.push(committer);
            Ok(log)
        })?;
        let committers = committers.try_into().ok().expect("a shard has two logs");
        Ok((shard, committers, recovered))
    }

    fn recover(
        disk: &Arc<D>,
        setup: &Setup<'_>,
        mut share: impl FnMut(Log<D>, &str) -> std::io::Result<ShardLog<D>>,
    ) -> Result<(Self, Recovered), RecoverError> {
        let Setup { folder, limits, .. } = setup;
        let folder = *folder;
        let mut recovered = Recovered::default();
        let io = |error| RecoverError::Io { folder: folder.to_owned(), error };
        let checkpoints =
            Checkpoints::open(Arc::clone(disk), &folder.join("checkpoint"), "state").map_err(io)?;
        let stored = checkpoints
            .newest()
            .map_err(|error| RecoverError::Checkpoint { folder: folder.to_owned(), error })?
            .map(|(_, bytes)| bytes);
        let stored = stored.as_deref().and_then(checkpoint::parse);
        let (journal, journal_recovery) =
            Log::open(Arc::clone(disk), &folder.join("journal"), journal_config(limits))?;
        let (outbox, outbox_recovery) =
            Log::open(Arc::clone(disk), &folder.join("outbox"), outbox_config(limits))?;
        let (journal, outbox) =
            (share(journal, "journal").map_err(io)?, share(outbox, "outbox").map_err(io)?);
        recovered.torn_bytes = journal_recovery.torn_tail_bytes + outbox_recovery.torn_tail_bytes;
        let (state, from, outbox_from) = match &stored {
            Some(stored) => {
                let state = State::decode(stored.state)
                    .map_err(|error| RecoverError::State { folder: folder.to_owned(), error })?;
                (state, stored.position, stored.outbox)
            }
            None => (State::default(), journal.start_position(), Position::ZERO),
        };
        if journal.end() < from {
            return Err(RecoverError::Missing {
                folder: folder.to_owned(),
                end: journal.end(),
                checkpoint: from,
            });
        }
        let delivered = highest_batch(&outbox, outbox_from, &mut recovered)?.max(state.next_batch() - 1);
        let mut shard = Self {
            index: setup.index,
            journal,
            outbox,
            checkpoints: Arc::new(checkpoints),
            closed_at: Position::ZERO,
            state,
            buffer: Vec::new(),
            pending: VecDeque::new(),
            past_ends: VecDeque::new(),
            checkpointed: (from, from),
            live_from: 0,
            room: Ok(()),
            limits: limits.clone(),
            clock: Arc::clone(&setup.clock),
            metrics: Arc::clone(&setup.metrics),
        };
        shard.replay(from, delivered, &mut recovered)?;
        shard.configure(setup.window)?;
        Ok((shard, recovered))
    }

    fn replay(
        &mut self,
        from: Position,
        delivered: u64,
        recovered: &mut Recovered,
    ) -> Result<(), RecoverError> {
        let mut reader = self.journal.read(from);
        let mut record = Vec::new();
        loop {
            let position = match reader.next(&mut record)? {
                ReadEvent::Record(position) => position,
                ReadEvent::Damage(damage) => {
                    recovered.damage.push(damage);
                    continue;
                }
                ReadEvent::End => break,
            };
            recovered.entries += 1;
            let entry = match Entry::decode(&record) {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(shard = self.index, %position, %error, "an entry is skipped");
                    recovered.unfit += 1;
                    continue;
                }
            };
            if let Entry::Intake(intake) = &entry
                && let Some((first, last)) = self.state.gap(intake)
                && let Some(device) = self.state.device_name(intake.device)
                && recovered.gaps.len() < GAPS_MAX
            {
                recovered.gaps.push((device.clone(), intake.epoch.clone(), first, last));
            }
            match self.state.apply(position.get(), &entry) {
                Ok(Some(emission)) if emission.number > delivered => {
                    let batch = cut::batch(self.index, &self.state, &emission);
                    self.pending.push_back(Pending { closed_at: position, record: cut::record(&batch) });
                    recovered.batches += 1;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(shard = self.index, %position, %error, "an entry is skipped");
                    recovered.unfit += 1;
                }
            }
        }
        Ok(())
    }

    /// Writes the window width down when it is new or has changed.
    fn configure(&mut self, window: Width) -> Result<(), Wait> {
        if self.state.width() != Some(window) {
            let width_ms = window.as_millis();
            self.record(Entry::Configure(ConfigureEntry { width_ms }))?;
        }
        let (devices, series) = (self.state.device_count(), self.state.series_count());
        self.metrics.devices.inc_by(i64::try_from(devices).unwrap_or(i64::MAX));
        self.metrics.series.inc_by(i64::try_from(series).unwrap_or(i64::MAX));
        Ok(())
    }
}
