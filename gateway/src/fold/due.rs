//! The order in which open windows fall due.
//!
//! On-time windows fall due by their end, late ones by the position at which they were opened; ties are broken by
//! device and series. Windows that have been open for too long also fall due, whatever their end: they were opened by
//! a wrong clock.
//!
//! Invariant: a window's rank does not depend on other windows. So damage that took some windows does not shift
//! others from one close into another.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use catchment_partial::{Timestamp, Width, Window};

use super::entry::{CloseEntry, LastClosed};

/// Key of an open window: device, series, window.
pub(super) type WindowKey = (u32, u32, Window);

/// Phases of a close.
const ON_TIME: u32 = 1;
const LATE: u32 = 2;
const STALE: u32 = 3;

/// The order in which a close takes windows: phase, end (the least time for late windows), position of opening (late
/// windows only), key.
pub(super) type Rank = (u32, Timestamp, u64, WindowKey);

impl LastClosed {
    /// The window of a rank, for the entry.
    pub(super) fn new((phase, _, opened, (device, series, window)): Rank) -> Self {
        Self { phase, opened, device, series, window: window.index(), width_ms: window.width().as_millis() }
    }

    /// The rank; `None` for a window out of range.
    pub(super) fn rank(&self) -> Option<Rank> {
        let window = Window::from_index(self.window, Width::from_millis(self.width_ms).ok()?)?;
        let end = if self.phase == LATE { Timestamp::MIN } else { window.end() };
        Some((self.phase, end, self.opened, (self.device, self.series, window)))
    }
}

impl CloseEntry {
    /// Positions before which late and on-time windows are due.
    fn bounds(&self) -> (u64, u64) {
        if self.all { (u64::MAX, u64::MAX) } else { (self.late_before, self.opened_before) }
    }
}

/// On-time windows of one end.
#[derive(Clone, Debug, PartialEq)]
struct Ending {
    /// No window here was opened before this position.
    opened: u64,
    /// Positions of opening.
    windows: BTreeMap<WindowKey, u64>,
}

/// Open windows in the order in which they fall due.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Due {
    on_time: BTreeMap<Timestamp, Ending>,
    late: BTreeSet<(u64, WindowKey)>,
    on_time_count: usize,
}

impl Due {
    pub(super) fn push_on_time(&mut self, part: u64, key: WindowKey) {
        let new = || Ending { opened: part, windows: BTreeMap::new() };
        let ending = self.on_time.entry(key.2.end()).or_insert_with(new);
        ending.opened = ending.opened.min(part);
        if ending.windows.insert(key, part).is_none() {
            self.on_time_count += 1;
        }
    }

    pub(super) fn push_late(&mut self, opened: u64, key: WindowKey) {
        self.late.insert((opened, key));
    }

    /// All open windows.
    pub(super) fn len(&self) -> usize {
        self.on_time_count + self.late.len()
    }

    /// Open windows for late readings.
    pub(super) fn late_len(&self) -> usize {
        self.late.len()
    }

    /// End of the on-time window that falls due first.
    pub(super) fn first_end(&self) -> Option<Timestamp> {
        self.on_time.keys().next().copied()
    }

    /// Position at which the late window that falls due first was opened.
    pub(super) fn first_late(&self) -> Option<u64> {
        self.late.first().map(|(opened, _)| *opened)
    }

    /// The on-time windows beyond an end that were opened before a position.
    fn stale(&self, end: Option<Timestamp>, before: u64) -> impl Iterator<Item = (Rank, WindowKey)> {
        let beyond = (end.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        // While clocks are correct this never looks at single windows.
        let endings = self.on_time.range(beyond).filter(move |(_, ending)| ending.opened < before);
        endings.flat_map(move |(end, ending)| {
            let old = ending.windows.iter().filter(move |(_, part)| **part < before);
            old.map(|(key, _)| ((STALE, *end, 0, *key), *key))
        })
    }

    /// Whether an on-time window was opened before a position.
    pub(super) fn is_stale(&self, before: u64) -> bool {
        self.stale(None, before).next().is_some()
    }

    /// The windows that a close takes, in its order.
    pub(super) fn taken_by(&self, entry: &CloseEntry) -> impl Iterator<Item = (Rank, WindowKey)> {
        let target = Timestamp::from_nanos(entry.watermark_ns);
        let (late_before, opened_before) = entry.bounds();
        let on_time = self
            .on_time
            .range(..=target)
            .flat_map(|(end, ending)| ending.windows.keys().map(|key| ((ON_TIME, *end, 0, *key), *key)));
        let late = self.late.iter().take_while(move |(opened, _)| *opened < late_before);
        let late = late.map(|(opened, key)| ((LATE, Timestamp::MIN, *opened, *key), *key));
        on_time.chain(late).chain(self.stale(Some(target), opened_before))
    }

    /// Removes the window of a rank.
    pub(super) fn remove(&mut self, (phase, end, opened, key): Rank) {
        if phase == LATE {
            self.late.remove(&(opened, key));
            return;
        }
        let Some(ending) = self.on_time.get_mut(&end) else { return };
        if ending.windows.remove(&key).is_some() {
            self.on_time_count -= 1;
        }
        if ending.windows.is_empty() {
            self.on_time.remove(&end);
        }
    }

    /// Open windows after a rank, or all of them, in order: on-time windows, then late ones.
    pub(super) fn after(&self, rank: Option<Rank>) -> impl Iterator<Item = Rank> {
        let (on_time_from, late_from) = match rank {
            None => (Some(None), None),
            Some((LATE, _, opened, key)) => (None, Some((opened, key))),
            Some((_, end, _, key)) => (Some(Some((end, key))), None),
        };
        let on_time = on_time_from.into_iter().flat_map(move |from| {
            let first = from.map_or(Bound::Unbounded, |(end, _)| Bound::Included(end));
            self.on_time.range((first, Bound::Unbounded)).flat_map(move |(end, ending)| {
                let after = from.filter(|(first, _)| first == end);
                let after = after.map_or(Bound::Unbounded, |(_, key)| Bound::Excluded(key));
                ending.windows.range((after, Bound::Unbounded)).map(|(key, _)| (ON_TIME, *end, 0, *key))
            })
        });
        let after = late_from.map_or(Bound::Unbounded, Bound::Excluded);
        let late = self.late.range((after, Bound::Unbounded));
        on_time.chain(late.map(|(opened, key)| (LATE, Timestamp::MIN, *opened, *key)))
    }

    /// All on-time windows in order, with the positions at which they were opened.
    #[cfg(test)]
    pub(super) fn on_time(&self) -> impl Iterator<Item = (u64, WindowKey)> {
        self.on_time.values().flat_map(|ending| ending.windows.iter().map(|(key, part)| (*part, *key)))
    }

    /// All late windows in order, with the positions at which they were opened.
    #[cfg(test)]
    pub(super) fn late(&self) -> impl Iterator<Item = (u64, WindowKey)> {
        self.late.iter().copied()
    }
}
