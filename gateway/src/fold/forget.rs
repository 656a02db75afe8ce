//! Forgetting what was unused for long: devices, single series of a device, MQTT clients.
//!
//! The shard decides, with [`State::search`], and writes an entry that lists what is forgotten; a replay only applies
//! the list. Time of use is the time that the gateway has run ([`State::running`]), which the entries carry: the wall
//! clock may jump by years, and while the gateway is off no device can be used.
//!
//! After damage to the journal nothing is given to the wrong device:
//! - A number is never reused ([`super::device`]). So an entry, or a stored definition, means the same device
//!   wherever it is found. A device that comes back gets another number; of two with one name the higher number is in
//!   use.
//! - If an entry that forgets is lost, the device stays, with sequence numbers that nobody asks for, until it is
//!   forgotten again. If it has come back since, its new number is in use.
//! - If a device's return is lost, its number is unknown. Later entries get the name from the definitions log; if it
//!   is not there either, they are skipped and reported.
//! - If a close is lost, its windows are still open when the device is to be forgotten. The device stays, because its
//!   readings may not have been delivered. The same holds for single series.

use catchment_proto::{Labels, MetricName};

use super::{entry::ForgetEntry, state::State};

/// In the bound of an entry a client counts as this many devices or series.
const CLIENT_WEIGHT: usize = 16;
/// So many series of a device that is forgotten count as one that is listed: the entry does not name them, but each of
/// them is taken apart.
const SERIES_OF_DEVICE: usize = 16;

/// What to look for, and how much at once.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Index of the device to begin with.
    pub from: u32,
    /// Forget what was last used before this time, by [`State::running`].
    pub before: u32,
    /// List a held device as used if it was last used before this time.
    pub touch: u32,
    /// Most devices and series to look at.
    pub scan_max: usize,
    /// Most devices and series to list, as far as their work goes: a device is listed with all of its series.
    pub list_max: usize,
}

impl State {
    /// Seconds that the gateway has run, according to the journal.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Places for series that this state takes at the aggregator: known series and forgotten ones.
    pub fn series_slots(&self) -> u64 {
        self.forgotten_series.count().saturating_add(self.series_count as u64)
    }

    /// Whether an unknown series is a forgotten one that still has its place.
    pub fn keeps_series_slot(&self, device: u32, metric: &MetricName, labels: &Labels) -> bool {
        self.devices
            .get(device)
            .is_some_and(|known| self.forgotten_series.contains(&known.name, metric, labels))
    }

    /// Adds to an entry what was unused for long and has no open window, for devices that are not held; adds held
    /// devices that are to count as used. Returns the device to continue with; `None` after the last.
    pub fn search(
        &self,
        search: &Search,
        is_held: impl Fn(u32) -> bool,
        entry: &mut ForgetEntry,
    ) -> Option<u32> {
        let (mut scanned, mut listed) = (0, 0);
        for (number, device) in self.devices.from(search.from) {
            if scanned >= search.scan_max || listed >= search.list_max {
                return Some(number);
            }
            scanned += 1;
            if is_held(number) {
                let is_old = |used: u32| used < search.touch;
                if is_old(device.used) || device.clients.iter().any(|client| is_old(client.used)) {
                    entry.used.push(number);
                    listed += 1;
                }
                continue;
            }
            let is_old = |used: u32| used < search.before;
            if is_old(device.used) && device.open_windows == 0 {
                entry.devices.push(number);
                let series = device.series.len() / SERIES_OF_DEVICE;
                (scanned, listed) = (scanned + series, listed + 1 + series);
                continue;
            }
            scanned += device.series.len();
            let old = device.series.iter().filter(|series| is_old(series.used) && series.open.is_empty());
            for series in old.take(search.list_max - listed) {
                entry.series_device.push(number);
                entry.series.push(series.number);
                listed += 1;
            }
            for client in device.clients.iter().filter(|client| is_old(client.used)) {
                entry.client_device.push(number);
                entry.client.push(client.id.to_string());
                listed += CLIENT_WEIGHT;
            }
            if listed >= search.list_max {
                // This device may have more: look at it again.
                return Some(number);
            }
        }
        None
    }

    pub(super) fn forget(&mut self, entry: &ForgetEntry) {
        self.running = self.running.max(entry.running_s);
        for device in &entry.used {
            self.before_change(*device);
            if let Some(device) = self.devices.get_mut(*device) {
                device.used = self.running;
                device.clients.touch(self.running);
            }
        }
        for device in &entry.devices {
            self.forget_device(*device);
        }
        let mut start = 0;
        for of_one in entry.series_device.chunk_by(|a, b| a == b) {
            let numbers = entry.series.get(start..start + of_one.len()).unwrap_or_default();
            start += of_one.len();
            if let Some(device) = of_one.first() {
                self.forget_series(*device, numbers);
            }
        }
        for (device, id) in entry.client_device.iter().zip(&entry.client) {
            self.before_change(*device);
            if let Some(device) = self.devices.get_mut(*device) {
                device.clients.forget(id);
            }
        }
    }

    fn forget_device(&mut self, number: u32) {
        // Open windows: damage took their close.
        if self.devices.get(number).is_none_or(|device| device.open_windows > 0) {
            return;
        }
        self.before_change(number);
        let Some(device) = self.devices.remove(number) else { return };
        if self.names.get(&device.name) == Some(&number) {
            self.names.remove(&device.name);
        }
        self.series_count = self.series_count.saturating_sub(device.series.len());
        device
            .series
            .iter()
            .for_each(|series| self.forgotten_series.insert(&device.name, &series.metric, &series.labels));
    }

    fn forget_series(&mut self, number: u32, series: &[u32]) {
        self.before_change(number);
        let Some(device) = self.devices.get_mut(number) else { return };
        let gone = device.forget_series(series);
        self.series_count = self.series_count.saturating_sub(gone.len());
        gone.iter()
            .for_each(|series| self.forgotten_series.insert(&device.name, &series.metric, &series.labels));
    }
}
