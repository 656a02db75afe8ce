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
    Checkpoints, Damage, GroupLog, LogConfig, OpenError, Position, ReadError, ReadEvent, RealDisk, WholeError,
};

use catchment_proto::Name;

use super::{Limits, Pending, Shard, ShardLog, Wait, checkpoint};
use crate::{
    clock::Clock,
    config::Config,
    cut,
    fold::{CheckpointError, ConfigureEntry, Entry, State},
    metrics::Metrics,
};

/// Most bytes of an entry. A reading takes at most 23, and an intake has at most 16,384 and those of one more
/// message, of which `readings_max` is at most 20,000.
pub(super) const ENTRY_BYTES_MAX: u32 = 1 << 20;
/// Most bytes of an outbox record: twice what a batch is cut to. An aggregator takes batches up to 4 MiB.
pub(super) const RECORD_BYTES_MAX: u32 = 2 << 20;
/// Space is released by segments of this size: small, so that a small disk has room again soon, and little of the
/// outbox is read again after a restart.
const SEGMENT_BYTES: u64 = 4 << 20;

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
        segment_bytes: SEGMENT_BYTES,
        record_bytes_max: ENTRY_BYTES_MAX,
        ..LogConfig::default()
    }
}

fn outbox_config(limits: &Limits) -> LogConfig {
    LogConfig {
        bytes_max: limits.outbox_bytes_max,
        segment_bytes: SEGMENT_BYTES,
        record_bytes_max: RECORD_BYTES_MAX,
        ..LogConfig::default()
    }
}

/// Highest batch number in the outbox from a position on.
fn highest_batch(outbox: &ShardLog, from: Position, recovered: &mut Recovered) -> Result<u64, ReadError> {
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

impl Shard {
    /// Opens a shard's folder, made if there is none, and brings the state to where the journal ends.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn open(
        folder: &Path,
        index: u32,
        shards: u32,
        config: &Config,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Recovered), RecoverError> {
        let mut recovered = Recovered::default();
        let limits = Limits::of(config, shards);
        let disk = Arc::new(RealDisk);
        let checkpoints = Checkpoints::open(Arc::clone(&disk), &folder.join("checkpoint"), "state")
            .map_err(|error| RecoverError::Io { folder: folder.to_owned(), error })?;
        let stored = checkpoints
            .newest()
            .map_err(|error| RecoverError::Checkpoint { folder: folder.to_owned(), error })?
            .map(|(_, bytes)| bytes);
        let stored = stored.as_deref().and_then(checkpoint::parse);
        let (journal, journal_recovery) = GroupLog::open(
            Arc::clone(&disk),
            &folder.join("journal"),
            journal_config(&limits),
            &format!("journal-{index}"),
        )?;
        let (outbox, outbox_recovery) =
            GroupLog::open(disk, &folder.join("outbox"), outbox_config(&limits), &format!("outbox-{index}"))?;
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
            index,
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
            limits,
            clock,
            metrics,
        };
        shard.replay(from, delivered, &mut recovered)?;
        shard.configure(config)?;
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
    fn configure(&mut self, config: &Config) -> Result<(), Wait> {
        if self.state.width() != Some(config.window) {
            let width_ms = config.window.as_millis();
            self.record(Entry::Configure(ConfigureEntry { width_ms }))?;
        }
        let (devices, series) = (self.state.device_count(), self.state.series_count());
        self.metrics.devices.inc_by(i64::try_from(devices).unwrap_or(i64::MAX));
        self.metrics.series.inc_by(i64::try_from(series).unwrap_or(i64::MAX));
        Ok(())
    }
}
