//! The state as bytes, so that a journal's beginning can be released.
//!
//! A protobuf message without a .proto file, like the entries. The due order is part of the state (it decides
//! which windows share a batch), so it is written down and not derived.

use catchment_partial::{Partial, Timestamp, Width, Window};
use catchment_proto::{Labels, MetricName, Name, wire::Label};
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
    #[prost(message, repeated, tag = "5")]
    on_time: Vec<PlaceMessage>,
    #[prost(message, repeated, tag = "6")]
    late: Vec<PlaceMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeviceMessage {
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

fn place_message((device, series, window): Place, part: u64) -> PlaceMessage {
    PlaceMessage { device, series, window: window.index(), width_ms: window.width().as_millis(), part }
}

fn window(index: i64, width_ms: u32) -> Result<Window, CheckpointError> {
    let width = Width::from_millis(width_ms).map_err(CheckpointError::new)?;
    Window::from_index(index, width).ok_or_else(|| CheckpointError::new("a window out of range"))
}

fn device_message(device: &Device) -> DeviceMessage {
    let open = |open: &Open| {
        let mut partial = Vec::new();
        open.partial.encode(open.window.start(), &mut partial);
        OpenMessage {
            window: open.window.index(),
            width_ms: open.window.width().as_millis(),
            part: open.part,
            revision: open.revision,
            partial,
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
            added.open.get_or_open(window, || Open { window, part, revision, partial });
        }
    }
    Ok(device)
}

impl State {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let checkpoint = Checkpoint {
            width_ms: self.width.map_or(0, Width::as_millis),
            watermark_ns: self.watermark.map(Timestamp::as_nanos),
            next_batch: self.next_batch,
            devices: self.devices.iter().map(device_message).collect(),
            on_time: self.due.on_time().map(|(part, place)| place_message(place, part)).collect(),
            late: self.due.late().map(|(part, place)| place_message(place, part)).collect(),
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
        let mut due = Due::default();
        for place in checkpoint.on_time {
            let window = window(place.window, place.width_ms)?;
            due.push_on_time(place.part, (place.device, place.series, window));
        }
        for place in checkpoint.late {
            due.push_late(place.part, (place.device, place.series, window(place.window, place.width_ms)?));
        }
        let series_count = devices.iter().map(|device| device.series.len()).sum();
        Ok(Self {
            width,
            watermark: checkpoint.watermark_ns.map(Timestamp::from_nanos),
            next_batch: checkpoint.next_batch,
            devices,
            names,
            due,
            series_count,
            suspect: None,
        })
    }
}
