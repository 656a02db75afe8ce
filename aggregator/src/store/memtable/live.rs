//! Live windows: the state so far of open windows, by name and revision, kept only here.
//!
//! The highest revision of each name is kept. Bytes are counted, in total and by gateway, and both are limited: what one
//! gateway holds leaves room for the others.

use std::{
    collections::{BTreeMap, HashMap, btree_map},
    ops::Bound,
};

use bytes::Bytes;
use catchment_partial::Timestamp;

use crate::store::{
    memtable::{
        row::{PartialName, Row},
        scan::cost,
    },
    tables::fresh::FreshRows,
};

/// Memory of a row without its body, bytes: name, revision, handles, its share of tree and allocator.
pub(in crate::store) const ROW_OVERHEAD: usize = 200;

/// A partial without its name.
#[derive(Debug)]
struct LiveValue {
    revision: u64,
    body: Bytes,
}

/// Rows by series and name.
#[derive(Debug, Default)]
pub(in crate::store) struct Windows {
    series: BTreeMap<u32, BTreeMap<PartialName, LiveValue>>,
    bytes: usize,
    rows: usize,
}

impl Windows {
    /// Puts a row, unless there is one of the same name with the same or a higher revision. Returns whether it was
    /// put.
    pub(in crate::store) fn put(
        &mut self,
        series: u32,
        name: PartialName,
        revision: u64,
        body: Bytes,
    ) -> bool {
        match self.series.entry(series).or_default().entry(name) {
            btree_map::Entry::Vacant(slot) => {
                self.bytes += body.len() + ROW_OVERHEAD;
                self.rows += 1;
                slot.insert(LiveValue { revision, body });
            }
            btree_map::Entry::Occupied(mut slot) if slot.get().revision < revision => {
                self.bytes = (self.bytes + body.len()).saturating_sub(slot.get().body.len());
                slot.insert(LiveValue { revision, body });
            }
            btree_map::Entry::Occupied(_) => return false,
        }
        true
    }

    /// Drops the row of this name, unless its revision is higher.
    pub(in crate::store) fn drop_up_to(&mut self, series: u32, name: &PartialName, revision: u64) {
        let Some(windows) = self.series.get_mut(&series) else { return };
        if windows.get(name).is_some_and(|value| value.revision <= revision) {
            let body = windows.remove(name).map_or(0, |value| value.body.len());
            self.bytes = self.bytes.saturating_sub(body + ROW_OVERHEAD);
            self.rows = self.rows.saturating_sub(1);
        }
        if windows.is_empty() {
            self.series.remove(&series);
        }
    }

    /// Drops the windows of a series that end at or before a time; returns how many.
    pub(in crate::store) fn drop_before(&mut self, series: u32, before: Timestamp) -> u64 {
        let Some(windows) = self.series.get(&series) else { return 0 };
        let started = windows.range(..PartialName::first_from(before));
        let gone: Vec<(PartialName, u64)> = started
            .filter(|(name, _)| name.window().end() <= before)
            .map(|(n, value)| (*n, value.revision))
            .collect();
        for (name, revision) in &gone {
            self.drop_up_to(series, name, *revision);
        }
        gone.len() as u64
    }

    /// Whether a series has rows.
    pub(in crate::store) fn holds(&self, series: u32) -> bool {
        self.series.contains_key(&series)
    }

    /// Bytes of the rows, including overhead.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of rows.
    pub(in crate::store) fn len(&self) -> usize {
        self.rows
    }
}

/// Part of the memory for live windows that one gateway may use.
const GATEWAY_PART: usize = 4;

/// Limits of live windows, bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct LiveLimits {
    /// Of one gateway.
    pub(in crate::store) gateway: usize,
    /// Of all together.
    pub(in crate::store) total: usize,
}

impl LiveLimits {
    /// The limits for this much memory.
    pub(in crate::store) fn of(total: usize) -> Self {
        Self { gateway: total / GATEWAY_PART, total }
    }
}

/// Which limit leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum NoRoom {
    Gateway,
    Total,
}

/// The windows of one gateway, by epoch.
#[derive(Debug, Default)]
struct OfGateway {
    epochs: HashMap<u32, Windows>,
    bytes: usize,
}

/// How far a scan of the live windows of a series has come: the epoch that it reads, and the last name.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct LiveCursor {
    epoch: u32,
    after: Option<PartialName>,
}

/// State of open windows, by gateway and the epoch that delivered it, which may not be that of their names; dropped when
/// the last stream of that epoch ends.
#[derive(Debug, Default)]
pub(in crate::store) struct Live {
    gateways: HashMap<u32, OfGateway>,
    bytes: usize,
}

impl Live {
    /// Puts a row that an epoch has delivered; see [`Windows::put`].
    ///
    /// # Errors
    /// It would exceed a limit.
    pub(in crate::store) fn put(
        &mut self,
        gateway: u32,
        epoch: u32,
        row: Row,
        limits: LiveLimits,
    ) -> Result<bool, NoRoom> {
        // A row that takes the place of another needs room only for what it has more.
        let bytes = (row.body.len() + ROW_OVERHEAD).saturating_sub(self.bytes_of_row(gateway, epoch, &row));
        if self.bytes_of(gateway).saturating_add(bytes) > limits.gateway {
            return Err(NoRoom::Gateway);
        }
        if self.bytes.saturating_add(bytes) > limits.total {
            return Err(NoRoom::Total);
        }
        Ok(self.change(gateway, epoch, |w| w.put(row.series, row.name, row.revision, row.body)))
    }

    /// Bytes of the row that an epoch has under the name of this one.
    fn bytes_of_row(&self, gateway: u32, epoch: u32, row: &Row) -> usize {
        let windows = self.gateways.get(&gateway).and_then(|known| known.epochs.get(&epoch));
        let names = windows.and_then(|windows| windows.series.get(&row.series));
        names.and_then(|names| names.get(&row.name)).map_or(0, |value| value.body.len() + ROW_OVERHEAD)
    }

    fn bytes_of(&self, gateway: u32) -> usize {
        self.gateways.get(&gateway).map_or(0, |known| known.bytes)
    }

    fn windows_of(&self, gateway: u32) -> impl Iterator<Item = (u32, &Windows)> {
        let epochs = self.gateways.get(&gateway).into_iter().flat_map(|known| &known.epochs);
        epochs.map(|(epoch, windows)| (*epoch, windows))
    }

    /// A final row of this name has arrived: drops live ones that are not newer.
    pub(in crate::store) fn supersede(
        &mut self,
        gateway: u32,
        series: u32,
        name: &PartialName,
        revision: u64,
    ) {
        let Some(known) = self.gateways.get_mut(&gateway) else { return };
        for windows in known.epochs.values_mut() {
            let before = windows.bytes();
            windows.drop_up_to(series, name, revision);
            let dropped = before.saturating_sub(windows.bytes());
            known.bytes = known.bytes.saturating_sub(dropped);
            self.bytes = self.bytes.saturating_sub(dropped);
        }
    }

    /// Visits the names of the rows of an epoch, series by series.
    pub(in crate::store) fn each_name(
        &self,
        gateway: u32,
        epoch: u32,
        mut visit: impl FnMut(u32, &PartialName),
    ) {
        let windows = self.gateways.get(&gateway).and_then(|known| known.epochs.get(&epoch));
        for (series, names) in windows.into_iter().flat_map(|windows| &windows.series) {
            names.keys().for_each(|name| visit(*series, name));
        }
    }

    /// Drops everything of an epoch.
    pub(in crate::store) fn drop_epoch(&mut self, gateway: u32, epoch: u32) {
        let Some(known) = self.gateways.get_mut(&gateway) else { return };
        if let Some(windows) = known.epochs.remove(&epoch) {
            known.bytes = known.bytes.saturating_sub(windows.bytes());
            self.bytes = self.bytes.saturating_sub(windows.bytes());
        }
        if known.epochs.is_empty() {
            self.gateways.remove(&gateway);
        }
    }

    /// Drops the windows of a series that end at or before a time.
    pub(in crate::store) fn drop_before(&mut self, gateway: u32, series: u32, before: Timestamp) {
        let epochs: Vec<u32> = self.windows_of(gateway).map(|(epoch, _)| epoch).collect();
        for epoch in epochs {
            self.change(gateway, epoch, |windows| windows.drop_before(series, before));
        }
    }

    /// Drops all windows of a series.
    pub(in crate::store) fn drop_series(&mut self, gateway: u32, series: u32) {
        self.drop_before(gateway, series, Timestamp::MAX);
    }

    /// Continues to copy the rows of a series that start from a time on, as long as the budget lasts; returns whether
    /// all were copied. Rows that come or change meanwhile may be missed.
    pub(in crate::store) fn scan(
        &self,
        (gateway, series): (u32, u32),
        from: Timestamp,
        cursor: &mut LiveCursor,
        budget: &mut usize,
        rows: &mut FreshRows,
    ) -> bool {
        let Some(OfGateway { epochs, .. }) = self.gateways.get(&gateway) else { return true };
        let mut numbers: Vec<u32> = epochs.keys().copied().filter(|epoch| *epoch >= cursor.epoch).collect();
        numbers.sort_unstable();
        for epoch in numbers {
            if epoch != cursor.epoch {
                *cursor = LiveCursor { epoch, after: None };
            }
            let first = match cursor.after {
                Some(name) => Bound::Excluded(name),
                None => Bound::Included(PartialName::first_from(from)),
            };
            let windows = epochs.get(&epoch).and_then(|windows| windows.series.get(&series));
            for (name, value) in windows.into_iter().flat_map(|names| names.range((first, Bound::Unbounded)))
            {
                if name.start >= rows.to() {
                    break;
                }
                if *budget == 0 {
                    return false;
                }
                *budget = budget.saturating_sub(cost(&value.body));
                rows.push(*name, value.revision, &value.body);
                cursor.after = Some(*name);
            }
            *cursor = LiveCursor { epoch: epoch.saturating_add(1), after: None };
        }
        true
    }

    /// The windows of a gateway's epochs.
    pub(in crate::store) fn of(&self, gateway: u32) -> impl Iterator<Item = &Windows> {
        self.windows_of(gateway).map(|(_, windows)| windows)
    }

    /// Bytes of the rows, including overhead.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the rows of the gateway that has the most.
    pub(in crate::store) fn bytes_most(&self) -> usize {
        self.gateways.values().map(|known| known.bytes).max().unwrap_or(0)
    }

    /// Number of rows.
    pub(in crate::store) fn len(&self) -> usize {
        self.gateways.values().flat_map(|known| known.epochs.values()).map(Windows::len).sum()
    }

    /// Changes the windows of an epoch and keeps the sums of bytes correct.
    fn change<T>(&mut self, gateway: u32, epoch: u32, change: impl FnOnce(&mut Windows) -> T) -> T {
        let known = self.gateways.entry(gateway).or_default();
        let windows = known.epochs.entry(epoch).or_default();
        let before = windows.bytes();
        let result = change(windows);
        known.bytes = (known.bytes + windows.bytes()).saturating_sub(before);
        self.bytes = (self.bytes + windows.bytes()).saturating_sub(before);
        result
    }
}
