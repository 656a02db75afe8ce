//! The state as bytes, so that a journal's beginning can be released.
//!
//! A protobuf message without a .proto file, like the entries. The due order is part of the state (it decides which
//! windows share a batch): each window says at which position it fell in line, and the watermark says which are late.
//! Versions before wrote the order down as a whole.

use std::sync::Arc;

use catchment_partial::{Partial, Timestamp, Width, Window};
use catchment_proto::{
    History, Labels, MetricName, Name,
    wire::{self, Label},
};
use hashbrown::HashMap;
use prost::Message;

use super::{
    client::Client,
    due::{Due, Place},
    state::{Device, Epoch, Open, State},
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
    /// The due order, of a version before.
    #[prost(message, repeated, tag = "5")]
    on_time: Vec<PlaceMessage>,
    #[prost(message, repeated, tag = "6")]
    late: Vec<PlaceMessage>,
    /// The due order stands with the windows. Tags 14 and 15 say whose the checkpoint is: `shard::checkpoint::Owner`.
    #[prost(bool, tag = "7")]
    in_windows: bool,
    /// Which times the batches before `next_batch` cover; absent in a version before, or when nothing is known.
    #[prost(message, optional, tag = "8")]
    history: Option<wire::BatchHistory>,
}

/// Tag of a device in the checkpoint.
pub(super) const DEVICES_TAG: u32 = 4;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeviceMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    epochs: Vec<EpochMessage>,
    #[prost(message, repeated, tag = "3")]
    series: Vec<SeriesMessage>,
    #[prost(uint64, tag = "4")]
    unnumbered: u64,
    #[prost(message, repeated, tag = "5")]
    clients: Vec<ClientMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ClientMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint32, repeated, tag = "2")]
    open: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EpochMessage {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint64, tag = "2")]
    highest: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SeriesMessage {
    #[prost(string, tag = "1")]
    metric: String,
    #[prost(message, repeated, tag = "2")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "3")]
    open: Vec<OpenMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenMessage {
    #[prost(sint64, tag = "1")]
    window: i64,
    #[prost(uint32, tag = "2")]
    width_ms: u32,
    #[prost(uint64, tag = "3")]
    part: u64,
    #[prost(uint64, tag = "4")]
    revision: u64,
    #[prost(bytes = "vec", tag = "5")]
    partial: Vec<u8>,
    /// How far before the part it fell in line: not 0 only after damage to the journal.
    #[prost(uint64, tag = "6")]
    in_line_before: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct PlaceMessage {
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

/// A checkpoint that cannot be read: its bytes are whole but not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint cannot be read: {0}")]
pub struct CheckpointError(String);

impl CheckpointError {
    fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }

    /// It ends before the state begins.
    pub(crate) fn short() -> Self {
        Self("it is too short".into())
    }
}

fn window(index: i64, width_ms: u32) -> Result<Window, CheckpointError> {
    let width = Width::from_millis(width_ms).map_err(CheckpointError::new)?;
    Window::from_index(index, width).ok_or_else(|| CheckpointError::new("a window out of range"))
}

pub(super) fn device_message(device: &Device) -> DeviceMessage {
    let open = |open: &Open| {
        let mut partial = Vec::new();
        open.partial.encode(open.window.start(), &mut partial);
        OpenMessage {
            window: open.window.index(),
            width_ms: open.window.width().as_millis(),
            part: open.part,
            revision: open.revision,
            partial,
            in_line_before: open.part.saturating_sub(open.in_line),
        }
    };
    let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    DeviceMessage {
        name: device.name.as_str().to_owned(),
        unnumbered: device.unnumbered,
        clients: device
            .clients
            .iter()
            .map(|client| ClientMessage {
                id: client.id.to_string(),
                open: client.open.iter().copied().map(u32::from).collect(),
            })
            .collect(),
        epochs: device
            .epochs
            .iter()
            .map(|e| EpochMessage { text: e.text.to_string(), highest: e.highest })
            .collect(),
        series: device
            .series
            .iter()
            .map(|series| SeriesMessage {
                metric: series.metric.as_str().to_owned(),
                labels: series.labels.iter().map(label).collect(),
                open: series.open.iter().map(open).collect(),
            })
            .collect(),
    }
}

fn device(message: DeviceMessage) -> Result<Device, CheckpointError> {
    let mut device = Device::new(Name::new(&message.name).map_err(CheckpointError::new)?);
    device.unnumbered = message.unnumbered;
    device.clients = message
        .clients
        .into_iter()
        .map(|client| Client {
            id: client.id.into(),
            open: client.open.iter().filter_map(|id| u16::try_from(*id).ok()).collect(),
        })
        .collect();
    device.epochs =
        message.epochs.into_iter().map(|e| Epoch { text: e.text.into(), highest: e.highest }).collect();
    for series in message.series {
        let metric = MetricName::new(&series.metric).map_err(CheckpointError::new)?;
        let pairs = series.labels.iter().map(|l| (l.name.as_str(), l.value.as_str()));
        device.add_series(metric, Labels::new(pairs).map_err(CheckpointError::new)?);
        let Some(added) = device.series.last_mut() else { continue };
        for open in series.open {
            let window = window(open.window, open.width_ms)?;
            let partial = Partial::decode(&open.partial, window.start()).map_err(CheckpointError::new)?;
            let (part, revision) = (open.part, open.revision);
            let in_line = part.saturating_sub(open.in_line_before);
            added.open.get_or_open(window, || Open { window, part, revision, in_line, partial });
            device.open_windows += 1;
        }
    }
    Ok(device)
}

/// The due order of what is open: a window that ends at or before the watermark is late.
fn due_of(devices: &[Device], watermark: Option<Timestamp>) -> Due {
    let mut due = Due::default();
    for (device, index) in devices.iter().zip(0_u32..) {
        for (series, number) in device.series.iter().zip(0_u32..) {
            for open in series.open.iter() {
                let place = (index, number, open.window);
                if watermark.is_some_and(|watermark| open.window.end() <= watermark) {
                    due.push_late(open.in_line, place);
                } else {
                    due.push_on_time(open.in_line, place);
                }
            }
        }
    }
    due
}

/// The due order as a version before wrote it.
fn due_of_lists(on_time: &[PlaceMessage], late: &[PlaceMessage]) -> Result<Due, CheckpointError> {
    let place = |place: &PlaceMessage| -> Result<Place, CheckpointError> {
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
    /// What stands before the devices.
    pub(super) fn encode_head(&self) -> Vec<u8> {
        let checkpoint = Checkpoint {
            width_ms: self.width.map_or(0, Width::as_millis),
            watermark_ns: self.watermark.map(Timestamp::as_nanos),
            next_batch: self.next_batch,
            in_windows: true,
            history: self.history.wire(Width::MIN),
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
        let devices: Vec<Device> = checkpoint.devices.into_iter().map(device).collect::<Result<_, _>>()?;
        let names: HashMap<Name, u32> =
            devices.iter().zip(0_u32..).map(|(device, index)| (device.name.clone(), index)).collect();
        let watermark = checkpoint.watermark_ns.map(Timestamp::from_nanos);
        let due = match checkpoint.in_windows {
            true => due_of(&devices, watermark),
            false => due_of_lists(&checkpoint.on_time, &checkpoint.late)?,
        };
        let history = History::read(checkpoint.history.as_ref()).map_err(CheckpointError::new)?;
        let series_count = devices.iter().map(|device| device.series.len()).sum();
        Ok(Self {
            width,
            watermark,
            next_batch: checkpoint.next_batch,
            devices,
            names,
            due,
            series_count,
            history: Arc::new(history),
            suspect: None,
            damaged: false,
            snapshot: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{ConfigureEntry, DeviceEntry, Entry, IntakeEntry, SeriesEntry};

    fn lists(state: &State) -> (Vec<PlaceMessage>, Vec<PlaceMessage>) {
        let message = |(part, (device, series, window)): (u64, Place)| PlaceMessage {
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
            Entry::Configure(ConfigureEntry { width_ms: 10 }),
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
}
