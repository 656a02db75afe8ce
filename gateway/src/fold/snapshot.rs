//! The devices of a state as bytes, encoded in steps while the state changes.
//!
//! A worker's thread must not walk the whole state at once, so each step encodes some devices. A device that
//! is about to change before its turn is encoded first. So the bytes are those of the position at which the snapshot
//! began, as if it had been taken in one go. Beyond the bytes themselves this costs one comparison a change.

use std::collections::BTreeMap;

use super::{
    checkpoint::{DEVICES_TAG, DeviceMessage, device_message},
    device::{Device, Devices},
};

/// A snapshot under way.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    bytes: Bytes,
    /// Devices before this one are in `bytes`.
    next: u32,
    /// Number of the next new device when the snapshot began.
    end: u32,
    /// Devices that changed or were forgotten before their turn.
    early: BTreeMap<u32, Vec<u8>>,
}

/// What is encoded: the head, then devices in order. A device's place in that order is its number, so unused numbers
/// are encoded too.
#[derive(Clone, Debug)]
struct Bytes {
    bytes: Vec<u8>,
    /// Number of the next device.
    next: u32,
}

impl Bytes {
    fn put(&mut self, message: &DeviceMessage) {
        prost::encoding::message::encode(DEVICES_TAG, message, &mut self.bytes);
    }

    /// The next device has this number.
    fn skip_to(&mut self, number: u32) {
        if self.next < number {
            self.put(&DeviceMessage::skipped(number - self.next));
            self.next = number;
        }
    }

    fn add(&mut self, number: u32, device: &[u8]) {
        self.skip_to(number);
        self.bytes.extend_from_slice(device);
        self.next = number.saturating_add(1);
    }
}

fn encoded(device: &Device) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::message::encode(DEVICES_TAG, &device_message(device), &mut bytes);
    bytes
}

/// Encodes all devices after the head, in one go.
pub(super) fn encode_all(head: Vec<u8>, devices: &Devices) -> Vec<u8> {
    let mut bytes = Bytes { bytes: head, next: 0 };
    for (number, device) in devices.from(0) {
        bytes.add(number, &encoded(device));
    }
    bytes.skip_to(devices.next());
    bytes.bytes
}

impl Snapshot {
    /// Begins a snapshot of the devices as they are now, which follow the head.
    pub(super) fn begin(head: Vec<u8>, devices: &Devices) -> Self {
        let bytes = Bytes { bytes: head, next: 0 };
        Self { bytes, next: 0, end: devices.next(), early: BTreeMap::new() }
    }

    /// Encodes devices with about `most` open windows and series, at least one device. Returns whether all are encoded.
    pub(super) fn step(&mut self, devices: &Devices, most: usize) -> bool {
        let mut done = 0;
        while done < most {
            let known = devices.from(self.next).next().filter(|(number, _)| *number < self.end);
            let early = self.early.first_key_value().map(|(number, _)| *number);
            let number = match (known, early) {
                (Some((known, device)), early) if early.is_none_or(|early| known < early) => {
                    done += 1 + device.open_windows + device.series.len();
                    self.bytes.add(known, &encoded(device));
                    known
                }
                (_, Some(_)) => {
                    let Some((early, bytes)) = self.early.pop_first() else { break };
                    done += 1;
                    self.bytes.add(early, &bytes);
                    early
                }
                _ => {
                    self.bytes.skip_to(self.end);
                    return true;
                }
            };
            self.next = number.saturating_add(1);
        }
        false
    }

    /// A device is about to change.
    pub(super) fn before_change(&mut self, number: u32, devices: &Devices) {
        if (self.next..self.end).contains(&number)
            && let Some(device) = devices.get(number)
        {
            self.early.entry(number).or_insert_with(|| encoded(device));
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes.bytes
    }
}
