//! Second copies of what entries build on: devices, series, the window width.
//!
//! An entry names its device and series by index. If damage took the entry that introduced them, everything after it
//! would be lost with it, so each introduction is also written to a log of its own, with the position that it has in the
//! journal. The copies only help: nothing waits for them once the shard serves, a thread of their own writes them, and a log
//! that fails is given up with a warning.
//!
//! What is forgotten is noted too, and a start that finds the log much larger than what the state says writes it anew: what is
//! in use is appended once more, and what stands before goes. A crash in between leaves both, which say the same.
//!
//! Invariants: a copy is written once what it copies is durable, so one beyond the journal's end says that the journal lost
//! its end. Before the journal is appended to, no copy says that it stands at or behind the journal's end, and no new device
//! or series gets an index of which a copy tells: otherwise a copy could give its index's later owner the wrong name. So a
//! copy of what is forgotten is right as long as it is there.

use std::{collections::VecDeque, path::Path, sync::Arc};

use catchment_journal::{AppendError, Committer, Disk, GroupLog, Log, LogConfig, OpenError, Position};
use catchment_proto::wire;
use prost::Message as _;

pub(super) use self::copies::Copies;
use super::Limits;
use crate::fold::{ConfigureEntry, DeviceEntry, Entry, ForgetEntry, SeriesEntry, State};

mod copies;

/// The folder of the copies in a shard's folder.
pub(crate) const FOLDER: &str = "names";
/// A device or series takes some 50 bytes, so this holds millions.
const BYTES_MAX: u64 = 1 << 30;
/// Most bytes of a record.
const RECORD_BYTES_MAX: u32 = 128 << 10;
/// Bytes of a record beside its entry, at most.
const RECORD_EXTRA: u64 = 32;

fn config(limits: &Limits, salt: Option<u64>) -> LogConfig {
    LogConfig {
        salt,
        bytes_max: BYTES_MAX,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: RECORD_BYTES_MAX.min(limits.entry_bytes_max + 8),
        reserve_bytes: 64 << 10,
        ..LogConfig::default()
    }
}

/// Who writes the copies.
enum Writer<D: Disk> {
    /// The caller: a start, which waits for the disk.
    Caller(Log<D>),
    /// A thread: nothing on a worker's waits for a disk.
    Thread(GroupLog<D>),
    /// A simulation, at once.
    Simulation(GroupLog<D>, Committer<D>),
}

impl<D: Disk> Writer<D> {
    fn append(&mut self, record: &[u8]) -> Result<(), AppendError> {
        match self {
            Self::Caller(log) => log.append(record).map(drop),
            Self::Thread(log) | Self::Simulation(log, _) => log.append(record).map(drop),
        }
    }

    /// Commits what was appended; does not wait for it where a thread writes.
    fn commit(&mut self) -> Result<(), AppendError> {
        let poisoned = |why: String| AppendError::Poisoned(why.into());
        match self {
            Self::Caller(log) => log.commit().map(drop).map_err(|error| poisoned(error.to_string())),
            Self::Thread(_) => Ok(()),
            Self::Simulation(_, committer) => committer.step().map_err(|why| poisoned(why.to_string())),
        }
    }
}

/// The log of the copies.
pub(super) struct Names<D: Disk> {
    /// `None` once it has failed.
    log: Option<Writer<D>>,
    /// Size of its files.
    segment_bytes: u64,
    /// What waits for the journal's sync; bounded by what is introduced in between.
    waiting: VecDeque<(Position, Vec<u8>)>,
}

impl<D: Disk> Names<D> {
    /// Opens the log, or makes it; one that cannot be opened is gone without.
    pub(super) fn open(disk: &Arc<D>, folder: &Path, limits: &Limits, salt: Option<u64>) -> (Self, Copies) {
        let segment_bytes = limits.segment_bytes;
        let new = |log| Self { log, segment_bytes, waiting: VecDeque::new() };
        match Self::try_open(disk, folder, &config(limits, salt)) {
            Ok((log, copies)) => (new(Some(Writer::Caller(log))), copies),
            Err(error) => {
                tracing::warn!(%error, "second copies of names cannot be kept");
                (new(None), Copies::destroyed())
            }
        }
    }

    fn try_open(disk: &Arc<D>, folder: &Path, config: &LogConfig) -> Result<(Log<D>, Copies), OpenError> {
        let mut destroyed = 0;
        let log = match Log::open(Arc::clone(disk), folder, config.clone()) {
            // They are copies: those of a log that is destroyed are made again.
            Err(OpenError::Unreadable { .. }) => {
                destroyed = 1;
                catchment_journal::quarantine(&**disk, folder)?;
                Log::open(Arc::clone(disk), folder, config.clone())?.0
            }
            other => other?.0,
        };
        let mut copies = Copies::read(log.read(log.start())).map_err(|error| OpenError::Io {
            path: folder.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        copies.damaged += destroyed;
        Ok((log, copies))
    }

    /// Keeps a copy of the entry at a position of the journal.
    pub(super) fn copy(&mut self, position: Position, entry: &Entry, bytes: &[u8]) {
        let is_copied = match entry {
            Entry::Device(_) | Entry::Series(_) | Entry::Configure(_) => true,
            Entry::Forget(forget) => !(forget.devices.is_empty() && forget.series.is_empty()),
            _ => false,
        };
        if self.log.is_some() && is_copied {
            self.waiting.push_back((position, bytes.to_vec()));
        }
    }

    /// Hands the log on to whoever writes from here on.
    pub(super) fn share(
        &mut self,
        share: impl FnOnce(Log<D>) -> std::io::Result<(GroupLog<D>, Option<Committer<D>>)>,
    ) -> std::io::Result<()> {
        self.log = match self.log.take() {
            Some(Writer::Caller(log)) => Some(match share(log)? {
                (log, Some(committer)) => Writer::Simulation(log, committer),
                (log, None) => Writer::Thread(log),
            }),
            other => other,
        };
        Ok(())
    }

    /// Has the copies written of what is durable in the journal. A start waits for the disk here, a worker does not: what
    /// its log has no room for now waits for the next call.
    pub(super) fn commit(&mut self, durable: Position) {
        if self.waiting.front().is_none_or(|(position, _)| *position >= durable) {
            return;
        }
        while let Some((position, entry)) = self.waiting.pop_front_if(|(position, _)| *position < durable) {
            let mut record = Vec::with_capacity(8 + entry.len());
            record.extend_from_slice(&position.get().to_le_bytes());
            record.extend_from_slice(&entry);
            let Some(log) = &mut self.log else { return };
            let mut result = log.append(&record);
            if matches!(result, Err(AppendError::BufferFull)) {
                if matches!(log, Writer::Thread(_)) {
                    self.waiting.push_front((position, entry));
                    return;
                }
                result = log.commit().and_then(|()| log.append(&record));
            }
            if let Err(error) = result {
                return self.give_up(&error);
            }
        }
        if let Some(Err(error)) = self.log.as_mut().map(Writer::commit) {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &dyn std::error::Error) {
        tracing::warn!(%error, "second copies of names are no longer kept; the next start tries again");
        self.log = None;
        self.waiting.clear();
    }

    /// Brings the copies to what the state says, which is what stood in the journal, from `journal.0` on, before `journal.1`. What
    /// a copy says of a position from there on is lost and no longer counts.
    pub(super) fn agree(&mut self, copies: &Copies, state: &State, journal: (Position, Position)) {
        let (start, end) = journal;
        let Some(Writer::Caller(log)) = &mut self.log else { return };
        let damaged = copies.damaged > 0 && log.end() > log.start();
        // In a file of its own, so that the damage goes with the others and is told once.
        if damaged && let Err(error) = log.advance_to(Position::new(log.end().get() + 1)) {
            return self.give_up(&error);
        }
        let begin = log.end();
        // A small log is not worth a walk over all names.
        let bloated = |limit: u64| log.bytes() > 2 * (limit + self.segment_bytes);
        let anew = damaged || (bloated(0) && bloated(needed(state)));
        if !anew && copies.newest().is_some_and(|newest| newest >= end.get()) {
            self.waiting.push_back((end, Vec::new()));
        }
        // All of it stands somewhere before the end.
        let before = end.get().saturating_sub(1);
        if let Some(width) = state.width().filter(|width| anew || copies.width() != Some(*width)) {
            self.add(before, Entry::Configure(ConfigureEntry { width_ms: width.as_millis() }));
        }
        for index in state.devices() {
            let Some(name) = state.device_name(index).map(|name| name.as_str().to_owned()) else { continue };
            let known =
                copies.devices.get(&index).filter(|copy| copy.entry.name == name && copy.at < end.get());
            if anew || known.is_none() {
                let at = known.map_or(before, |copy| copy.at);
                self.add(at, Entry::Device(DeviceEntry { index, name }));
            }
            for number in state.series_numbers(index) {
                let Some(series) = series_entry(state, index, number) else { continue };
                let known = copies.series.get(&(index, number));
                let known = known.filter(|copy| copy.entry == series && copy.at < end.get());
                if anew || known.is_none() {
                    self.add(known.map_or(before, |copy| copy.at), Entry::Series(series));
                }
            }
        }
        if anew {
            self.add_forgotten(copies, start);
        }
        self.add_missed(copies, state, end);
        self.commit(end.next());
        if anew {
            self.release(begin);
        }
    }

    fn add(&mut self, at: u64, entry: Entry) {
        let mut buffer = Vec::new();
        let entry = entry.encode_into(&mut buffer);
        self.copy(Position::new(at), &entry, &buffer);
    }

    /// Copies of what was forgotten in the journal that is still there: should that be damaged, its entries need them.
    fn add_forgotten(&mut self, copies: &Copies, start: Position) {
        let recent = |forgotten: Option<u64>| forgotten.filter(|at| *at >= start.get());
        for (index, copy) in &copies.devices {
            let Some(at) = recent(copy.forgotten) else { continue };
            self.add(copy.at, Entry::Device(copy.entry.clone()));
            for (_, series) in copies.series.range((*index, 0)..=(*index, u32::MAX)) {
                self.add(series.at, Entry::Series(series.entry.clone()));
            }
            self.add(at, Entry::Forget(ForgetEntry { devices: vec![*index], ..ForgetEntry::default() }));
        }
        for ((device, index), copy) in &copies.series {
            let Some(at) = recent(copy.forgotten) else { continue };
            self.add(copy.at, Entry::Series(copy.entry.clone()));
            let (series_device, series) = (vec![*device], vec![*index]);
            self.add(at, Entry::Forget(ForgetEntry { series_device, series, ..ForgetEntry::default() }));
        }
    }

    /// What is forgotten, where the note of that was not written: nobody knows at which position, and entries that need such a copy
    /// find it.
    fn add_missed(&mut self, copies: &Copies, state: &State, end: Position) {
        let at = 0;
        for (index, _) in copies.devices.iter().filter(|(_, copy)| copy.is_used(end)) {
            if state.device_name(*index).is_none() {
                self.add(at, Entry::Forget(ForgetEntry { devices: vec![*index], ..ForgetEntry::default() }));
            }
        }
        for ((device, index), _) in copies.series.iter().filter(|(_, copy)| copy.is_used(end)) {
            if state.device_name(*device).is_some() && state.key(*device, *index).is_none() {
                let (series_device, series) = (vec![*device], vec![*index]);
                self.add(at, Entry::Forget(ForgetEntry { series_device, series, ..ForgetEntry::default() }));
            }
        }
    }

    /// What stands before is written anew.
    fn release(&mut self, before: Position) {
        let Some(Writer::Caller(log)) = &mut self.log else { return };
        match log.release(before) {
            Ok(()) => tracing::info!(bytes = log.bytes(), "second copies of names are written anew"),
            Err(error) => tracing::warn!(%error, "second copies of names that are not needed stay"),
        }
    }
}

/// Bytes that the copies of a state take, roughly.
fn needed(state: &State) -> u64 {
    let of_device = |index: u32| {
        let series = state.series_numbers(index).filter_map(|number| series_entry(state, index, number));
        let series: u64 = series.map(|entry| entry.encoded_len() as u64 + RECORD_EXTRA).sum();
        series + state.device_name(index).map_or(0, |name| name.as_str().len() as u64) + RECORD_EXTRA
    };
    state.devices().map(of_device).sum()
}

/// The entry that introduces a series.
fn series_entry(state: &State, device: u32, index: u32) -> Option<SeriesEntry> {
    let (_, metric, labels) = state.key(device, index)?;
    let label = |(name, value): (&str, &str)| wire::Label { name: name.to_owned(), value: value.to_owned() };
    let labels = labels.iter().map(label).collect();
    Some(SeriesEntry { device, index, metric: metric.as_str().to_owned(), labels })
}
