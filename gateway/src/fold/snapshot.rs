//! The devices of a state as bytes, encoded in steps while the state changes.
//!
//! A worker's thread must not walk the whole state at once, nor all of one device, so each step encodes some windows and
//! series. A device that is about to change before its turn is encoded first. So the bytes are those of the position at
//! which the snapshot began, as if it had been taken in one go.
//!
//! To encode a device first takes time too. An entry that would make that too much waits ([`Snapshot::holds_back`]): the
//! devices that it changes are encoded next, in steps. Each device is encoded once, so an entry waits at most until the
//! snapshot is complete.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    checkpoint::{DEVICES_TAG, DeviceEncoder, DeviceMessage, work},
    chunks::Chunks,
    device::{Device, Devices},
};

/// Most open windows and series of a device, and of all devices that an entry changes, to encode before the change.
const DEVICE_AT_ONCE: usize = 512;
const DEVICES_AT_ONCE: usize = 4_096;

/// A snapshot under way.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    bytes: Bytes,
    /// Devices before this one are in `bytes`.
    next: u32,
    /// Number of the next new device when the snapshot began.
    end: u32,
    /// Devices that are begun or encoded, and not in `bytes` yet.
    begun: BTreeMap<u32, DeviceEncoder>,
    /// Devices that an entry waits for, those with the least work first. Not all of them still have to be encoded.
    wanted: BTreeSet<(usize, u32)>,
}

/// What is encoded: the head, then devices in order. A device's place in that order is its number, so unused numbers
/// are encoded too.
#[derive(Clone, Debug)]
struct Bytes {
    chunks: Chunks,
    /// Number of the next device.
    next: u32,
}

impl Bytes {
    /// The next device has this number.
    fn skip_to(&mut self, number: u32) {
        if self.next < number {
            let skipped = DeviceMessage::skipped(number - self.next);
            prost::encoding::message::encode(DEVICES_TAG, &skipped, self.chunks.tail());
            self.next = number;
        }
    }

    fn add(&mut self, number: u32, device: DeviceEncoder) {
        self.skip_to(number);
        self.chunks.put_field(DEVICES_TAG, &mut device.into_fields());
        self.next = number.saturating_add(1);
    }
}

/// What an entry makes a snapshot encode before the entry may change it.
#[derive(Debug, Default)]
pub(super) struct EarlyWork {
    devices: BTreeSet<(usize, u32)>,
    all: usize,
    most: usize,
}

impl EarlyWork {
    /// The entry changes this device.
    pub(super) fn add(&mut self, number: u32, snapshot: &Snapshot, devices: &Devices) {
        let Some(device) = devices.get(number).filter(|_| !snapshot.has_encoded(number)) else { return };
        let work = work(device);
        if self.devices.insert((work, number)) {
            (self.all, self.most) = (self.all.saturating_add(work), self.most.max(work));
        }
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.most > DEVICE_AT_ONCE || self.all > DEVICES_AT_ONCE
    }
}

impl Snapshot {
    /// Begins a snapshot of the devices as they are now, which follow the head.
    pub(super) fn begin(head: Vec<u8>, devices: &Devices) -> Self {
        let bytes = Bytes { chunks: Chunks::new(head), next: 0 };
        Self { bytes, next: 0, end: devices.next(), begun: BTreeMap::new(), wanted: BTreeSet::new() }
    }

    /// Encodes about so many open windows and series, at least one. Returns whether all are encoded.
    pub(super) fn step(&mut self, devices: &Devices, most: usize) -> bool {
        let (most, mut done) = (most.max(1), 0);
        while done < most {
            if let Some((number, device)) = self.first_wanted(devices) {
                let encoder = self.begun.entry(number).or_insert_with(DeviceEncoder::new);
                done += encoder.step(device, most - done);
                continue;
            }
            let Some(number) = self.first(devices) else {
                self.bytes.skip_to(self.end);
                return true;
            };
            done += 1;
            let mut encoder = self.begun.remove(&number).unwrap_or_else(DeviceEncoder::new);
            // A device that is gone was encoded before.
            if let Some(device) = devices.get(number)
                && !encoder.is_complete()
            {
                done += encoder.step(device, most.saturating_sub(done));
                if !encoder.is_complete() {
                    self.begun.insert(number, encoder);
                    continue;
                }
            }
            self.bytes.add(number, encoder);
            self.next = number.saturating_add(1);
        }
        false
    }

    /// The device that an entry waits for and that needs the least.
    fn first_wanted<'a>(&mut self, devices: &'a Devices) -> Option<(u32, &'a Device)> {
        while let Some((_, number)) = self.wanted.first().copied() {
            if let Some(device) = devices.get(number)
                && !self.has_encoded(number)
            {
                return Some((number, device));
            }
            self.wanted.pop_first();
        }
        None
    }

    /// The next device in the order of the numbers.
    fn first(&self, devices: &Devices) -> Option<u32> {
        let known =
            devices.from(self.next).next().map(|(number, _)| number).filter(|known| *known < self.end);
        let begun = self.begun.first_key_value().map(|(number, _)| *number);
        known.into_iter().chain(begun).min()
    }

    /// Whether a device needs no encoding any more: it is encoded, or was not known when the snapshot began.
    fn has_encoded(&self, number: u32) -> bool {
        let is_due = (self.next..self.end).contains(&number);
        !is_due || self.begun.get(&number).is_some_and(DeviceEncoder::is_complete)
    }

    /// A device is about to change: it is encoded to its end, however much that is.
    pub(super) fn before_change(&mut self, number: u32, devices: &Devices) {
        if let Some(device) = devices.get(number)
            && !self.has_encoded(number)
        {
            self.begun.entry(number).or_insert_with(DeviceEncoder::new).step(device, usize::MAX);
        }
    }

    /// Whether an entry has to wait that makes this work: then it is done next.
    pub(super) fn holds_back(&mut self, early: EarlyWork) -> bool {
        let waits = early.is_too_much();
        if waits {
            self.wanted.extend(early.devices);
        }
        waits
    }

    /// The bytes, in pieces.
    pub(super) fn into_parts(self) -> Vec<Vec<u8>> {
        self.bytes.chunks.into_parts()
    }
}
