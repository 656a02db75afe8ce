//! Forgetting what was not used for long: devices, single series of a device, MQTT clients.
//!
//! The shard decides ([`State::search`] finds) and writes an entry that lists what is forgotten; a replay applies the list and so
//! agrees. *Used* is measured by the time that the gateway has run ([`State::running`]), which the entries carry: the time of day may
//! jump by years, and while the gateway is off no device can be used.
//!
//! Where a journal is damaged, nothing is given to the wrong device:
//! - A number is never used again ([`super::device`]). So an entry, and a stored definition, mean the same device wherever
//!   they are met. A device that comes back has another number; of two with one name the higher is in use.
//! - An entry that forgets is lost: the device stays, with numbers that nobody asks for, until it is found again. If it has come
//!   back since, under its new number, that one is in use.
//! - A device's return is lost: its number is unknown, and what follows gets the name from the definitions log; without one it is left
//!   out and reported.
//! - A close is lost, and its windows still stand open when the device is to be forgotten: it stays, because its readings may not
//!   have been delivered. Likewise single series.

use catchment_proto::{Labels, MetricName};

use super::{entry::ForgetEntry, state::State};

/// How many series and devices an entry lists; a client counts as so many.
const CLIENT_WEIGHT: usize = 16;

/// What is looked for, and how much at once.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Index of the device to begin with.
    pub from: u32,
    /// What was last used before this is forgotten, by [`State::running`].
    pub before: u32,
    /// A device that is held and was last used before this is listed as used.
    pub touch: u32,
    /// Devices and series that are looked at.
    pub scan_max: usize,
    /// Devices and series that are listed.
    pub list_max: usize,
}

impl State {
    /// Seconds that the gateway has run, as far as the journal says.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Places for series at the aggregator that this state needs: of those that are known, and of those that were forgotten.
    pub fn series_slots(&self) -> u64 {
        self.forgotten_series.count().saturating_add(self.series_count as u64)
    }

    /// Whether a series that is not known was forgotten and has its place still.
    pub fn keeps_series_slot(&self, device: u32, metric: &MetricName, labels: &Labels) -> bool {
        self.devices
            .get(device)
            .is_some_and(|known| self.forgotten_series.contains(&known.name, metric, labels))
    }

    /// Adds to an entry what was not used for long and has no open window, of devices that are not held; of the others those that
    /// are to count as used. Returns the device to go on with; `None` behind the last.
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
                listed += 1;
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
                // There may be more of it: it is looked at again.
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
        // Only where a close is lost.
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
