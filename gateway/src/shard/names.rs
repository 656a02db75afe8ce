//! Second copies of what entries build on: devices, series, the window width.
//!
//! An entry names its device and series by index. If damage took the entry that introduced them, everything after it
//! would be lost with it, so each introduction is also written to a log of its own, with the position that it has in the
//! journal. The copies only help: nothing waits for them once the shard serves, a thread of their own writes them, and a log
//! that fails is given up with a warning.
//!
//! Invariants: a copy is written once what it copies is durable, so one beyond the journal's end says that the journal lost
//! its end. Before the journal is appended to, no copy says that it stands at or behind the journal's end: otherwise it
//! could give its index's later owner the wrong name.

use std::{collections::VecDeque, path::Path, sync::Arc};

use catchment_journal::{
    AppendError, Committer, Disk, GroupLog, Log, LogConfig, OpenError, Peek, Position, ReadError, ReadEvent,
    Reader,
};
use catchment_partial::Width;
use catchment_proto::wire;
use hashbrown::HashMap;

use crate::fold::{ConfigureEntry, Definitions, DeviceEntry, Entry, SeriesEntry, State};

/// The folder of the copies in a shard's folder.
pub(crate) const FOLDER: &str = "names";
/// A device or series takes some 50 bytes, so this holds millions.
const BYTES_MAX: u64 = 1 << 30;

fn config() -> LogConfig {
    LogConfig {
        bytes_max: BYTES_MAX,
        segment_bytes: 4 << 20,
        record_bytes_max: 128 << 10,
        reserve_bytes: 64 << 10,
        ..LogConfig::default()
    }
}

/// What the copies say.
#[derive(Debug, Default)]
pub(super) struct Copies {
    devices: HashMap<u32, (u64, DeviceEntry)>,
    series: HashMap<(u32, u32), (u64, SeriesEntry)>,
    width: Option<(u64, u32)>,
    /// Damaged ranges that were met: what stood before the last of them is not used.
    pub(super) damaged: u64,
}

impl Definitions for Copies {
    fn device(&self, index: u32) -> Option<&DeviceEntry> {
        self.devices.get(&index).map(|(_, device)| device)
    }

    fn series(&self, device: u32, index: u32) -> Option<&SeriesEntry> {
        self.series.get(&(device, index)).map(|(_, series)| series)
    }
}

impl Copies {
    /// The copies of a log that nobody has open.
    pub(super) fn peek<D: Disk>(disk: &Arc<D>, folder: &Path) -> Self {
        let peek = Peek::open(Arc::clone(disk), folder).ok().flatten();
        let reader = peek.map(|peek| peek.read(Position::ZERO));
        reader.and_then(|reader| Self::read(reader).ok()).unwrap_or_default()
    }

    fn read<D: Disk>(mut reader: Reader<D>) -> Result<Self, ReadError> {
        let mut copies = Self::default();
        let mut record = Vec::new();
        loop {
            match reader.next(&mut record)? {
                ReadEvent::Record(_) => copies.note(&record),
                // What is lost may be the correction of something before.
                ReadEvent::Damage(damage) if damage.to > damage.from => {
                    copies = Self { damaged: copies.damaged + 1, ..Self::default() };
                }
                ReadEvent::Damage(_) => {}
                ReadEvent::End => return Ok(copies),
            }
        }
    }

    fn note(&mut self, record: &[u8]) {
        let Some((position, bytes)) = record.split_first_chunk::<8>() else { return };
        let position = u64::from_le_bytes(*position);
        match Entry::decode(bytes) {
            // No entry: the journal ended here.
            Err(_) => self.cut(position),
            Ok(Entry::Device(device)) => drop(self.devices.insert(device.index, (position, device))),
            Ok(Entry::Series(series)) => {
                self.series.insert((series.device, series.index), (position, series));
            }
            Ok(Entry::Configure(configure)) => self.width = Some((position, configure.width_ms)),
            Ok(_) => {}
        }
    }

    fn cut(&mut self, end: u64) {
        self.devices.retain(|_, (position, _)| *position < end);
        self.series.retain(|_, (position, _)| *position < end);
        self.width = self.width.filter(|(position, _)| *position < end);
    }

    /// The highest position of a copy.
    pub(super) fn newest(&self) -> Option<u64> {
        let devices = self.devices.values().map(|(position, _)| *position);
        let series = self.series.values().map(|(position, _)| *position);
        devices.chain(series).chain(self.width.map(|(position, _)| position)).max()
    }

    /// The width of windows that was configured last.
    pub(super) fn width(&self) -> Option<Width> {
        self.width.and_then(|(_, ms)| Width::from_millis(ms).ok())
    }

    /// Introduces everything that stood in the journal before a position.
    pub(super) fn introduce_all(&mut self, state: &mut State, before: Position) {
        let mut late = Self::default();
        std::mem::swap(self, &mut late);
        self.devices = late.devices.extract_if(|_, (position, _)| *position < before.get()).collect();
        self.series = late.series.extract_if(|_, (position, _)| *position < before.get()).collect();
        state.introduce_devices(u32::MAX, self);
        for device in 0..u32::try_from(state.device_count()).unwrap_or(u32::MAX) {
            state.introduce_series(device, u32::MAX, self);
        }
        self.devices.extend(late.devices);
        self.series.extend(late.series);
        (self.width, self.damaged) = (late.width, late.damaged);
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
    /// What waits for the journal's sync; bounded by what is introduced in between.
    waiting: VecDeque<(Position, Vec<u8>)>,
}

impl<D: Disk> Names<D> {
    /// Opens the log, or makes it; one that cannot be opened is gone without.
    pub(super) fn open(disk: &Arc<D>, folder: &Path, salt: Option<u64>) -> (Self, Copies) {
        match Self::try_open(disk, folder, &LogConfig { salt, ..config() }) {
            Ok((log, copies)) => (Self { log: Some(Writer::Caller(log)), waiting: VecDeque::new() }, copies),
            Err(error) => {
                tracing::warn!(%error, "second copies of names cannot be kept");
                (Self { log: None, waiting: VecDeque::new() }, Copies { damaged: 1, ..Copies::default() })
            }
        }
    }

    fn try_open(disk: &Arc<D>, folder: &Path, config: &LogConfig) -> Result<(Log<D>, Copies), OpenError> {
        let mut destroyed = 0;
        let log = match Log::open(Arc::clone(disk), folder, config.clone()) {
            // They are copies: those of a log that is destroyed are made again.
            Err(OpenError::Unreadable { .. }) => {
                destroyed = 1;
                catchment_journal::set_aside(&**disk, folder)?;
                Log::open(Arc::clone(disk), folder, config.clone())?.0
            }
            other => other?.0,
        };
        let mut copies = Copies::read(log.read(Position::ZERO)).map_err(|error| OpenError::Io {
            path: folder.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        copies.damaged += destroyed;
        Ok((log, copies))
    }

    /// Keeps a copy of the entry at a position of the journal.
    pub(super) fn copy(&mut self, position: Position, entry: &Entry, bytes: &[u8]) {
        if self.log.is_some() && matches!(entry, Entry::Device(_) | Entry::Series(_) | Entry::Configure(_)) {
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

    /// Brings the copies to what the state says, which is what stood in the journal before `end`. What a copy says of a
    /// position from there on is lost and no longer counts.
    pub(super) fn agree(&mut self, copies: &Copies, state: &State, end: Position) {
        if copies.newest().is_some_and(|newest| newest >= end.get()) {
            self.waiting.push_back((end, Vec::new()));
        }
        let devices = u32::try_from(state.device_count()).unwrap_or(u32::MAX);
        let mut buffer = Vec::new();
        // All of it stands somewhere before the end.
        let before = Position::new(end.get().saturating_sub(1));
        let mut add = |names: &mut Self, entry: Entry| {
            let entry = entry.encode_into(&mut buffer);
            names.copy(before, &entry, &buffer);
        };
        if let Some(width) = state.width().filter(|width| copies.width() != Some(*width)) {
            add(self, Entry::Configure(ConfigureEntry { width_ms: width.as_millis() }));
        }
        for index in 0..devices {
            let Some(name) = state.device_name(index).map(|name| name.as_str().to_owned()) else { continue };
            if copies.device(index).is_none_or(|copy| copy.name != name) {
                add(self, Entry::Device(DeviceEntry { index, name }));
            }
            for number in 0..u32::try_from(state.series_of(index)).unwrap_or(u32::MAX) {
                if let Some(series) = series_entry(state, index, number)
                    && copies.series(index, number) != Some(&series)
                {
                    add(self, Entry::Series(series));
                }
            }
        }
        self.commit(end.next());
    }
}

/// The entry that introduces a series.
fn series_entry(state: &State, device: u32, index: u32) -> Option<SeriesEntry> {
    let (_, metric, labels) = state.key(device, index)?;
    let label = |(name, value): (&str, &str)| wire::Label { name: name.to_owned(), value: value.to_owned() };
    let labels = labels.iter().map(label).collect();
    Some(SeriesEntry { device, index, metric: metric.as_str().to_owned(), labels })
}
