//! The state at one position as bytes, encoded in steps while the state moves on.
//!
//! Nothing on a worker's thread may walk all state at once. A snapshot encodes some devices a step. A device that is about
//! to change before its turn is encoded first, so the bytes are those of the position at which the snapshot began: the
//! same as if it had been taken in one go. Costs, beside the bytes, one comparison a change.

use hashbrown::HashMap;

use super::{
    checkpoint::{DEVICES_TAG, device_message},
    state::{Device, State},
};

/// A snapshot under way.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// What is encoded: the head, then devices in order.
    bytes: Vec<u8>,
    /// Devices before this one are in `bytes`.
    next: usize,
    /// Devices that there were when it began.
    count: usize,
    /// Those that changed before their turn.
    early: HashMap<u32, Vec<u8>>,
}

fn encoded(device: &Device) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::message::encode(DEVICES_TAG, &device_message(device), &mut bytes);
    bytes
}

impl State {
    /// Begins a snapshot of the state as it is now; one that was under way is given up.
    pub fn begin_snapshot(&mut self) {
        let (bytes, count) = (self.encode_head(), self.devices.len());
        self.snapshot = Some(Box::new(Snapshot { bytes, next: 0, count, early: HashMap::new() }));
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
        while snapshot.next < snapshot.count && done < most {
            let early = u32::try_from(snapshot.next).ok().and_then(|next| snapshot.early.remove(&next));
            match (early, self.devices.get(snapshot.next)) {
                (Some(early), _) => {
                    done += 1;
                    snapshot.bytes.extend_from_slice(&early);
                }
                (None, Some(device)) => {
                    done += 1 + device.open_windows + device.series.len();
                    snapshot.bytes.extend_from_slice(&encoded(device));
                }
                (None, None) => {}
            }
            snapshot.next += 1;
        }
        if snapshot.next < snapshot.count {
            return None;
        }
        self.snapshot.take().map(|snapshot| snapshot.bytes)
    }

    /// A device is about to change.
    pub(super) fn before_change(&mut self, device: u32) {
        let Some(snapshot) = self.snapshot.as_deref_mut() else { return };
        let index = device as usize;
        if (snapshot.next..snapshot.count).contains(&index)
            && let Some(known) = self.devices.get(index)
        {
            snapshot.early.entry(device).or_insert_with(|| encoded(known));
        }
    }

    /// The state as bytes, in one go.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_head();
        for device in &self.devices {
            bytes.extend_from_slice(&encoded(device));
        }
        bytes
    }
}
