//! Progress snapshots: how far devices have got, repeated in the journal, so that damage leaves little unknown.

use std::{collections::BTreeMap, time::Duration};

use catchment_journal::Position;

use crate::fold::{DEVICE_EPOCHS_MAX, ProgressSnapshotEntry, State};

/// Journal bytes and time between two progress snapshots: what damage can leave unknown.
const SNAPSHOT_BYTES: u64 = 1 << 20;
const SNAPSHOT_EVERY: Duration = Duration::from_secs(60);
/// No device is added to an entry that has this many epochs. An epoch has at most 64 bytes; a device has at most
/// [`DEVICE_EPOCHS_MAX`] of them and the empty one.
const SNAPSHOT_EPOCHS_MAX: usize = 4_096;

/// Devices whose sequence numbers advanced since the last progress snapshot.
#[derive(Debug)]
pub(super) struct ProgressTracker {
    advanced: AdvancedEpochs,
    /// The journal's end and the time when everything was last written.
    at: Position,
    since: Duration,
}

impl ProgressTracker {
    pub(super) fn new(advanced: AdvancedEpochs, at: Position, since: Duration) -> Self {
        Self { advanced, at, since }
    }

    /// Messages of an epoch were taken.
    pub(super) fn note(&mut self, device: u32, epoch: &str) {
        self.advanced.note(device, epoch);
    }

    /// A device is forgotten.
    pub(super) fn forget(&mut self, device: u32) {
        self.advanced.forget(device);
    }

    /// Whether much was written or much time has passed since the last snapshot.
    pub(super) fn is_due(&self, end: Position, now: Duration) -> bool {
        let grown = end.since(self.at) >= SNAPSHOT_BYTES;
        !self.advanced.is_empty() && (grown || now.saturating_sub(self.since) >= SNAPSHOT_EVERY)
    }

    /// The next snapshot, and the devices that it covers.
    pub(super) fn snapshot(&self, state: &State) -> (ProgressSnapshotEntry, Vec<u32>) {
        let mut entry = ProgressSnapshotEntry::default();
        let mut devices = Vec::new();
        for (device, epochs) in self.advanced.iter() {
            if entry.device.len() >= SNAPSHOT_EPOCHS_MAX {
                break;
            }
            devices.push(device);
            let known = state.epochs(device).filter(|(epoch, _)| epochs.iter().any(|e| **e == **epoch));
            for (epoch, highest) in known {
                entry.device.push(device);
                entry.epoch.push(epoch.to_owned());
                entry.highest.push(highest);
            }
        }
        (entry, devices)
    }

    /// A snapshot that covers these devices is in the journal.
    pub(super) fn written(&mut self, devices: &[u32], end: Position, now: Duration) {
        devices.iter().for_each(|device| self.advanced.forget(*device));
        if self.advanced.is_empty() {
            (self.at, self.since) = (end, now);
        }
    }
}

/// Epochs of devices whose sequence numbers advanced; the empty epoch stands for readings without number.
#[derive(Debug, Default)]
pub(super) struct AdvancedEpochs(BTreeMap<u32, Vec<Box<str>>>);

impl AdvancedEpochs {
    pub(super) fn note(&mut self, device: u32, epoch: &str) {
        let epochs = self.0.entry(device).or_default();
        if epochs.iter().any(|known| **known == *epoch) {
            return;
        }
        // The state forgets older ones too.
        if epochs.len() > DEVICE_EPOCHS_MAX {
            epochs.remove(0);
        }
        epochs.push(epoch.into());
    }

    /// The device is forgotten, or a progress snapshot covers it.
    pub(super) fn forget(&mut self, device: u32) {
        self.0.remove(&device);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &[Box<str>])> {
        self.0.iter().map(|(device, epochs)| (*device, epochs.as_slice()))
    }
}
