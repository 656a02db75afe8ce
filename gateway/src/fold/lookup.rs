//! What the shell asks of the state before it decides, and what it tells the metrics. Changes nothing.

use catchment_partial::{Timestamp, Width};
use catchment_proto::{Labels, MetricName, Name};

use super::{
    entry::{CloseEntry, IntakeEntry},
    state::{Emitted, State},
};

impl State {
    /// Width of new windows; `None` before the first configuration.
    pub fn width(&self) -> Option<Width> {
        self.width
    }

    /// Windows that end at or before this are closed.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Number that the next batch gets.
    pub fn next_batch(&self) -> u64 {
        self.next_batch
    }

    /// Index of a device.
    pub fn device(&self, name: &Name) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Number of devices.
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// Number of series of all devices.
    pub fn series_count(&self) -> usize {
        self.series_count
    }

    /// Number of series of a device.
    pub fn series_of(&self, device: u32) -> usize {
        self.devices.get(device as usize).map_or(0, |d| d.series.len())
    }

    /// Index of a series in its device.
    pub fn series(&self, device: u32, metric: &MetricName, labels: &Labels) -> Option<u32> {
        self.devices.get(device as usize)?.index.get(labels)?.get(metric).copied()
    }

    /// Name of a device, metric and labels of its series.
    pub fn key(&self, device: u32, series: u32) -> Option<(&Name, &MetricName, &Labels)> {
        let device = self.devices.get(device as usize)?;
        let series = device.series.get(series as usize)?;
        Some((&device.name, &series.metric, &series.labels))
    }

    /// Highest sequence number taken of a device's epoch; 0 for one that is unknown.
    pub fn highest(&self, device: u32, epoch: &str) -> u64 {
        let epochs = self.devices.get(device as usize).map(|d| d.epochs.as_slice()).unwrap_or_default();
        epochs.iter().find(|e| &*e.text == epoch).map_or(0, |e| e.highest)
    }

    /// Sequence numbers that were taken before this entry, and are not in the state: their entries are lost.
    pub fn gap(&self, intake: &IntakeEntry) -> Option<(u64, u64)> {
        let highest = self.highest(intake.device, &intake.epoch);
        (!intake.epoch.is_empty() && intake.previous > highest).then_some((highest + 1, intake.previous))
    }

    /// Name of a device.
    pub fn device_name(&self, device: u32) -> Option<&Name> {
        self.devices.get(device as usize).map(|device| &device.name)
    }

    /// Open windows of all series, and those among them that are for late readings.
    pub fn open_count(&self) -> (usize, usize) {
        (self.due.len(), self.due.late_len())
    }

    /// End of the on-time window that falls due first.
    pub fn first_end(&self) -> Option<Timestamp> {
        self.due.first_end()
    }

    /// Position at which the late window that falls due first was opened.
    pub fn first_late(&self) -> Option<u64> {
        self.due.first_late()
    }

    /// State of the open windows that changed at or after a position.
    pub fn open_since(&self, position: u64) -> Vec<Emitted> {
        let places = self.due.on_time().chain(self.due.late().map(|(_, place)| place));
        let changed = places.filter_map(|(device, index, window)| {
            let series = self.devices.get(device as usize)?.series.get(index as usize)?;
            let open = series.open.iter().find(|open| open.window == window && open.revision >= position)?;
            Some(Emitted {
                device,
                series: index,
                window,
                part: open.part,
                revision: open.revision,
                partial: open.partial.clone(),
            })
        });
        changed.collect()
    }

    /// How many windows a close would take until their memory and the names of their series exceed a bound: at least one, at most `most`.
    pub fn measure(&self, entry: &CloseEntry, memory_max: usize, most: usize) -> u32 {
        let late_before = if entry.all { u64::MAX } else { entry.late_before };
        let target = Timestamp::from_nanos(if entry.all { i64::MAX } else { entry.watermark_ns });
        let on_time = self.due.on_time().take_while(|place| place.2.end() <= target);
        let late = self.due.late().take_while(|(part, _)| *part < late_before).map(|(_, place)| place);
        let (mut count, mut memory) = (0_u32, 0_usize);
        for (device, series, window) in on_time.chain(late).take(most) {
            let series = self.devices.get(device as usize).and_then(|d| d.series.get(series as usize));
            let Some(series) = series else { continue };
            let open = series.open.iter().find(|open| open.window == window);
            let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
            let name = Name::LENGTH_MAX + series.metric.as_str().len() + labels;
            memory = memory.saturating_add(name + open.map_or(0, |open| open.partial.memory()));
            if count > 0 && memory > memory_max {
                break;
            }
            count += 1;
        }
        count
    }
}
