//! What damage to a journal cost, as far as the entries around it tell, and how the fold goes on over it.
//!
//! Every entry of a device says how far the device had got before; a census says it of all devices that changed. What
//! is missing in between was acknowledged and is lost: it is told once, and the numbers count as taken, so that nothing
//! of it that may have been delivered already counts again.

use std::{collections::BTreeSet, ops::Range};

use super::{
    entry::{CensusEntry, DeviceEntry, Entry, IntakeEntry, SeriesEntry},
    state::{State, Suspect},
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
    /// So many readings without sequence number.
    Readings(u64),
}

/// Definitions that were written down a second time.
pub trait Definitions {
    /// The device of an index, also one that was forgotten since: an index means one device for ever.
    fn device(&self, index: u32) -> Option<&DeviceEntry>;
    /// The series of an index of a device, likewise.
    fn series(&self, device: u32, index: u32) -> Option<&SeriesEntry>;
    /// The devices of these indexes that are in use, in order.
    fn devices_in_use(&self, indexes: Range<u32>) -> impl Iterator<Item = &DeviceEntry>;
    /// The series of these indexes of a device that are in use, in order.
    fn series_in_use(&self, device: u32, indexes: Range<u32>) -> impl Iterator<Item = &SeriesEntry>;
}

impl IntakeEntry {
    /// Where the device has got with this entry: the sequence number, or how many readings without one.
    pub fn reaches(&self) -> u64 {
        if self.epoch.is_empty() {
            return self.previous.saturating_add(self.value.len() as u64);
        }
        self.seq
    }
}

impl State {
    /// How far a device has got: in an epoch, or without one (the empty text) in readings without number.
    pub fn reached(&self, device: u32, epoch: &str) -> u64 {
        match self.devices.get(device) {
            Some(device) if epoch.is_empty() => device.unnumbered,
            _ => self.highest(device, epoch),
        }
    }

    /// How far a device has got in each epoch that is kept, the one used last at the end; the empty text stands for
    /// readings without number, if there were any.
    pub fn epochs(&self, device: u32) -> impl Iterator<Item = (&str, u64)> {
        let device = self.devices.get(device);
        let unnumbered = device.map(|device| ("", device.unnumbered)).filter(|(_, count)| *count > 0);
        let epochs = device.map(|device| device.epochs.as_slice()).unwrap_or_default();
        unnumbered.into_iter().chain(epochs.iter().map(|epoch| (&*epoch.text, epoch.highest)))
    }

    /// What is missing between the state and a point that a device is known to have reached.
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

    /// What was taken before an entry and is not in the state, with the device's index.
    pub fn losses(&self, entry: &Entry) -> Vec<(u32, Loss)> {
        match entry {
            Entry::Intake(intake) => {
                let loss = self.missing(intake.device, &intake.epoch, intake.previous);
                loss.map(|loss| (intake.device, loss)).into_iter().collect()
            }
            Entry::Census(census) => {
                let all = census.device.iter().zip(&census.epoch).zip(&census.highest);
                all.filter_map(|((device, epoch), highest)| {
                    Some((*device, self.missing(*device, epoch, *highest)?))
                })
                .collect()
            }
            _ => Vec::new(),
        }
    }

    /// A stretch of the journal is lost.
    pub fn lose(&mut self, from: u64, to: u64) {
        let suspect = self.suspect.get_or_insert_with(|| Suspect { from, to, devices: BTreeSet::new() });
        suspect.to = suspect.to.max(to);
        self.damaged = true;
    }

    /// An entry is left out: what is replayed is less than what was folded.
    pub fn doubt(&mut self) {
        self.damaged = true;
    }

    /// A device lost something.
    pub fn suspect(&mut self, device: u32) {
        if let Some(suspect) = &mut self.suspect {
            suspect.devices.insert(device);
        }
    }

    /// The whole journal is replayed.
    pub fn replayed(&mut self) {
        (self.suspect, self.damaged) = (None, false);
    }

    /// Leaves an entry out that does not fit, and says what that loses. Its numbers count as taken.
    pub fn leave_out(&mut self, intake: &IntakeEntry) -> Option<Loss> {
        let loss = self.missing(intake.device, &intake.epoch, intake.reaches());
        self.before_change(intake.device);
        if let Some(device) = self.devices.get_mut(intake.device) {
            device.advance(&intake.epoch, intake.reaches());
        }
        loss
    }

    pub(super) fn advance_all(&mut self, census: &CensusEntry) {
        for ((device, epoch), highest) in census.device.iter().zip(&census.epoch).zip(&census.highest) {
            self.before_change(*device);
            if let Some(device) = self.devices.get_mut(*device) {
                device.advance(epoch, *highest);
            }
        }
    }

    /// Introduces what an entry builds on from its second copy: devices and series that it names, and those before one that it
    /// introduces. What has no copy is skipped. True if the entry may fit now.
    pub fn introduce(&mut self, entry: &Entry, copies: &impl Definitions) -> bool {
        match entry {
            Entry::Device(device) => self.introduce_before(device.index, copies),
            Entry::Series(series) => {
                let device = self.introduce_device(series.device, copies);
                self.introduce_series_before(series.device, series.index, copies) || device
            }
            Entry::Intake(intake) => {
                let mut changed = self.introduce_device(intake.device, copies);
                for index in &intake.series {
                    let known =
                        self.devices.get(intake.device).is_none_or(|d| d.series.get(*index).is_some());
                    changed |= !known && self.introduce_series(intake.device, *index, copies);
                }
                changed
            }
            Entry::Census(census) => {
                let mut changed = false;
                for device in &census.device {
                    changed |= self.introduce_device(*device, copies);
                }
                changed
            }
            Entry::Client(client) => self.introduce_device(client.device, copies),
            Entry::Configure(_) | Entry::Close(_) | Entry::Numbers(_) | Entry::Forget(_) => false,
        }
    }

    fn introduce_device(&mut self, index: u32, copies: &impl Definitions) -> bool {
        let copy = copies.device(index).filter(|_| self.devices.get(index).is_none());
        copy.is_some_and(|copy| self.add_copy_of_device(copy))
    }

    fn introduce_series(&mut self, device: u32, index: u32, copies: &impl Definitions) -> bool {
        copies.series(device, index).is_some_and(|copy| self.add_copy_of_series(copy))
    }

    fn add_copy_of_device(&mut self, copy: &DeviceEntry) -> bool {
        self.devices.skip_to(copy.index);
        self.apply(0, &Entry::Device(copy.clone())).is_ok()
    }

    fn add_copy_of_series(&mut self, copy: &SeriesEntry) -> bool {
        self.leave_out_series(copy.device, copy.index);
        self.apply(0, &Entry::Series(copy.clone())).is_ok()
    }

    /// The next new device is to have an index: those between are introduced, or lost.
    fn introduce_before(&mut self, index: u32, copies: &impl Definitions) -> bool {
        let next = self.devices.next();
        if index <= next {
            return false;
        }
        self.introduce_devices(next..index, copies);
        self.devices.skip_to(index);
        true
    }

    /// Likewise with series.
    fn introduce_series_before(&mut self, device: u32, index: u32, copies: &impl Definitions) -> bool {
        let next = self.next_series(device);
        if index <= next || self.devices.get(device).is_none() {
            return false;
        }
        self.introduce_series_of(device, next..index, copies);
        self.leave_out_series(device, index);
        true
    }

    /// No device that comes new gets an index below this.
    pub fn leave_out_devices(&mut self, next: u32) {
        self.devices.skip_to(next);
    }

    /// No series that comes new to a device gets an index below this.
    pub fn leave_out_series(&mut self, device: u32, next: u32) {
        self.before_change(device);
        if let Some(device) = self.devices.get_mut(device) {
            device.series.skip_to(next);
        }
    }

    /// Introduces the devices of these indexes that are in use, as second copies say.
    pub fn introduce_devices(&mut self, indexes: Range<u32>, copies: &impl Definitions) {
        for device in copies.devices_in_use(indexes) {
            self.add_copy_of_device(device);
        }
    }

    /// Introduces the series of these indexes of a device that are in use, as second copies say.
    pub fn introduce_series_of(&mut self, device: u32, indexes: Range<u32>, copies: &impl Definitions) {
        for series in copies.series_in_use(device, indexes) {
            self.add_copy_of_series(series);
        }
    }
}
