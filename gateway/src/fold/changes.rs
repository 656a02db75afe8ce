//! Which devices an entry changes, and whether it has to wait for the snapshot under way ([`super::snapshot`]).
//!
//! Waiting is no part of an entry's meaning: an entry that waits is not in the journal yet.

use super::{entry::Entry, snapshot::EarlyWork, state::State};

impl State {
    /// Whether an entry has to wait because the snapshot under way would have to encode too much before it; that is
    /// encoded next. Without a snapshot nothing waits.
    pub fn holds_back(&mut self, entry: &Entry) -> bool {
        self.snapshot.is_some() && self.holds_back_changes(&self.changed_by(entry))
    }

    /// Whether every entry has to wait that changes a device, likewise.
    pub fn holds_back_device(&mut self, device: u32) -> bool {
        self.holds_back_changes(&[device])
    }

    fn holds_back_changes(&mut self, changed: &[u32]) -> bool {
        let Some(snapshot) = self.snapshot.as_deref_mut() else { return false };
        let mut early = EarlyWork::default();
        changed.iter().for_each(|device| early.add(*device, snapshot, &self.devices));
        snapshot.holds_back(early)
    }

    /// The devices that an entry changes; one may be there several times.
    fn changed_by(&self, entry: &Entry) -> Vec<u32> {
        match entry {
            // What they change is encoded before the devices. A new device is none of the snapshot.
            Entry::Configure(_) | Entry::Device(_) | Entry::Numbers(_) => Vec::new(),
            Entry::Series(series) => vec![series.device],
            Entry::Intake(intake) => vec![intake.device],
            Entry::Client(client) => vec![client.device],
            Entry::Close(close) => self.closed_by(close).map(|(_, (device, _, _))| device).collect(),
            Entry::ProgressSnapshot(snapshot) => self.advanced_by(snapshot).collect(),
            Entry::Forget(forget) => {
                let single = forget.series_device.iter().chain(&forget.client_device);
                forget.used.iter().chain(&forget.devices).chain(single).copied().collect()
            }
        }
    }
}
