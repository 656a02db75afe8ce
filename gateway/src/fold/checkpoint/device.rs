//! Devices in a checkpoint.

use catchment_partial::{Partial, Parts, Width, Window};
use catchment_proto::{Labels, MetricName, Name, wire::Label};

use super::error::CheckpointError;
use crate::fold::{
    client::{Client, Clients},
    device::{Device, DeviceEpoch, Devices},
    metric_parts::parts_of_bits,
    windows::Open,
};

/// Tag of a device in the checkpoint.
pub(in crate::fold) const DEVICES_TAG: u32 = 4;

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::fold) struct DeviceMessage {
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
    /// When it was last used.
    #[prost(uint32, tag = "6")]
    used_s: u32,
    /// Instead of a device: how many numbers are not in use. A name is never empty, so an earlier version refuses the
    /// checkpoint instead of giving devices the wrong numbers.
    #[prost(uint32, tag = "7")]
    skipped: u32,
}

impl DeviceMessage {
    pub(in crate::fold) fn skipped(skipped: u32) -> Self {
        Self { skipped, ..Self::default() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ClientMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint32, repeated, tag = "2")]
    open: Vec<u32>,
    #[prost(uint32, tag = "3")]
    used_s: u32,
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
    #[prost(uint32, tag = "4")]
    used_s: u32,
    /// Instead of a series: how many numbers are not in use. As with devices.
    #[prost(uint32, tag = "5")]
    skipped: u32,
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
    /// Part less due position: not 0 only after damage to the journal.
    #[prost(uint64, tag = "6")]
    due_position_before: u64,
    /// Optional parts that it was opened with, as bits; a partial of few readings does not show them.
    #[prost(uint32, tag = "7")]
    parts: u32,
}

pub(super) fn window(index: i64, width_ms: u32) -> Result<Window, CheckpointError> {
    let width = Width::from_millis(width_ms).map_err(CheckpointError::new)?;
    Window::from_index(index, width).ok_or_else(|| CheckpointError::new("a window out of range"))
}

fn open_message(open: &Open) -> OpenMessage {
    let mut partial = Vec::new();
    open.partial.encode(open.window.start(), &mut partial);
    OpenMessage {
        window: open.window.index(),
        width_ms: open.window.width().as_millis(),
        part: open.part,
        revision: open.revision,
        partial,
        due_position_before: open.part.saturating_sub(open.due_position),
        parts: open.partial.parts().bits().into(),
    }
}

/// The series of a device, with the skipped numbers.
fn series_messages(device: &Device) -> Vec<SeriesMessage> {
    let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    let (mut messages, mut next) = (Vec::with_capacity(device.series.len()), 0);
    let skip = |next: u32, number: u32| {
        let skipped = number.checked_sub(next).filter(|skipped| *skipped > 0);
        skipped.map(|skipped| SeriesMessage { skipped, ..SeriesMessage::default() })
    };
    for series in device.series.iter() {
        messages.extend(skip(next, series.number));
        next = series.number.saturating_add(1);
        messages.push(SeriesMessage {
            metric: series.metric.as_str().to_owned(),
            labels: series.labels.iter().map(label).collect(),
            open: series.open.iter().map(open_message).collect(),
            used_s: series.used,
            skipped: 0,
        });
    }
    messages.extend(skip(next, device.series.next()));
    messages
}

pub(in crate::fold) fn device_message(device: &Device) -> DeviceMessage {
    DeviceMessage {
        name: device.name.as_str().to_owned(),
        unnumbered: device.unnumbered,
        clients: device
            .clients
            .iter()
            .map(|client| ClientMessage {
                id: client.id.to_string(),
                open: client.open.iter().copied().map(u32::from).collect(),
                used_s: client.used,
            })
            .collect(),
        epochs: device
            .epochs
            .iter()
            .map(|e| EpochMessage { text: e.text.to_string(), highest: e.highest })
            .collect(),
        series: series_messages(device),
        used_s: device.used,
        skipped: 0,
    }
}

fn device(message: DeviceMessage) -> Result<Device, CheckpointError> {
    let mut device = Device::new(Name::new(&message.name).map_err(CheckpointError::new)?, message.used_s);
    device.unnumbered = message.unnumbered;
    let client = |client: ClientMessage| Client {
        id: client.id.into(),
        used: client.used_s,
        open: client.open.iter().filter_map(|id| u16::try_from(*id).ok()).collect(),
    };
    device.clients = Clients::new(message.clients.into_iter().map(client).collect());
    device.epochs =
        message.epochs.into_iter().map(|e| DeviceEpoch { text: e.text.into(), highest: e.highest }).collect();
    for series in message.series {
        let number = device.series.next();
        if series.skipped > 0 {
            device.series.skip_to(number.saturating_add(series.skipped));
            continue;
        }
        let metric = MetricName::new(&series.metric).map_err(CheckpointError::new)?;
        let pairs = series.labels.iter().map(|l| (l.name.as_str(), l.value.as_str()));
        let labels = Labels::new(pairs).map_err(CheckpointError::new)?;
        // The state knows the parts of its new windows.
        device.add_series(number, metric, labels, (series.used_s, Parts::NONE));
        let Some(added) = device.series.get_mut(number) else { continue };
        for open in series.open {
            let window = window(open.window, open.width_ms)?;
            let partial = Partial::decode(&open.partial, window.start()).map_err(CheckpointError::new)?;
            let partial = partial.asking_for(parts_of_bits(open.parts));
            let (part, revision) = (open.part, open.revision);
            let due_position = part.saturating_sub(open.due_position_before);
            added.open.get_or_open(window, || Open { window, part, revision, due_position, partial });
            device.open_windows += 1;
        }
    }
    Ok(device)
}

pub(super) fn devices(messages: Vec<DeviceMessage>) -> Result<Devices, CheckpointError> {
    let mut devices = Devices::default();
    for message in messages {
        let number = devices.next();
        match message.skipped {
            0 => devices.insert(number, device(message)?),
            skipped => devices.skip_to(number.saturating_add(skipped)),
        }
    }
    Ok(devices)
}
