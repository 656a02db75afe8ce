//! Expiry: devices are held while they have sessions, and forgotten when they were not used for `device_expiry`.
//!
//! A device is used when a message of it is taken, when a client of it opens its session, and while it is connected.
//! Time is how long the gateway has run, by the monotonic clock. So neither a step of the wall clock nor a gateway
//! that was off nor a worker that stood still makes a device look unused. An entry each step writes this time to the
//! journal.
//!
//! After each step the ticks of a worker scan all devices, a slice at a time. Unused devices, series and clients are
//! listed in an entry ([`crate::fold::ForgetEntry`]) and forgotten. Connected devices that send nothing are listed as
//! used, eight times in `device_expiry`. The next step waits for the end of the scan: so when a gateway ends, every
//! connected device was used recently, as far as the journal says.
//!
//! Invariants:
//! - Nothing is forgotten that has an open window.
//! - A device is held as long as anything remembers its index or the indexes of its series; nothing of a held device is
//!   forgotten.
//! - A forgotten series keeps its place in the aggregator's budget; if it comes back, it needs no other.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Weak},
    time::Duration,
};

use super::ShardLimits;
use crate::fold::{ForgetEntry, Search, State};

/// The running time is written at least this often.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Steps in `device_expiry`, at least; connected devices are written down as used this many times in it.
const STEPS: u32 = 8;
/// Devices and series that one tick looks at: some microseconds.
const SCAN_MAX: usize = 512;
/// Devices and series that one entry lists.
const LIST_MAX: usize = 256;
/// Bytes of an entry for each.
const LISTED_BYTES: usize = 32;

/// A device in use: nothing of it is forgotten until this is dropped.
#[derive(Clone, Debug)]
pub struct Hold(#[allow(dead_code)] Arc<()>); // its existence counts

/// A part of a scan over all devices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    from: u32,
    /// The device to continue with; `None`: the scan is complete.
    next: Option<u32>,
}

/// What a shard knows of the use of its devices beyond its state.
#[derive(Debug)]
pub(super) struct Expiry {
    /// `device_expiry`, a part of it, and the time between two steps, in seconds.
    expiry: u32,
    part: u32,
    step: u32,
    list_max: usize,
    /// When this run began, and how many seconds the gateway had run by then.
    began: Duration,
    before: u32,
    /// The device to look at next; `None`: the scan after the last step is complete.
    next: Option<u32>,
    /// Devices in use, and some that were.
    held: BTreeMap<u32, Weak<()>>,
}

impl Expiry {
    /// A run begins at this time by the monotonic clock, after the gateway has run for so many seconds.
    pub(super) fn new(limits: &ShardLimits, began: Duration, before: u32) -> Self {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let part = seconds(limits.device_expiry / STEPS).max(1);
        Self {
            expiry: seconds(limits.device_expiry),
            part,
            step: part.min(seconds(STEP_MAX)),
            list_max: LIST_MAX.min(limits.entry_bytes_max as usize / LISTED_BYTES).max(1),
            began,
            before,
            next: Some(0),
            held: BTreeMap::new(),
        }
    }

    /// Seconds that the gateway has run.
    fn running(&self, now: Duration) -> u32 {
        let seconds = now.saturating_sub(self.began).as_secs();
        self.before.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The running time to write, if a step has passed since `before`, the time that was written last.
    pub(super) fn step(&mut self, now: Duration, before: u32) -> Option<u32> {
        let behind = self.running(now).saturating_sub(before);
        if behind < self.step || self.next.is_some() {
            return None;
        }
        // A worker that stood still wrote nobody down as used: that time does not count.
        if behind > self.part {
            (self.began, self.before) = (now, before.saturating_add(self.part));
        }
        Some(self.running(now))
    }

    /// Begins a scan over all devices.
    pub(super) fn begin_scan(&mut self) {
        self.next = Some(0);
    }

    /// Looks at some devices of the scan: what is to be forgotten, and what is to be listed as used.
    pub(super) fn scan(&self, state: &State) -> Option<(ForgetEntry, Scan)> {
        let from = self.next?;
        let now = state.running();
        let search = Search {
            from,
            before: now.saturating_sub(self.expiry).saturating_sub(self.part.saturating_mul(2)),
            touch: now.saturating_sub(self.part),
            scan_max: SCAN_MAX,
            list_max: self.list_max,
        };
        let mut entry = ForgetEntry { running_s: now, ..ForgetEntry::default() };
        let next = state.search(&search, |device| self.is_held(device), &mut entry);
        Some((entry, Scan { from, next }))
    }

    /// The findings of a scan are written.
    pub(super) fn scanned(&mut self, scan: Scan) {
        self.drop_unused(scan.from, scan.next);
        self.next = scan.next;
    }

    /// Drops devices that are no longer in use, from one on up to another.
    fn drop_unused(&mut self, from: u32, end: Option<u32>) {
        let range = (Bound::Included(from), end.map_or(Bound::Unbounded, Bound::Excluded));
        let gone = self.held.range(range).filter(|(_, held)| held.strong_count() == 0);
        let gone: Vec<u32> = gone.map(|(device, _)| *device).collect();
        gone.iter().for_each(|device| _ = self.held.remove(device));
    }

    pub(super) fn hold(&mut self, device: u32) -> Hold {
        Hold(self.held.get(&device).and_then(Weak::upgrade).unwrap_or_else(|| {
            let held = Arc::new(());
            self.held.insert(device, Arc::downgrade(&held));
            held
        }))
    }

    fn is_held(&self, device: u32) -> bool {
        self.held.get(&device).is_some_and(|held| held.strong_count() > 0)
    }
}
