//! What damage to a journal cost, as far as the entries around it tell, and how the fold goes on over it.
//!
//! Every entry of a device says how far the device had got before; a census says it of all devices that changed. What
//! is missing in between was acknowledged and is lost: it is told once, and the numbers count as taken, so that nothing
//! of it that may have been delivered already counts again.

use std::collections::BTreeSet;

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
    /// The device of an index.
    fn device(&self, index: u32) -> Option<&DeviceEntry>;
    /// The series of an index of a device.
    fn series(&self, device: u32, index: u32) -> Option<&SeriesEntry>;
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
        match self.devices.get(device as usize) {
            Some(device) if epoch.is_empty() => device.unnumbered,
            _ => self.highest(device, epoch),
        }
    }

    /// How far a device has got in each epoch that is kept, the one used last at the end; the empty text stands for
    /// readings without number, if there were any.
    pub fn epochs(&self, device: u32) -> impl Iterator<Item = (&str, u64)> {
        let device = self.devices.get(device as usize);
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
        if let Some(device) = self.devices.get_mut(intake.device as usize) {
            device.advance(&intake.epoch, intake.reaches());
        }
        loss
    }

    pub(super) fn advance_all(&mut self, census: &CensusEntry) {
        for ((device, epoch), highest) in census.device.iter().zip(&census.epoch).zip(&census.highest) {
            self.before_change(*device);
            if let Some(device) = self.devices.get_mut(*device as usize) {
                device.advance(epoch, *highest);
            }
        }
    }

    /// Introduces what an entry builds on from its second copy. True if the entry may fit now.
    pub fn introduce(&mut self, entry: &Entry, copies: &impl Definitions) -> bool {
        let before = (self.device_count(), self.series_count());
        match entry {
            Entry::Device(device) => self.introduce_devices(device.index, copies),
            Entry::Series(series) => {
                self.introduce_devices(series.device.saturating_add(1), copies);
                self.introduce_series(series.device, series.index, copies);
            }
            Entry::Intake(intake) => {
                self.introduce_devices(intake.device.saturating_add(1), copies);
                let count = intake.series.iter().max().map_or(0, |last| last.saturating_add(1));
                self.introduce_series(intake.device, count, copies);
            }
            Entry::Census(census) => {
                let count = census.device.iter().max().map_or(0, |last| last.saturating_add(1));
                self.introduce_devices(count, copies);
            }
            Entry::Client(client) => self.introduce_devices(client.device.saturating_add(1), copies),
            Entry::Configure(_) | Entry::Close(_) | Entry::Numbers(_) => {}
        }
        before != (self.device_count(), self.series_count())
    }

    /// Introduces devices until there are `count`, or one has no second copy.
    pub fn introduce_devices(&mut self, count: u32, copies: &impl Definitions) {
        while let Some(next) = u32::try_from(self.device_count()).ok().filter(|next| *next < count) {
            let Some(device) = copies.device(next) else { return };
            if self.apply(0, &Entry::Device(device.clone())).is_err() {
                return;
            }
        }
    }

    /// Introduces series of a device until there are `count`, or one has no second copy.
    pub fn introduce_series(&mut self, device: u32, count: u32, copies: &impl Definitions) {
        while let Some(next) = u32::try_from(self.series_of(device)).ok().filter(|next| *next < count) {
            let Some(series) = copies.series(device, next) else { return };
            if self.apply(0, &Entry::Series(series.clone())).is_err() {
                return;
            }
        }
    }
}
