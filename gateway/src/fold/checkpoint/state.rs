//! The whole state in a checkpoint.

use std::sync::Arc;

use catchment_partial::{Timestamp, Width};
use catchment_proto::{History, Name, wire};
use hashbrown::HashMap;
use prost::Message;

use super::{
    device::{DeviceMessage, devices, window},
    error::CheckpointError,
};
use crate::fold::{
    device::Devices,
    due::{Due, WindowKey},
    entry::MetricEntry,
    forgotten_series::ForgottenSeries,
    metric_parts::MetricParts,
    snapshot::Snapshot,
    state::State,
};

#[derive(Clone, PartialEq, prost::Message)]
struct Checkpoint {
    #[prost(uint32, tag = "1")]
    width_ms: u32,
    #[prost(sint64, optional, tag = "2")]
    watermark_ns: Option<i64>,
    #[prost(uint64, tag = "3")]
    next_batch: u64,
    #[prost(message, repeated, tag = "4")]
    devices: Vec<DeviceMessage>,
    /// The due order, in checkpoints of earlier versions.
    #[prost(message, repeated, tag = "5")]
    on_time: Vec<WindowKeyMessage>,
    #[prost(message, repeated, tag = "6")]
    late: Vec<WindowKeyMessage>,
    /// The windows carry the due order. Tags 14 to 16 are those of `shard::checkpoint`.
    #[prost(bool, tag = "7")]
    in_windows: bool,
    /// Which times the batches before `next_batch` cover; absent in earlier versions, or when nothing is known.
    #[prost(message, optional, tag = "8")]
    history: Option<wire::BatchHistory>,
    /// Seconds that the gateway has run; 0 in earlier versions, where everything counts as last used at 0.
    #[prost(uint32, tag = "9")]
    running_s: u32,
    /// Number of places of forgotten series, and hashes of these series.
    #[prost(uint64, tag = "10")]
    places: u64,
    #[prost(fixed64, repeated, tag = "11")]
    places_of: Vec<u64>,
    /// Optional parts of new windows by metric; none in earlier versions.
    #[prost(message, repeated, tag = "12")]
    metrics: Vec<MetricEntry>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct WindowKeyMessage {
    #[prost(uint32, tag = "1")]
    device: u32,
    #[prost(uint32, tag = "2")]
    series: u32,
    #[prost(sint64, tag = "3")]
    window: i64,
    #[prost(uint32, tag = "4")]
    width_ms: u32,
    #[prost(uint64, tag = "5")]
    part: u64,
}

/// The due order of open windows: a window that ends at or before the watermark is late.
fn due_of(devices: &Devices, watermark: Option<Timestamp>) -> Due {
    let mut due = Due::default();
    for (index, device) in devices.from(0) {
        for series in device.series.iter() {
            for open in series.open.iter() {
                let place = (index, series.number, open.window);
                if watermark.is_some_and(|watermark| open.window.end() <= watermark) {
                    due.push_late(open.due_position, place);
                } else {
                    due.push_on_time(open.due_position, place);
                }
            }
        }
    }
    due
}

/// The due order as earlier versions wrote it.
fn due_of_lists(on_time: &[WindowKeyMessage], late: &[WindowKeyMessage]) -> Result<Due, CheckpointError> {
    let place = |place: &WindowKeyMessage| -> Result<WindowKey, CheckpointError> {
        Ok((place.device, place.series, window(place.window, place.width_ms)?))
    };
    let mut due = Due::default();
    for message in on_time {
        due.push_on_time(message.part, place(message)?);
    }
    for message in late {
        due.push_late(message.part, place(message)?);
    }
    Ok(due)
}

impl State {
    /// Begins a snapshot of the state as it is now; a snapshot under way is dropped.
    pub fn begin_snapshot(&mut self) {
        self.snapshot = Some(Box::new(Snapshot::begin(self.encode_head(), &self.devices)));
    }

    /// Whether a snapshot is under way.
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Drops the snapshot under way.
    pub fn end_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// Encodes about `most` open windows and series, at least one. Returns the bytes, in pieces, once all devices are
    /// encoded.
    pub fn step_snapshot(&mut self, most: usize) -> Option<Vec<Vec<u8>>> {
        let complete = self.snapshot.as_deref_mut()?.step(&self.devices, most);
        self.snapshot.take_if(|_| complete).map(|snapshot| snapshot.into_parts())
    }

    /// The state as bytes, in one go.
    pub fn encode(&self) -> Vec<u8> {
        let mut snapshot = Snapshot::begin(self.encode_head(), &self.devices);
        while !snapshot.step(&self.devices, usize::MAX) {}
        snapshot.into_parts().concat()
    }

    /// Everything before the devices.
    fn encode_head(&self) -> Vec<u8> {
        let checkpoint = Checkpoint {
            width_ms: self.width.map_or(0, Width::as_millis),
            watermark_ns: self.watermark.map(Timestamp::as_nanos),
            next_batch: self.next_batch,
            in_windows: true,
            history: self.history.wire(Width::MIN),
            running_s: self.running,
            places: self.forgotten_series.count(),
            places_of: self.forgotten_series.hashes().collect(),
            metrics: self.metric_parts.entries(),
            ..Checkpoint::default()
        };
        checkpoint.encode_to_vec()
    }

    /// The state that was encoded.
    ///
    /// # Errors
    /// When the bytes are not those of a state.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::decode(bytes).map_err(CheckpointError::new)?;
        let width = match checkpoint.width_ms {
            0 => None,
            ms => Some(Width::from_millis(ms).map_err(CheckpointError::new)?),
        };
        let mut devices = devices(checkpoint.devices)?;
        let metric_parts = MetricParts::of_entries(&checkpoint.metrics);
        devices.resolve_parts(&metric_parts);
        // Of two devices with one name the later is in use.
        let names: HashMap<Name, u32> =
            devices.from(0).map(|(index, device)| (device.name.clone(), index)).collect();
        let watermark = checkpoint.watermark_ns.map(Timestamp::from_nanos);
        let due = match checkpoint.in_windows {
            true => due_of(&devices, watermark),
            false => due_of_lists(&checkpoint.on_time, &checkpoint.late)?,
        };
        let history = History::read(checkpoint.history.as_ref()).map_err(CheckpointError::new)?;
        let series_count = devices.from(0).map(|(_, device)| device.series.len()).sum();
        Ok(Self {
            width,
            metric_parts,
            watermark,
            next_batch: checkpoint.next_batch,
            devices,
            names,
            due,
            series_count,
            running: checkpoint.running_s,
            forgotten_series: ForgottenSeries::new(checkpoint.places, checkpoint.places_of),
            history: Arc::new(history),
            damaged_range: None,
            damaged: false,
            snapshot: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{ConfigureEntry, DeviceEntry, Entry, ForgetEntry, IntakeEntry, SeriesEntry};

    fn lists(state: &State) -> (Vec<WindowKeyMessage>, Vec<WindowKeyMessage>) {
        let message = |(part, (device, series, window)): (u64, WindowKey)| WindowKeyMessage {
            device,
            series,
            window: window.index(),
            width_ms: window.width().as_millis(),
            part,
        };
        (state.due.on_time().map(message).collect(), state.due.late().map(message).collect())
    }

    #[test]
    fn a_checkpoint_of_a_version_before_is_read() {
        let mut state = State::default();
        let introduced = [
            Entry::Configure(ConfigureEntry { width_ms: 10, ..ConfigureEntry::default() }),
            Entry::Device(DeviceEntry { index: 0, name: "a".to_owned() }),
            Entry::Series(SeriesEntry { metric: "m".to_owned(), ..SeriesEntry::default() }),
        ];
        for (entry, position) in introduced.iter().zip(1..) {
            state.apply(position, entry).unwrap();
        }
        state.watermark = Some(Timestamp::from_nanos(50_000_000));
        for (time, position) in [(5_000_000, 10), (105_000_000, 20), (25_000_000, 30)] {
            let (series, time, value) = (vec![0], vec![time], vec![1.0]);
            let intake = IntakeEntry { series, time, value, ..IntakeEntry::default() };
            state.apply(position, &Entry::Intake(intake)).unwrap();
        }
        assert_eq!(state.open_count(), (3, 2));
        let new = state.encode();
        let (on_time, late) = lists(&state);
        let mut checkpoint = Checkpoint::decode(&*new).unwrap();
        (checkpoint.in_windows, checkpoint.on_time, checkpoint.late) = (false, on_time, late);
        let old = State::decode(&checkpoint.encode_to_vec()).unwrap();
        assert_eq!(old.due, state.due);
        assert_eq!(State::decode(&new).unwrap().due, state.due);
        assert_eq!(old.encode(), new);
    }

    #[test]
    fn what_is_encoded_in_pieces_is_the_message() {
        let mut state = State::default();
        let label = |name: &str, value: &str| wire::Label { name: name.to_owned(), value: value.to_owned() };
        let series = |index: u32| {
            let labels = vec![label("l", "v"), label("n", &index.to_string())];
            Entry::Series(SeriesEntry { device: 1, index, metric: "m".to_owned(), labels })
        };
        let intake = |epoch: &str, index: u32| IntakeEntry {
            device: 1,
            epoch: epoch.to_owned(),
            seq: u64::from(index),
            series: vec![index; 3],
            time: vec![1_000_000_000, 5_000_000_000, 1],
            value: vec![0.5, -3.0, 4.0],
            client: format!("c{index}"),
            received: (0..40 * index).collect(),
            ..IntakeEntry::default()
        };
        let mut entries =
            vec![Entry::Configure(ConfigureEntry { width_ms: 10, ..ConfigureEntry::default() })];
        let device = |index| Entry::Device(DeviceEntry { index, name: format!("d{index}") });
        entries.extend((0..3).map(device).chain((0..6).map(series)));
        entries.push(Entry::Forget(ForgetEntry { running_s: 70, ..ForgetEntry::default() }));
        entries
            .extend([("", 1), ("e", 2), ("f", 4)].map(|(epoch, index)| Entry::Intake(intake(epoch, index))));
        let (series_device, series) = (vec![1, 1, 1], vec![0, 3, 5]);
        let gone =
            ForgetEntry { running_s: 80, devices: vec![0], series_device, series, ..ForgetEntry::default() };
        entries.push(Entry::Forget(gone));
        for (entry, position) in entries.iter().zip(1..) {
            state.apply(position, entry).unwrap();
        }
        let bytes = state.encode();
        let devices = Checkpoint::decode(&*bytes).unwrap().devices;
        assert_eq!(devices.len(), 3, "one is skipped");
        let message = Checkpoint { devices, ..Checkpoint::default() }.encode_to_vec();
        assert_eq!(bytes, [state.encode_head(), message].concat());
        let decoded = State::decode(&bytes).unwrap();
        assert_eq!(decoded.due, state.due);
        assert_eq!(decoded.client(1, "c4"), state.client(1, "c4"));
    }
}
