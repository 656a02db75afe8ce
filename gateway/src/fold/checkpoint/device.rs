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
/// Tags of a series and a client in their device.
pub(super) const SERIES_TAG: u32 = 3;
pub(super) const CLIENTS_TAG: u32 = 5;
/// Tag of an open window in its series.
pub(super) const OPEN_TAG: u32 = 3;

/// A device. Its fields are encoded one after the other (`device_encoder`).
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::fold) struct DeviceMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) epochs: Vec<EpochMessage>,
    #[prost(message, repeated, tag = "3")]
    pub(super) series: Vec<SeriesMessage>,
    #[prost(uint64, tag = "4")]
    pub(super) unnumbered: u64,
    #[prost(message, repeated, tag = "5")]
    pub(super) clients: Vec<ClientMessage>,
    /// When it was last used.
    #[prost(uint32, tag = "6")]
    pub(super) used_s: u32,
    /// Instead of a device: how many numbers are not in use. A name is never empty, so an earlier version refuses the
    /// checkpoint instead of giving devices the wrong numbers.
    #[prost(uint32, tag = "7")]
    pub(super) skipped: u32,
}

impl DeviceMessage {
    pub(in crate::fold) fn skipped(skipped: u32) -> Self {
        Self { skipped, ..Self::default() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClientMessage {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) open: Vec<u32>,
    #[prost(uint32, tag = "3")]
    pub(super) used_s: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EpochMessage {
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(uint64, tag = "2")]
    pub(super) highest: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SeriesMessage {
    #[prost(string, tag = "1")]
    pub(super) metric: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "3")]
    pub(super) open: Vec<OpenMessage>,
    #[prost(uint32, tag = "4")]
    pub(super) used_s: u32,
    /// Instead of a series: how many numbers are not in use. As with devices.
    #[prost(uint32, tag = "5")]
    pub(super) skipped: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OpenMessage {
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

pub(super) fn open_message(open: &Open) -> OpenMessage {
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
