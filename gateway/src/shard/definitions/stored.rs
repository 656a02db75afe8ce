//! The content of a definitions log.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    path::Path,
    sync::Arc,
};

use catchment_journal::{Disk, Position, ReadError, ReadEvent, ReadOnlyLog, Reader};
use catchment_partial::Width;

use crate::fold::{ConfigureEntry, Definitions, DeviceEntry, Entry, ForgetEntry, SeriesEntry, State};

/// A definition.
#[derive(Debug)]
pub(in crate::shard) struct StoredDefinition<E> {
    /// The entry's position.
    pub(super) at: u64,
    pub(super) entry: E,
    /// Position of the entry that forgot it.
    pub(super) forgotten: Option<u64>,
}

impl<E> StoredDefinition<E> {
    /// Whether it is in use at the journal's end.
    pub(super) fn is_used(&self, end: Position) -> bool {
        self.at < end.get() && self.forgotten.is_none_or(|at| at >= end.get())
    }

    /// Whether it was in use before a position.
    fn was_in_use_before(&self, before: u64) -> bool {
        self.at < before && self.forgotten.is_none_or(|at| at >= before)
    }

    /// Discards what happened at or after a position; returns whether the definition remains.
    fn truncate_to(&mut self, end: u64) -> bool {
        self.forgotten = self.forgotten.filter(|at| *at < end);
        self.at < end
    }

    fn newest(&self) -> u64 {
        self.at.max(self.forgotten.unwrap_or(0))
    }
}

/// The definitions of the log.
#[derive(Debug, Default)]
pub(in crate::shard) struct StoredDefinitions {
    pub(super) devices: BTreeMap<u32, StoredDefinition<DeviceEntry>>,
    pub(super) series: BTreeMap<(u32, u32), StoredDefinition<SeriesEntry>>,
    /// The newest configuration, and its position.
    configured: Option<(u64, ConfigureEntry)>,
    /// Number of damaged ranges; records before the last of them are not used.
    pub(in crate::shard) damaged: u64,
}

impl Definitions for StoredDefinitions {
    fn device(&self, index: u32) -> Option<&DeviceEntry> {
        self.devices.get(&index).map(|stored| &stored.entry)
    }

    fn series(&self, device: u32, index: u32) -> Option<&SeriesEntry> {
        self.series.get(&(device, index)).map(|stored| &stored.entry)
    }

    fn devices_in_use(&self, indexes: Range<u32>) -> impl Iterator<Item = &DeviceEntry> {
        self.devices_at(indexes, u64::MAX)
    }

    fn series_in_use(&self, device: u32, indexes: Range<u32>) -> impl Iterator<Item = &SeriesEntry> {
        self.series_at(device, indexes, u64::MAX)
    }
}

/// The definitions that were in use before a position.
struct InUseBefore<'a>(&'a StoredDefinitions, u64);

impl Definitions for InUseBefore<'_> {
    fn device(&self, index: u32) -> Option<&DeviceEntry> {
        self.0.device(index)
    }

    fn series(&self, device: u32, index: u32) -> Option<&SeriesEntry> {
        self.0.series(device, index)
    }

    fn devices_in_use(&self, indexes: Range<u32>) -> impl Iterator<Item = &DeviceEntry> {
        self.0.devices_at(indexes, self.1)
    }

    fn series_in_use(&self, device: u32, indexes: Range<u32>) -> impl Iterator<Item = &SeriesEntry> {
        self.0.series_at(device, indexes, self.1)
    }
}

impl StoredDefinitions {
    /// The devices of these indexes that were in use before a position.
    fn devices_at(&self, indexes: Range<u32>, before: u64) -> impl Iterator<Item = &DeviceEntry> {
        self.devices
            .range(indexes)
            .filter(move |(_, stored)| stored.was_in_use_before(before))
            .map(|(_, stored)| &stored.entry)
    }

    fn series_at(&self, device: u32, indexes: Range<u32>, before: u64) -> impl Iterator<Item = &SeriesEntry> {
        let definitions = self.series.range((device, indexes.start)..(device, indexes.end));
        definitions
            .filter(move |(_, stored)| stored.was_in_use_before(before))
            .map(|(_, stored)| &stored.entry)
    }
}

impl StoredDefinitions {
    /// The definitions of a log that cannot be opened: none.
    pub(super) fn destroyed() -> Self {
        Self { damaged: 1, ..Self::default() }
    }

    /// The definitions of a log that nobody has open.
    pub(in crate::shard) fn read_only<D: Disk>(disk: &Arc<D>, folder: &Path) -> Self {
        let peek = ReadOnlyLog::open(Arc::clone(disk), folder).ok().flatten();
        let reader = peek.map(|peek| peek.read(peek.start_position()));
        reader.and_then(|reader| Self::read(reader).ok()).unwrap_or_default()
    }

    pub(super) fn read<D: Disk>(mut reader: Reader<D>) -> Result<Self, ReadError> {
        let mut definitions = Self::default();
        let mut record = Vec::new();
        loop {
            match reader.next(&mut record)? {
                ReadEvent::Record(_) => definitions.note(&record),
                // A lost record may have corrected an earlier one.
                ReadEvent::Damage(damage) if damage.to > damage.from => {
                    definitions = Self { damaged: definitions.damaged + 1, ..Self::default() };
                }
                ReadEvent::Damage(_) => {}
                ReadEvent::End => return Ok(definitions),
            }
        }
    }

    fn note(&mut self, record: &[u8]) {
        let Some((position, bytes)) = record.split_first_chunk::<8>() else { return };
        let (at, forgotten) = (u64::from_le_bytes(*position), None);
        match Entry::decode(bytes) {
            // Not an entry: it notes that the journal ended here.
            Err(_) => self.truncate_to(at),
            Ok(Entry::Device(entry)) => {
                drop(self.devices.insert(entry.index, StoredDefinition { at, entry, forgotten }))
            }
            Ok(Entry::Series(entry)) => {
                self.series.insert((entry.device, entry.index), StoredDefinition { at, entry, forgotten });
            }
            Ok(Entry::Configure(configure)) => self.configured = Some((at, configure)),
            Ok(Entry::Forget(forget)) => self.forget(at, &forget),
            Ok(_) => {}
        }
    }

    fn forget(&mut self, at: u64, forget: &ForgetEntry) {
        for device in &forget.devices {
            if let Some(stored) = self.devices.get_mut(device) {
                stored.forgotten = Some(at);
            }
        }
        for place in forget.series_device.iter().zip(&forget.series) {
            if let Some(stored) = self.series.get_mut(&(*place.0, *place.1)) {
                stored.forgotten = Some(at);
            }
        }
    }

    fn truncate_to(&mut self, end: u64) {
        self.devices.retain(|_, stored| stored.truncate_to(end));
        self.series.retain(|_, stored| stored.truncate_to(end));
        self.configured.take_if(|(position, _)| *position >= end);
    }

    /// The highest position of a definition.
    pub(in crate::shard) fn newest(&self) -> Option<u64> {
        let devices = self.devices.values().map(StoredDefinition::newest);
        let series = self.series.values().map(StoredDefinition::newest);
        devices.chain(series).chain(self.configured.as_ref().map(|(position, _)| *position)).max()
    }

    /// The configuration of windows that was written last.
    pub(in crate::shard) fn configuration(&self) -> Option<&ConfigureEntry> {
        let configured = self.configured.as_ref().map(|(_, entry)| entry);
        configured.filter(|entry| Width::from_millis(entry.width_ms).is_ok())
    }

    /// Restores everything that was in use at a position of the journal.
    pub(in crate::shard) fn restore_all(&self, state: &mut State, before: Position) {
        let early = InUseBefore(self, before.get());
        state.restore_devices(0..u32::MAX, &early);
        for device in state.devices().collect::<Vec<_>>() {
            state.restore_series_of(device, 0..u32::MAX, &early);
        }
    }

    /// Skips the indexes that are defined here, because the entries that introduced them may be lost. Definitions at
    /// or after `end`, the journal's end, no longer count.
    pub(in crate::shard) fn skip_used_indexes(&self, state: &mut State, end: Position) {
        let last = self.devices.iter().rev().find(|(_, stored)| stored.at < end.get());
        if let Some((last, _)) = last {
            state.skip_device_indexes(last.saturating_add(1));
        }
        for device in state.devices().collect::<Vec<_>>() {
            let of_device = (Bound::Included((device, 0)), Bound::Included((device, u32::MAX)));
            let last = self.series.range(of_device).rev().find(|(_, stored)| stored.at < end.get());
            if let Some(((_, last), _)) = last {
                state.skip_series_indexes(device, last.saturating_add(1));
            }
        }
    }
}
