//! The order in which open windows fall due.
//!
//! On-time windows by their end, late ones by the position at which they were opened. Windows leave at the front
//! only, so the index never holds one that is closed.

use std::collections::{BTreeMap, VecDeque};

use catchment_partial::{Timestamp, Window};

/// Where an open window lives: device, series, window.
pub(super) type Place = (u32, u32, Window);

/// Open windows in the order in which they fall due.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Due {
    on_time: BTreeMap<Timestamp, VecDeque<Place>>,
    late: VecDeque<(u64, Place)>,
    on_time_count: usize,
}

impl Due {
    pub(super) fn push_on_time(&mut self, place: Place) {
        self.on_time.entry(place.2.end()).or_default().push_back(place);
        self.on_time_count += 1;
    }

    pub(super) fn push_late(&mut self, part: u64, place: Place) {
        debug_assert!(self.late.back().is_none_or(|(last, _)| *last <= part), "positions only grow");
        self.late.push_back((part, place));
    }

    /// Open windows in all.
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
        self.late.front().map(|(part, _)| *part)
    }

    /// The on-time window that falls due first, if it ends by then.
    pub(super) fn peek_on_time(&self, watermark: Timestamp) -> Option<Place> {
        let (end, places) = self.on_time.first_key_value()?;
        if *end > watermark {
            return None;
        }
        places.front().copied()
    }

    /// The late window that falls due first, if it was opened before.
    pub(super) fn peek_late(&self, before: u64) -> Option<Place> {
        self.late.front().filter(|(part, _)| *part < before).map(|(_, place)| *place)
    }

    pub(super) fn pop_on_time(&mut self) {
        let Some(mut places) = self.on_time.first_entry() else { return };
        if places.get_mut().pop_front().is_some() {
            self.on_time_count -= 1;
        }
        if places.get().is_empty() {
            places.remove();
        }
    }

    pub(super) fn pop_late(&mut self) {
        self.late.pop_front();
    }

    /// All on-time windows in order.
    pub(super) fn on_time(&self) -> impl Iterator<Item = Place> {
        self.on_time.values().flatten().copied()
    }

    /// All late windows in order, with the positions at which they were opened.
    pub(super) fn late(&self) -> impl Iterator<Item = (u64, Place)> {
        self.late.iter().copied()
    }
}
