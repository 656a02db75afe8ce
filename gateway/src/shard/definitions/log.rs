//! The definitions log of a running shard.

use std::{collections::VecDeque, path::Path, sync::Arc};

use catchment_journal::{AppendError, Committer, Disk, GroupLog, Log, LogConfig, OpenError, Position};
use catchment_proto::wire;
use prost::Message as _;

use super::{stored::StoredDefinitions, writer::Writer};
use crate::{
    fold::{ConfigureEntry, DeviceEntry, Entry, ForgetEntry, SeriesEntry, State},
    shard::ShardLimits,
};

/// A device or series takes some 50 bytes, so this holds millions.
const BYTES_MAX: u64 = 1 << 30;
/// Most bytes of a record: of a configuration of windows with 1,000 metrics.
const RECORD_BYTES_MAX: u32 = 256 << 10;
/// Most bytes of a record beyond its entry.
const RECORD_EXTRA: u64 = 32;

fn config(limits: &ShardLimits, salt: Option<u64>) -> LogConfig {
    LogConfig {
        salt,
        bytes_max: BYTES_MAX,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: RECORD_BYTES_MAX.min(limits.entry_bytes_max + 8),
        reserve_bytes: 64 << 10,
        ..LogConfig::default()
    }
}

/// The definitions log.
pub(in crate::shard) struct DefinitionsLog<D: Disk> {
    /// `None` once it has failed.
    log: Option<Writer<D>>,
    /// Size of its files.
    segment_bytes: u64,
    /// Definitions that wait for the journal's sync; bounded by what is introduced between two syncs.
    waiting: VecDeque<(Position, Vec<u8>)>,
}

impl<D: Disk> DefinitionsLog<D> {
    /// Opens the log, or creates it. If that fails, the shard works without.
    pub(in crate::shard) fn open(
        disk: &Arc<D>,
        folder: &Path,
        limits: &ShardLimits,
        salt: Option<u64>,
    ) -> (Self, StoredDefinitions) {
        let segment_bytes = limits.segment_bytes;
        let new = |log| Self { log, segment_bytes, waiting: VecDeque::new() };
        match Self::try_open(disk, folder, &config(limits, salt)) {
            Ok((log, definitions)) => (new(Some(Writer::Caller(log))), definitions),
            Err(error) => {
                tracing::warn!(%error, "the definitions log (names/) cannot be kept");
                (new(None), StoredDefinitions::destroyed())
            }
        }
    }

    fn try_open(
        disk: &Arc<D>,
        folder: &Path,
        config: &LogConfig,
    ) -> Result<(Log<D>, StoredDefinitions), OpenError> {
        let mut destroyed = 0;
        let log = match Log::open(Arc::clone(disk), folder, config.clone()) {
            // The log is redundant: if it is destroyed, it is written again.
            Err(OpenError::Unreadable { .. }) => {
                destroyed = 1;
                catchment_journal::quarantine(&**disk, folder, config.salt)?;
                Log::open(Arc::clone(disk), folder, config.clone())?.0
            }
            other => other?.0,
        };
        let mut definitions = StoredDefinitions::read(log.read(log.start())).map_err(|error| {
            OpenError::Io { path: folder.to_owned(), source: std::io::Error::other(error.to_string()) }
        })?;
        definitions.damaged += destroyed;
        Ok((log, definitions))
    }

    /// Records the definition in the entry at a position of the journal, if it has one.
    pub(in crate::shard) fn record(&mut self, position: Position, entry: &Entry, bytes: &[u8]) {
        let is_definition = match entry {
            Entry::Device(_) | Entry::Series(_) | Entry::Configure(_) => true,
            Entry::Forget(forget) => !(forget.devices.is_empty() && forget.series.is_empty()),
            _ => false,
        };
        if self.log.is_some() && is_definition {
            self.waiting.push_back((position, bytes.to_vec()));
        }
    }

    /// Hands the log to its writer.
    pub(in crate::shard) fn share(
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

    /// Writes the definitions that are durable in the journal. A start waits for the disk here. A worker does not:
    /// what has no room in its log waits for the next call.
    pub(in crate::shard) fn commit(&mut self, durable: Position) {
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
        tracing::warn!(%error, "the definitions log (names/) is no longer kept; the next start tries again");
        self.log = None;
        self.waiting.clear();
    }

    /// Brings the log in line with the state, which is the fold of the journal from `journal.0` to `journal.1`.
    /// Definitions at or after `journal.1` are lost in the journal and no longer count.
    pub(in crate::shard) fn reconcile(
        &mut self,
        definitions: &StoredDefinitions,
        state: &State,
        journal: (Position, Position),
    ) {
        let (start, end) = journal;
        let Some(Writer::Caller(log)) = &mut self.log else { return };
        let damaged = definitions.damaged > 0 && log.end() > log.start();
        // In a new file, so that the damage is released with the old files and is reported once.
        if damaged && let Err(error) = log.advance_to(Position::new(log.end().get() + 1)) {
            return self.give_up(&error);
        }
        let begin = log.end();
        // A small log is not worth a walk over all definitions.
        let bloated = |limit: u64| log.bytes() > 2 * (limit + self.segment_bytes);
        let anew = damaged || (bloated(0) && bloated(needed(state)));
        if !anew && definitions.newest().is_some_and(|newest| newest >= end.get()) {
            self.waiting.push_back((end, Vec::new()));
        }
        // The entries of the state stand somewhere before the end.
        let before = end.get().saturating_sub(1);
        let is_new = |entry: &ConfigureEntry| anew || definitions.configuration() != Some(entry);
        if let Some(entry) = state.configuration().filter(is_new) {
            self.add(before, Entry::Configure(entry));
        }
        for index in state.devices() {
            let Some(name) = state.device_name(index).map(|name| name.as_str().to_owned()) else { continue };
            let known = definitions
                .devices
                .get(&index)
                .filter(|stored| stored.entry.name == name && stored.at < end.get());
            if anew || known.is_none() {
                let at = known.map_or(before, |stored| stored.at);
                self.add(at, Entry::Device(DeviceEntry { index, name }));
            }
            for number in state.series_numbers(index) {
                let Some(series) = series_entry(state, index, number) else { continue };
                let known = definitions.series.get(&(index, number));
                let known = known.filter(|stored| stored.entry == series && stored.at < end.get());
                if anew || known.is_none() {
                    self.add(known.map_or(before, |stored| stored.at), Entry::Series(series));
                }
            }
        }
        if anew {
            self.add_forgotten(definitions, start);
        }
        self.add_missed(definitions, state, end);
        self.commit(end.next());
        if anew {
            self.release(begin);
        }
    }

    fn add(&mut self, at: u64, entry: Entry) {
        let mut buffer = Vec::new();
        let entry = entry.encode_into(&mut buffer);
        self.record(Position::new(at), &entry, &buffer);
    }

    /// Keeps definitions of what was forgotten in the part of the journal that still exists: if that is damaged
    /// later, its entries need them.
    fn add_forgotten(&mut self, definitions: &StoredDefinitions, start: Position) {
        let recent = |forgotten: Option<u64>| forgotten.filter(|at| *at >= start.get());
        for (index, stored) in &definitions.devices {
            let Some(at) = recent(stored.forgotten) else { continue };
            self.add(stored.at, Entry::Device(stored.entry.clone()));
            for (_, series) in definitions.series.range((*index, 0)..=(*index, u32::MAX)) {
                self.add(series.at, Entry::Series(series.entry.clone()));
            }
            self.add(at, Entry::Forget(ForgetEntry { devices: vec![*index], ..ForgetEntry::default() }));
        }
        for ((device, index), stored) in &definitions.series {
            let Some(at) = recent(stored.forgotten) else { continue };
            self.add(stored.at, Entry::Series(stored.entry.clone()));
            let (series_device, series) = (vec![*device], vec![*index]);
            self.add(at, Entry::Forget(ForgetEntry { series_device, series, ..ForgetEntry::default() }));
        }
    }

    /// Notes what the state has forgotten and the log has not. The position is unknown, so 0 is written; entries that
    /// need such a definition find it.
    fn add_missed(&mut self, definitions: &StoredDefinitions, state: &State, end: Position) {
        let at = 0;
        for (index, _) in definitions.devices.iter().filter(|(_, stored)| stored.is_used(end)) {
            if state.device_name(*index).is_none() {
                self.add(at, Entry::Forget(ForgetEntry { devices: vec![*index], ..ForgetEntry::default() }));
            }
        }
        for ((device, index), _) in definitions.series.iter().filter(|(_, stored)| stored.is_used(end)) {
            if state.device_name(*device).is_some() && state.key(*device, *index).is_none() {
                let (series_device, series) = (vec![*device], vec![*index]);
                self.add(at, Entry::Forget(ForgetEntry { series_device, series, ..ForgetEntry::default() }));
            }
        }
    }

    /// Releases what stands before a position, which is rewritten after it.
    fn release(&mut self, before: Position) {
        let Some(Writer::Caller(log)) = &mut self.log else { return };
        match log.release(before) {
            Ok(()) => tracing::info!(bytes = log.bytes(), "the definitions log (names/) is rewritten"),
            Err(error) => tracing::warn!(%error, "definitions (names/) that are not needed stay"),
        }
    }
}

/// Bytes that the definitions of a state take, approximately.
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
    let labels = labels.iter().map(wire::Label::from).collect();
    Some(SeriesEntry { device, index, metric: metric.as_str().to_owned(), labels })
}
