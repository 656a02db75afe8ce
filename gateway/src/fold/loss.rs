//! Losses by damage to a journal, as far as the entries around the damage reveal them, and how the fold continues
//! after it.
//!
//! Every intake says how far its device had got before; a progress snapshot says it for all devices that advanced.
//! What is missing in between was acknowledged and is lost. It is reported once, and its sequence numbers count as
//! taken: parts of it may have been delivered and must not count again.

use std::{collections::BTreeSet, ops::Range};

use super::{
    entry::{DeviceEntry, Entry, IntakeEntry, ProgressSnapshotEntry, SeriesEntry},
    state::{DamagedRange, State},
};

/// What a device lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Messages of an epoch.
    Messages {
        /// The epoch.
        epoch: String,
        /// First sequence number.
        first: u64,
        /// Last sequence number.
        last: u64,
    },
    /// This many readings without sequence number.
    Readings(u64),
}

/// The definitions of the definitions log.
pub trait Definitions {
    /// The device of an index, also if it was forgotten since: an index is never reused.
    fn device(&self, index: u32) -> Option<&DeviceEntry>;
    /// The series of an index of a device, likewise.
    fn series(&self, device: u32, index: u32) -> Option<&SeriesEntry>;
    /// The devices of these indexes that are in use, in order.
    fn devices_in_use(&self, indexes: Range<u32>) -> impl Iterator<Item = &DeviceEntry>;
    /// The series of these indexes of a device that are in use, in order.
    fn series_in_use(&self, device: u32, indexes: Range<u32>) -> impl Iterator<Item = &SeriesEntry>;
}

impl IntakeEntry {
    /// How far the device has got with this entry: the sequence number, or the number of readings without one.
    pub fn reaches(&self) -> u64 {
        if self.epoch.is_empty() {
            return self.previous.saturating_add(self.readings());
        }
        self.seq
    }
}

impl ProgressSnapshotEntry {
    /// The devices, each with its epochs and how far it has got in each of them.
    fn devices(&self) -> impl Iterator<Item = (u32, &[String], &[u64])> {
        let mut start = 0;
        self.device.chunk_by(|a, b| a == b).filter_map(move |of_one| {
            let range = start..start + of_one.len();
            start = range.end;
            Some((*of_one.first()?, self.epoch.get(range.clone())?, self.highest.get(range)?))
        })
    }
}

impl State {
    /// How far a device has got in an epoch; for the empty epoch, the number of readings without number.
    pub fn reached(&self, device: u32, epoch: &str) -> u64 {
        match self.devices.get(device) {
            Some(device) if epoch.is_empty() => device.unnumbered,
            _ => self.highest(device, epoch),
        }
    }

    /// How far a device has got in each epoch that is kept, the most recently used last; the empty epoch stands for
    /// readings without number, if there were any.
    pub fn epochs(&self, device: u32) -> impl Iterator<Item = (&str, u64)> {
        let device = self.devices.get(device);
        let unnumbered = device.map(|device| ("", device.unnumbered)).filter(|(_, count)| *count > 0);
        let epochs = device.map(|device| device.epochs.as_slice()).unwrap_or_default();
        unnumbered.into_iter().chain(epochs.iter().map(|epoch| (&*epoch.text, epoch.highest)))
    }

    /// The loss between the state and a point that a device is known to have reached.
    fn missing(&self, device: u32, epoch: &str, reached: u64) -> Option<Loss> {
        let known = self.reached(device, epoch);
        let missing = reached.checked_sub(known).filter(|missing| *missing > 0)?;
        Some(match epoch.is_empty() {
            true => Loss::Readings(missing),
            false => {
                Loss::Messages { epoch: epoch.to_owned(), first: known.saturating_add(1), last: reached }
            }
        })
    }

    /// What was accepted before an entry and is not in the state, with the device's index.
    pub fn losses(&self, entry: &Entry) -> Vec<(u32, Loss)> {
        match entry {
            Entry::Intake(intake) => {
                let loss = self.missing(intake.device, &intake.epoch, intake.previous);
                loss.map(|loss| (intake.device, loss)).into_iter().collect()
            }
            Entry::ProgressSnapshot(snapshot) => {
                let all = snapshot.device.iter().zip(&snapshot.epoch).zip(&snapshot.highest);
                all.filter_map(|((device, epoch), highest)| {
                    Some((*device, self.missing(*device, epoch, *highest)?))
                })
                .collect()
            }
            _ => Vec::new(),
        }
    }

    /// A range of the journal is lost.
    pub fn mark_lost(&mut self, from: u64, to: u64) {
        let damaged_range =
            self.damaged_range.get_or_insert_with(|| DamagedRange { from, to, devices: BTreeSet::new() });
        damaged_range.to = damaged_range.to.max(to);
        self.damaged = true;
    }

    /// The replay skips an entry that was folded.
    pub fn mark_incomplete(&mut self) {
        self.damaged = true;
    }

    /// A device lost something.
    pub fn mark_device_damaged(&mut self, device: u32) {
        if let Some(damaged_range) = &mut self.damaged_range {
            damaged_range.devices.insert(device);
        }
    }

    /// The replay is complete.
    pub fn end_replay(&mut self) {
        (self.damaged_range, self.damaged) = (None, false);
    }

    /// Skips an entry that does not fit, and returns the loss. Its sequence numbers count as taken.
    pub fn skip_intake(&mut self, intake: &IntakeEntry) -> Option<Loss> {
        let loss = self.missing(intake.device, &intake.epoch, intake.reaches());
        self.before_change(intake.device);
        if let Some(device) = self.devices.get_mut(intake.device) {
            device.advance(&intake.epoch, intake.reaches());
        }
        loss
    }

    /// Whether a progress snapshot tells more of a device than the state knows. It does not where the entry is made: so
    /// it changes nothing there, not even which epochs were used last.
    fn is_behind(&self, (device, epochs, highest): &(u32, &[String], &[u64])) -> bool {
        self.devices.get(*device).is_some_and(|device| !device.has_reached(epochs, highest))
    }

    /// The devices that a progress snapshot changes.
    pub(super) fn advanced_by(&self, snapshot: &ProgressSnapshotEntry) -> impl Iterator<Item = u32> {
        snapshot.devices().filter(|of_one| self.is_behind(of_one)).map(|(device, _, _)| device)
    }

    pub(super) fn advance_all(&mut self, snapshot: &ProgressSnapshotEntry) {
        for of_one in snapshot.devices() {
            if !self.is_behind(&of_one) {
                continue;
            }
            let (number, epochs, highest) = of_one;
            self.before_change(number);
            if let Some(device) = self.devices.get_mut(number) {
                epochs.iter().zip(highest).for_each(|(epoch, highest)| device.advance(epoch, *highest));
            }
        }
    }

    /// Restores from the definitions log what an entry refers to: the devices and series that it names, and those
    /// before one that it defines. Skips what is not in the log. Returns whether the entry may fit now.
    pub fn restore_definitions(&mut self, entry: &Entry, definitions: &impl Definitions) -> bool {
        match entry {
            Entry::Device(device) => self.restore_devices_before(device.index, definitions),
            Entry::Series(series) => {
                let device = self.restore_device(series.device, definitions);
                self.restore_series_before(series.device, series.index, definitions) || device
            }
            Entry::Intake(intake) => {
                let mut changed = self.restore_device(intake.device, definitions);
                for index in intake.series_indexes() {
                    let known = self.devices.get(intake.device).is_none_or(|d| d.series.get(index).is_some());
                    changed |= !known && self.restore_series(intake.device, index, definitions);
                }
                changed
            }
            Entry::ProgressSnapshot(snapshot) => {
                let mut changed = false;
                for device in &snapshot.device {
                    changed |= self.restore_device(*device, definitions);
                }
                changed
            }
            Entry::Client(client) => self.restore_device(client.device, definitions),
            Entry::Configure(_) | Entry::Close(_) | Entry::Numbers(_) | Entry::Forget(_) => false,
        }
    }

    fn restore_device(&mut self, index: u32, definitions: &impl Definitions) -> bool {
        let stored = definitions.device(index).filter(|_| self.devices.get(index).is_none());
        stored.is_some_and(|stored| self.add_stored_device(stored))
    }

    fn restore_series(&mut self, device: u32, index: u32, definitions: &impl Definitions) -> bool {
        definitions.series(device, index).is_some_and(|stored| self.add_stored_series(stored))
    }

    fn add_stored_device(&mut self, stored: &DeviceEntry) -> bool {
        self.devices.skip_to(stored.index);
        self.apply(0, &Entry::Device(stored.clone())).is_ok()
    }

    fn add_stored_series(&mut self, stored: &SeriesEntry) -> bool {
        self.skip_series_indexes(stored.device, stored.index);
        self.apply(0, &Entry::Series(stored.clone())).is_ok()
    }

    /// Makes an index the next one for a new device: restores the devices between, or skips those that are lost.
    fn restore_devices_before(&mut self, index: u32, definitions: &impl Definitions) -> bool {
        let next = self.devices.next();
        if index <= next {
            return false;
        }
        self.restore_devices(next..index, definitions);
        self.devices.skip_to(index);
        true
    }

    /// Likewise with series.
    fn restore_series_before(&mut self, device: u32, index: u32, definitions: &impl Definitions) -> bool {
        let next = self.next_series(device);
        if index <= next || self.devices.get(device).is_none() {
            return false;
        }
        self.restore_series_of(device, next..index, definitions);
        self.skip_series_indexes(device, index);
        true
    }

    /// New devices get this index or a higher one.
    pub fn skip_device_indexes(&mut self, next: u32) {
        self.devices.skip_to(next);
    }

    /// New series of a device get this index or a higher one.
    pub fn skip_series_indexes(&mut self, device: u32, next: u32) {
        self.before_change(device);
        if let Some(device) = self.devices.get_mut(device) {
            device.series.skip_to(next);
        }
    }

    /// Restores the devices of these indexes that are in use according to the definitions log.
    pub fn restore_devices(&mut self, indexes: Range<u32>, definitions: &impl Definitions) {
        for device in definitions.devices_in_use(indexes) {
            self.add_stored_device(device);
        }
    }

    /// Restores the series of these indexes of a device that are in use according to the definitions log.
    pub fn restore_series_of(&mut self, device: u32, indexes: Range<u32>, definitions: &impl Definitions) {
        for series in definitions.series_in_use(device, indexes) {
            self.add_stored_series(series);
        }
    }
}
