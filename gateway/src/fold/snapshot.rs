//! The state at one position as bytes, encoded in steps while the state moves on.
//!
//! Nothing on a worker's thread may walk all state at once. A snapshot encodes some devices a step. A device that is about
//! to change before its turn is encoded first, so the bytes are those of the position at which the snapshot began: the
//! same as if it had been taken in one go. Costs, beside the bytes, one comparison a change.

use std::collections::BTreeMap;

use super::{
    checkpoint::{DEVICES_TAG, DeviceMessage, device_message},
    device::Device,
    state::State,
};

/// A snapshot under way.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    bytes: Bytes,
    /// Devices before this one are in `bytes`.
    next: u32,
    /// Number of the next new device when it began.
    end: u32,
    /// Those that changed before their turn, or were forgotten.
    early: BTreeMap<u32, Vec<u8>>,
}

/// What is encoded: the head, then devices in order. A device's place among them is its number, so numbers that are not in use
/// are said.
#[derive(Clone, Debug)]
struct Bytes {
    bytes: Vec<u8>,
    /// Number of what comes next.
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

impl State {
    /// Begins a snapshot of the state as it is now; one that was under way is given up.
    pub fn begin_snapshot(&mut self) {
        let (bytes, end) = (Bytes { bytes: self.encode_head(), next: 0 }, self.devices.next());
        self.snapshot = Some(Box::new(Snapshot { bytes, next: 0, end, early: BTreeMap::new() }));
    }

    /// Whether a snapshot is under way.
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Gives the snapshot up that is under way.
    pub fn end_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// Encodes devices with so many open windows and series, at least one device; the bytes once all are.
    pub fn step_snapshot(&mut self, most: usize) -> Option<Vec<u8>> {
        let snapshot = self.snapshot.as_deref_mut()?;
        let mut done = 0;
        while done < most {
            let known = self.devices.from(snapshot.next).next().filter(|(number, _)| *number < snapshot.end);
            let early = snapshot.early.first_key_value().map(|(number, _)| *number);
            let number = match (known, early) {
                (Some((known, device)), early) if early.is_none_or(|early| known < early) => {
                    done += 1 + device.open_windows + device.series.len();
                    snapshot.bytes.add(known, &encoded(device));
                    known
                }
                (_, Some(_)) => {
                    let Some((early, bytes)) = snapshot.early.pop_first() else { break };
                    done += 1;
                    snapshot.bytes.add(early, &bytes);
                    early
                }
                _ => {
                    snapshot.bytes.skip_to(snapshot.end);
                    return self.snapshot.take().map(|snapshot| snapshot.bytes.bytes);
                }
            };
            snapshot.next = number.saturating_add(1);
        }
        None
    }

    /// A device is about to change.
    pub(super) fn before_change(&mut self, device: u32) {
        let Some(snapshot) = self.snapshot.as_deref_mut() else { return };
        if (snapshot.next..snapshot.end).contains(&device)
            && let Some(known) = self.devices.get(device)
        {
            snapshot.early.entry(device).or_insert_with(|| encoded(known));
        }
    }

    /// The state as bytes, in one go.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Bytes { bytes: self.encode_head(), next: 0 };
        for (number, device) in self.devices.from(0) {
            bytes.add(number, &encoded(device));
        }
        bytes.skip_to(self.devices.next());
        bytes.bytes
    }
}
