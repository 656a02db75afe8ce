//! Queries on the state, for decisions and metrics. Changes nothing.

use std::collections::BTreeSet;

use catchment_partial::{Timestamp, Width, Window};
use catchment_proto::{Labels, MetricName, Name};

use super::{
    due::Rank,
    entry::{CloseEntry, ConfigureEntry, LastClosed},
    snapshot::EarlyWork,
    state::{Emitted, State},
};

/// The place that a walk over the open windows has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenWindowCursor(Rank);

impl State {
    /// Width of new windows; `None` before the first configuration.
    pub fn width(&self) -> Option<Width> {
        self.width
    }

    /// How new windows are made; `None` before the first configuration.
    pub fn configuration(&self) -> Option<ConfigureEntry> {
        self.width.map(|width| ConfigureEntry::new(width, &self.metric_parts))
    }

    /// Windows that end at or before this are closed.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Index of a device: its number.
    pub fn device(&self, name: &Name) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Number of devices.
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// Index of the next new device; no device ever had it.
    pub fn next_device(&self) -> u32 {
        self.devices.next()
    }

    /// Index of the next new series of a device; no series of that device ever had it.
    pub fn next_series(&self, device: u32) -> u32 {
        self.devices.get(device).map_or(0, |device| device.series.next())
    }

    /// Indexes of the devices, in order.
    pub fn devices(&self) -> impl Iterator<Item = u32> {
        self.devices.from(0).map(|(index, _)| index)
    }

    /// Indexes of the series of a device, in order.
    pub fn series_numbers(&self, device: u32) -> impl Iterator<Item = u32> {
        let series = self.devices.get(device).map(|device| device.series.iter());
        series.into_iter().flatten().map(|series| series.number)
    }

    /// Number of series of all devices.
    pub fn series_count(&self) -> usize {
        self.series_count
    }

    /// Number of series of a device.
    pub fn series_of(&self, device: u32) -> usize {
        self.devices.get(device).map_or(0, |d| d.series.len())
    }

    /// Index of a series in its device.
    pub fn series(&self, device: u32, metric: &MetricName, labels: &Labels) -> Option<u32> {
        self.devices.get(device)?.index.get(labels)?.get(metric).copied()
    }

    /// Name of a device, metric and labels of its series.
    pub fn key(&self, device: u32, series: u32) -> Option<(&Name, &MetricName, &Labels)> {
        let device = self.devices.get(device)?;
        let series = device.series.get(series)?;
        Some((&device.name, &series.metric, &series.labels))
    }

    /// Highest accepted sequence number of a device's epoch; 0 if it is unknown.
    pub fn highest(&self, device: u32, epoch: &str) -> u64 {
        let epochs = self.devices.get(device).map(|d| d.epochs.as_slice()).unwrap_or_default();
        epochs.iter().find(|e| &*e.text == epoch).map_or(0, |e| e.highest)
    }

    /// Name of a device.
    pub fn device_name(&self, device: u32) -> Option<&Name> {
        self.devices.get(device).map(|device| &device.name)
    }

    /// Packet identifiers that a device's client has not released; `None` when nothing is kept of the client.
    pub fn client(&self, device: u32, id: &str) -> Option<&BTreeSet<u16>> {
        self.devices.get(device)?.clients.get(id).map(|client| &client.open)
    }

    /// Number of open windows of all series, and how many of them are for late readings.
    pub fn open_count(&self) -> (usize, usize) {
        (self.due.len(), self.due.late_len())
    }

    /// Open windows of a device.
    pub fn open_of(&self, device: u32) -> usize {
        self.devices.get(device).map_or(0, |device| device.open_windows)
    }

    /// End of the on-time window that falls due first.
    pub fn first_end(&self) -> Option<Timestamp> {
        self.due.first_end()
    }

    /// Whether an on-time window was opened before a position.
    pub fn is_stale(&self, before: u64) -> bool {
        self.due.is_stale(before)
    }

    /// Position at which the late window that falls due first was opened.
    pub fn first_late(&self) -> Option<u64> {
        self.due.first_late()
    }

    /// Looks at the next `most` open windows after a place. Returns those that changed at or after a position, and
    /// where to continue; `None` after the last.
    pub fn open_since(
        &self,
        position: u64,
        behind: Option<OpenWindowCursor>,
        most: usize,
    ) -> (Vec<Emitted>, Option<OpenWindowCursor>) {
        let mut ranks = self.due.after(behind.map(|OpenWindowCursor(rank)| rank));
        let mut changed = Vec::new();
        let mut last = None;
        for rank in ranks.by_ref().take(most) {
            last = Some(OpenWindowCursor(rank));
            changed.extend(self.changed_since(position, rank));
        }
        let more = ranks.next().is_some();
        (changed, last.filter(|_| more))
    }

    fn changed_since(&self, position: u64, (_, _, _, (device, index, window)): Rank) -> Option<Emitted> {
        let series = self.devices.get(device)?.series.get(index)?;
        let open = series.open.get(window).filter(|open| open.revision >= position)?;
        let (part, revision, partial) = (open.part, open.revision, open.partial.clone());
        Some(Emitted { device, series: index, window, part, revision, partial })
    }

    /// Limits a close to what fits a batch: at most `most` windows of one width. From the second window on, partials
    /// and names of series take at most `memory_max`, and the snapshot under way does not have to encode too much before
    /// the close: rather several closes than one that waits.
    pub fn limit(&self, entry: &mut CloseEntry, memory_max: usize, most: u32) {
        let most = most.min(entry.take).max(1);
        let (mut count, mut memory, mut last) = (0_u32, 0_usize, None);
        let taken = self.due.taken_by(entry);
        let (mut width, mut early) = (None, EarlyWork::default());
        for (rank, (device, series, window)) in taken {
            memory = memory.saturating_add(self.memory(device, series, window));
            if let Some(snapshot) = self.snapshot.as_deref() {
                early.add(device, snapshot, &self.devices);
            }
            let full = count >= most || (count > 0 && (memory > memory_max || early.is_too_much()));
            if full || *width.get_or_insert(window.width()) != window.width() {
                break;
            }
            last = Some(LastClosed::new(rank));
            count += 1;
        }
        (entry.take, entry.last) = (count, last);
    }

    /// Memory of an open window and the names of its series.
    fn memory(&self, device: u32, series: u32, window: Window) -> usize {
        let series = self.devices.get(device).and_then(|d| d.series.get(series));
        let Some(series) = series else { return 0 };
        let open = series.open.get(window);
        let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let name = Name::LENGTH_MAX + series.metric.as_str().len() + labels;
        name + open.map_or(0, |open| open.partial.memory())
    }
}
