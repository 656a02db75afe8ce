//! Devices: they come, are held while they have sessions, and are forgotten when they were not used for `device_expiry`.
//!
//! Used means: a message of it was taken, a client of it opened its session, or it was connected. Time is the time that the gateway
//! has run, by the clock that does not jump: no step of the time of day makes a device look unused, and neither does a gateway that
//! was off, or a worker that stood still. It is part of the journal, by an entry each step.
//!
//! After each step a worker's ticks look at all devices, a slice at a time. What was not used is listed in an entry
//! ([`crate::fold::ForgetEntry`]) and forgotten. What is connected and sends nothing is listed as used, eight times in `device_expiry`.
//! The next step is not taken before: so when a gateway ends, all that was connected was used lately, as far as the journal says.
//!
//! Invariants:
//! - Nothing is forgotten that has an open window.
//! - A device is held as long as anything remembers its index or the indexes of its series: then nothing of it is forgotten.
//! - A series that is forgotten keeps its place in the aggregator's budget; if it comes back, it needs no other.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Weak},
    time::Duration,
};

use catchment_journal::Disk;
use catchment_proto::Name;

use super::{Backpressure, Shard, ShardLimits};
use crate::fold::{DeviceEntry, Entry, ForgetEntry, Search};

/// How often the time is written down at least.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Likewise, in `device_expiry`; and how often what is connected is written down as used.
const STEPS: u32 = 8;
/// Devices and series that are looked at in one tick: some microseconds.
const SCAN_MAX: usize = 512;
/// Devices and series that one entry lists.
const LIST_MAX: usize = 256;
/// Bytes of an entry for each.
const LISTED_BYTES: usize = 32;

/// A device that is in use: until this is dropped, nothing of it is forgotten.
#[derive(Clone, Debug)]
pub struct Hold(#[allow(dead_code)] Arc<()>); // what counts is that it is there

/// What a shard knows of the use of its devices beside its state.
#[derive(Debug)]
pub(super) struct Expiry {
    /// When this life began, and how long the gateway had run by then.
    began: Duration,
    before: u32,
    /// The device to look at next; `None`: all were looked at since the last step.
    next: Option<u32>,
    /// Those in use, and some that were.
    held: BTreeMap<u32, Weak<()>>,
}

impl Expiry {
    /// A life begins at this time by the clock that does not jump, and after so many seconds.
    pub(super) fn new(began: Duration, before: u32) -> Self {
        Self { began, before, next: Some(0), held: BTreeMap::new() }
    }

    /// Seconds that the gateway has run.
    fn running(&self, now: Duration) -> u32 {
        let seconds = now.saturating_sub(self.began).as_secs();
        self.before.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// Time goes on from here.
    fn begin(&mut self, now: Duration, running: u32) {
        (self.began, self.before) = (now, running);
    }

    /// Lets go of devices that are in use no more, from one on up to another.
    fn let_go(&mut self, from: u32, end: Option<u32>) {
        let range = (Bound::Included(from), end.map_or(Bound::Unbounded, Bound::Excluded));
        let gone = self.held.range(range).filter(|(_, held)| held.strong_count() == 0);
        let gone: Vec<u32> = gone.map(|(device, _)| *device).collect();
        gone.iter().for_each(|device| _ = self.held.remove(device));
    }

    fn is_held(&self, device: u32) -> bool {
        self.held.get(&device).is_some_and(|held| held.strong_count() > 0)
    }
}

impl ShardLimits {
    /// A part of `device_expiry` in seconds, at least one.
    fn expiry_part(&self) -> u32 {
        u32::try_from((self.device_expiry / STEPS).as_secs().max(1)).unwrap_or(u32::MAX)
    }

    fn expiry_step(&self) -> u32 {
        self.expiry_part().min(u32::try_from(STEP_MAX.as_secs()).unwrap_or(u32::MAX))
    }
}

impl<D: Disk> Shard<D> {
    /// Index of a device, introduced if it is new.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn device(&mut self, name: &Name) -> Result<u32, Backpressure> {
        if let Some(index) = self.state.device(name) {
            return Ok(index);
        }
        let index = self.state.next_device();
        if index == u32::MAX {
            return Err(Backpressure::Room("this shard has no index left for a new device".into()));
        }
        self.budget.reserve_device().map_err(Backpressure::Devices)?;
        let recorded = self.record(Entry::Device(DeviceEntry { index, name: name.as_str().to_owned() }));
        recorded.inspect_err(|_| self.budget.release_device())?;
        self.metrics.devices.inc();
        Ok(index)
    }

    /// Holds a device that is known: nothing of it is forgotten before what this gives is dropped.
    pub fn hold(&mut self, name: &Name) -> Option<(u32, Hold)> {
        let index = self.state.device(name)?;
        let held = self.expiry.held.get(&index).and_then(Weak::upgrade).unwrap_or_else(|| {
            let held = Arc::new(());
            self.expiry.held.insert(index, Arc::downgrade(&held));
            held
        });
        Some((index, Hold(held)))
    }

    /// Writes down how long the gateway has run, when that is a step, and all devices were looked at since the last one.
    pub(super) fn note_running(&mut self) -> Result<(), Backpressure> {
        let (now, before) = (self.clock.mono(), self.state.running());
        let behind = self.expiry.running(now).saturating_sub(before);
        if behind < self.limits.expiry_step() || self.expiry.next.is_some() {
            return Ok(());
        }
        // Where this stood still, nobody was written down as used: that time does not count.
        let most = self.limits.expiry_part();
        if behind > most {
            self.expiry.begin(now, before.saturating_add(most));
        }
        let running_s = self.expiry.running(now);
        self.record(Entry::Forget(ForgetEntry { running_s, ..ForgetEntry::default() }))?;
        self.expiry.next = Some(0);
        Ok(())
    }

    /// Looks at some devices: forgets what was not used for long, and writes down what is connected.
    pub(super) fn expire(&mut self) -> Result<(), Backpressure> {
        let Some(from) = self.expiry.next else { return Ok(()) };
        let now = self.state.running();
        let expiry = u32::try_from(self.limits.device_expiry.as_secs()).unwrap_or(u32::MAX);
        let part = self.limits.expiry_part();
        let before = now.saturating_sub(expiry).saturating_sub(part.saturating_mul(2));
        let touch = now.saturating_sub(part);
        let list = LIST_MAX.min(self.limits.entry_bytes_max as usize / LISTED_BYTES).max(1);
        let search = Search { from, before, touch, scan_max: SCAN_MAX, list_max: list };
        let mut entry = ForgetEntry { running_s: now, ..ForgetEntry::default() };
        let next = self.state.search(&search, |device| self.expiry.is_held(device), &mut entry);
        if !entry.is_empty() {
            self.forget(entry)?;
        }
        self.expiry.let_go(from, next);
        self.expiry.next = next;
        Ok(())
    }

    fn forget(&mut self, entry: ForgetEntry) -> Result<(), Backpressure> {
        let (devices, series) = (self.state.device_count(), self.state.series_count());
        let clients = entry.client.len() as u64;
        let (_, _, entry) = self.record_kept(Entry::Forget(entry))?;
        if let Entry::Forget(entry) = entry {
            entry.devices.iter().for_each(|device| self.progress_tracker.changed.forget(*device));
        }
        let devices = devices.saturating_sub(self.state.device_count()) as u64;
        let series = series.saturating_sub(self.state.series_count()) as u64;
        self.budget.release_devices(devices);
        self.metrics.forget(devices, series, clients);
        Ok(())
    }
}
