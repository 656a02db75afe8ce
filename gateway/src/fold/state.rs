//! State of a shard: devices with their sequence numbers, series with their open windows, the watermark.
//!
//! Invariants:
//! - An on-time window ends after the watermark; a late one ends at or before it. So a series has at most one open
//!   window of each interval.
//! - The part of a window is the position of the entry that opened it; its revision is the position of the last
//!   entry folded in. An entry never closes what it opened, so a name is used once.
//! - A close empties the front of the due order into one batch of one window width; the entry holds the
//!   batch's number, so a damaged range of the journal cannot shift later numbers.

use std::{collections::BTreeSet, sync::Arc};

use catchment_partial::{Partial, Timestamp, Width, WidthError, Window};
use catchment_proto::{History, Labels, LabelsError, MetricError, MetricName, Name, NameError, Span};
use hashbrown::HashMap;

use super::{
    device::{Device, Devices},
    due::{Due, Rank, WindowKey},
    entry::{ClientEntry, CloseEntry, ConfigureEntry, DeviceEntry, Entry, RefusedEntry, SeriesEntry},
    forgotten_series::ForgottenSeries,
    metric_parts::MetricParts,
    snapshot::Snapshot,
};

/// A window that was closed, or the state of one that is open.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Index of the device.
    pub device: u32,
    /// Index of the series in its device.
    pub series: u32,
    /// The window.
    pub window: Window,
    /// Position of the entry that opened it.
    pub part: u64,
    /// Position of the last entry folded in.
    pub revision: u64,
    /// Its readings.
    pub partial: Partial,
}

/// The result of a close: one batch.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Number of the batch.
    pub number: u64,
    /// The watermark after the close.
    pub watermark: Option<Timestamp>,
    /// Width of all its windows.
    pub width: Width,
    /// Which times the earlier batches cover.
    pub history: Arc<History>,
    /// The windows; none if the batch only reports refused readings.
    pub closed: Vec<Emitted>,
    /// Refused readings that the batch reports.
    pub refused: Vec<RefusedEntry>,
}

/// An entry that does not fit the state: the journal lost an entry that it depends on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A device or series that was never introduced.
    #[error("device {device}, series {series:?} is unknown: the entry that introduced it is lost")]
    Unknown {
        /// Index of the device.
        device: u32,
        /// Index of the series, if the device is known.
        series: Option<u32>,
    },
    /// A device or series introduced out of order.
    #[error("index {got} is introduced where {expected} comes next: entries between are lost")]
    Order {
        /// The index given.
        got: u32,
        /// The index that comes next.
        expected: u32,
    },
    /// A reading before any window width was set.
    #[error("readings before a window width")]
    NoWidth,
    /// Columns of different length.
    #[error("an intake's columns differ in length")]
    Columns,
    /// An invalid device name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An invalid metric name.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Invalid labels.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// An invalid width.
    #[error(transparent)]
    Width(#[from] WidthError),
}

/// The fold of a shard's journal.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) width: Option<Width>,
    /// Optional parts of new windows.
    pub(super) metric_parts: MetricParts,
    pub(super) watermark: Option<Timestamp>,
    pub(super) next_batch: u64,
    /// Which times the batches before `next_batch` cover.
    pub(super) history: Arc<History>,
    pub(super) devices: Devices,
    pub(super) names: HashMap<Name, u32>,
    pub(super) due: Due,
    pub(super) series_count: usize,
    /// Seconds that the gateway has run, according to the journal.
    pub(super) running: u32,
    /// Places of forgotten series.
    pub(super) forgotten_series: ForgottenSeries,
    /// Set only during the replay of a damaged journal.
    pub(super) damaged_range: Option<DamagedRange>,
    /// Likewise: the replay may miss entries.
    pub(super) damaged: bool,
    /// The snapshot under way.
    pub(super) snapshot: Option<Box<Snapshot>>,
}

/// A damaged range of the journal. A window that a device opens after it may have been opened within it, then closed
/// and delivered under that name. So it falls due as if it had been opened there; otherwise its readings could count
/// twice. (Of on-time windows, only those open for too long fall due by position.)
#[derive(Clone, Debug)]
pub(super) struct DamagedRange {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Devices that lost something in it.
    pub(super) devices: BTreeSet<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            width: None,
            metric_parts: MetricParts::default(),
            watermark: None,
            next_batch: 1,
            history: Arc::default(),
            devices: Devices::default(),
            names: HashMap::new(),
            due: Due::default(),
            series_count: 0,
            running: 0,
            forgotten_series: ForgottenSeries::default(),
            damaged_range: None,
            damaged: false,
            snapshot: None,
        }
    }
}

impl State {
    /// Folds in the entry at a position. An entry that does not fit changes nothing.
    ///
    /// # Errors
    /// Only after damage to the journal: see [`ApplyError`].
    pub fn apply(&mut self, position: u64, entry: &Entry) -> Result<Option<Emission>, ApplyError> {
        match entry {
            Entry::Configure(configure) => self.configure(configure)?,
            Entry::Device(device) => self.add_device(device)?,
            Entry::Series(series) => self.add_series(series)?,
            Entry::Intake(intake) => self.fold(position, intake)?,
            Entry::Close(close) => return Ok(self.close(close)),
            Entry::ProgressSnapshot(snapshot) => self.advance_all(snapshot),
            Entry::Client(client) => self.keep_client(client)?,
            Entry::Numbers(numbers) => self.skip_to(numbers),
            Entry::Forget(forget) => self.forget(forget),
        }
        Ok(None)
    }

    fn configure(&mut self, entry: &ConfigureEntry) -> Result<(), ApplyError> {
        self.width = Some(Width::from_millis(entry.width_ms)?);
        self.set_metric_parts(MetricParts::of_entries(&entry.metrics));
        Ok(())
    }

    /// Windows carry these parts from here on; those that are open keep theirs.
    pub(super) fn set_metric_parts(&mut self, metric_parts: MetricParts) {
        if metric_parts != self.metric_parts {
            self.devices.resolve_parts(&metric_parts);
            self.metric_parts = metric_parts;
        }
    }

    fn add_device(&mut self, entry: &DeviceEntry) -> Result<(), ApplyError> {
        let name = Name::new(&entry.name)?;
        let expected = self.devices.next();
        if entry.index > expected || self.devices.get(entry.index).is_some() {
            return Err(ApplyError::Order { got: entry.index, expected });
        }
        // As with series: of two with one name the newest is in use.
        let newest = self.names.entry(name.clone()).or_insert(entry.index);
        *newest = entry.index.max(*newest);
        self.devices.insert(entry.index, Device::new(name, self.running));
        Ok(())
    }

    fn add_series(&mut self, entry: &SeriesEntry) -> Result<(), ApplyError> {
        let metric = MetricName::new(&entry.metric)?;
        let labels = Labels::new(entry.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())))?;
        self.before_change(entry.device);
        let unknown = ApplyError::Unknown { device: entry.device, series: None };
        let device = self.devices.get_mut(entry.device).ok_or(unknown)?;
        let expected = device.series.next();
        if entry.index > expected || device.series.get(entry.index).is_some() {
            return Err(ApplyError::Order { got: entry.index, expected });
        }
        self.forgotten_series.remove(&device.name, &metric, &labels);
        let parts = self.metric_parts.of(metric.as_str());
        device.add_series(entry.index, metric, labels, (self.running, parts));
        self.series_count += 1;
        Ok(())
    }

    fn keep_client(&mut self, entry: &ClientEntry) -> Result<(), ApplyError> {
        self.before_change(entry.device);
        let unknown = ApplyError::Unknown { device: entry.device, series: None };
        let device = self.devices.get_mut(entry.device).ok_or(unknown)?;
        device.used = self.running;
        device.clients.apply(entry, self.running);
        Ok(())
    }

    /// A device is about to change: a snapshot under way encodes it first.
    pub(super) fn before_change(&mut self, device: u32) {
        if let Some(snapshot) = self.snapshot.as_deref_mut() {
            snapshot.before_change(device, &self.devices);
        }
    }

    /// The windows that a close takes.
    pub(super) fn closed_by(&self, entry: &CloseEntry) -> impl Iterator<Item = (Rank, WindowKey)> {
        let last = entry.last.and_then(|last| last.rank());
        let most = if last.is_some() { usize::MAX } else { entry.take as usize };
        let mut width = None;
        let within = move |(rank, place): &(Rank, WindowKey)| {
            // One batch has one width.
            last.is_none_or(|last| *rank <= last) && *width.get_or_insert(place.2.width()) == place.2.width()
        };
        self.due.taken_by(entry).take(most).take_while(within)
    }

    fn close(&mut self, entry: &CloseEntry) -> Option<Emission> {
        let target = Timestamp::from_nanos(entry.watermark_ns);
        let ranks: Vec<_> = self.closed_by(entry).collect();
        let mut closed: Vec<Emitted> = Vec::with_capacity(ranks.len());
        for (rank, place) in ranks {
            self.due.remove(rank);
            closed.extend(self.take(place));
        }
        if self.damaged_range.as_ref().is_some_and(|damaged_range| damaged_range.to <= entry.late_before) {
            self.damaged_range = None;
        }
        let done = self.due.first_end().is_none_or(|end| end > target);
        // The least time means a close before there is any watermark.
        if done && target > Timestamp::MIN && self.watermark.is_none_or(|now| now < target) {
            self.watermark = Some(target);
        }
        let covered = Span::over(closed.iter().map(|emitted| emitted.window));
        let (width, span) = match closed.first() {
            Some(first) => (first.window.width(), covered),
            None if entry.refused.is_empty() => return None,
            // Lost, such a batch leaves no window out.
            None => (self.width?, self.watermark.map(|now| Span { from: now, to: now })),
        };
        let history = self.numbered(entry.number, 1, span);
        let (number, refused) = (entry.number, entry.refused.clone());
        Some(Emission { number, watermark: self.watermark, width, history, closed, refused })
    }

    fn take(&mut self, (device, series, window): WindowKey) -> Option<Emitted> {
        self.before_change(device);
        let known = self.devices.get_mut(device)?;
        let open = known.series.get_mut(series)?.open.remove(window)?;
        known.open_windows = known.open_windows.saturating_sub(1);
        Some(Emitted {
            device,
            series,
            window,
            part: open.part,
            revision: open.revision,
            partial: open.partial,
        })
    }
}
