//! A device as the fold keeps it: its sequence numbers, its MQTT clients, its series with their open windows.
//!
//! Invariant: the number of a device, and of a series within its device, is never reused. So an entry of the journal
//! never means another device or series than the one it was made for, whichever entries damage took
//! ([`super::forget`]).

use std::collections::{BTreeMap, BTreeSet, btree_map};

use catchment_partial::{Partial, Parts, Window};
use catchment_proto::{Labels, MetricName, Name};
use hashbrown::HashMap;

use super::{
    client::Clients,
    metric_parts::MetricParts,
    windows::{Open, Windows},
};

/// Epochs of a device whose highest sequence number is kept; one more evicts the least recently used.
pub const DEVICE_EPOCHS_MAX: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) number: u32,
    /// When it was last used, by [`super::State::running`].
    pub(super) used: u32,
    pub(super) metric: MetricName,
    pub(super) labels: Labels,
    /// Optional parts of new windows: those of its metric by [`super::State::metric_parts`].
    pub(super) parts: Parts,
    pub(super) open: Windows,
}

impl Series {
    /// Its open window of an interval, opened at this position if it was not open, and whether it was opened.
    pub(super) fn window(&mut self, window: Window, position: u64, due_position: u64) -> (&mut Open, bool) {
        let (part, revision, parts) = (position, position, self.parts);
        let new = || Open { window, part, revision, due_position, partial: Partial::with_parts(parts) };
        self.open.get_or_open(window, new)
    }
}

/// Series in the order of their numbers. Most devices have forgotten none; then a number is an index in the list.
#[derive(Clone, Debug, Default)]
pub(super) struct SeriesList {
    list: Vec<Series>,
    next: u32,
}

impl SeriesList {
    fn place(&self, number: u32) -> Result<usize, usize> {
        let at = number as usize;
        if self.list.get(at).is_some_and(|series| series.number == number) {
            return Ok(at);
        }
        self.list.binary_search_by_key(&number, |series| series.number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Series> {
        self.list.get(self.place(number).ok()?)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Series> {
        let at = self.place(number).ok()?;
        self.list.get_mut(at)
    }

    /// The first of these numbers that is unknown.
    pub(super) fn first_unknown(&self, numbers: &[u32]) -> Option<u32> {
        let whole = self.list.len() == self.next as usize;
        numbers.iter().copied().find(|number| match whole {
            true => *number >= self.next,
            false => self.place(*number).is_err(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Number of the next new series.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// New series get this number or a higher one.
    pub(super) fn skip_to(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Series> {
        self.list.iter()
    }

    /// Series from a number on, in order.
    pub(super) fn from(&self, number: u32) -> impl Iterator<Item = &Series> {
        let (Ok(at) | Err(at)) = self.place(number);
        self.list.get(at..).unwrap_or_default().iter()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Series> {
        self.list.iter_mut()
    }

    fn insert(&mut self, series: Series) {
        self.skip_to(series.number.saturating_add(1));
        if let Err(at) = self.place(series.number) {
            if self.list.is_empty() {
                self.list.reserve_exact(1);
            }
            self.list.insert(at, series);
        }
    }

    /// Removes the series for which `is_asked` holds.
    fn extract(&mut self, mut is_asked: impl FnMut(&Series) -> bool) -> Vec<Series> {
        self.list.extract_if(.., |series| is_asked(series)).collect()
    }
}

/// Highest sequence number taken of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceEpoch {
    pub(super) text: Box<str>,
    pub(super) highest: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: Name,
    /// When it was last used, by [`super::State::running`].
    pub(super) used: u32,
    /// The most recently used last.
    pub(super) epochs: Vec<DeviceEpoch>,
    /// Readings taken without a sequence number.
    pub(super) unnumbered: u64,
    /// MQTT clients whose sessions are kept.
    pub(super) clients: Clients,
    pub(super) series: SeriesList,
    /// Open windows of all of its series.
    pub(super) open_windows: usize,
    pub(super) index: HashMap<Labels, HashMap<MetricName, u32>>,
}

impl Device {
    pub(super) fn new(name: Name, used: u32) -> Self {
        Self {
            name,
            used,
            epochs: Vec::new(),
            unnumbered: 0,
            clients: Clients::default(),
            series: SeriesList::default(),
            open_windows: 0,
            index: HashMap::new(),
        }
    }

    /// Adds a series, last used at a time, whose windows carry these parts.
    pub(super) fn add_series(
        &mut self,
        number: u32,
        metric: MetricName,
        labels: Labels,
        (used, parts): (u32, Parts),
    ) {
        // Of two with one name the newest is in use: damage may have taken the entry that forgot the older one.
        let newest = self.index.entry(labels.clone()).or_default().entry(metric.clone()).or_insert(number);
        *newest = number.max(*newest);
        self.series.insert(Series { number, used, metric, labels, parts, open: Windows::default() });
    }

    /// Removes those of these series that have no open window, and returns them.
    pub(super) fn forget_series(&mut self, numbers: &[u32]) -> Vec<Series> {
        let numbers: BTreeSet<u32> = numbers.iter().copied().collect();
        let gone = self.series.extract(|series| series.open.is_empty() && numbers.contains(&series.number));
        for series in &gone {
            let Some(metrics) = self.index.get_mut(&series.labels) else { continue };
            if metrics.get(&series.metric) == Some(&series.number) {
                metrics.remove(&series.metric);
            }
            if metrics.is_empty() {
                self.index.remove(&series.labels);
            }
        }
        gone
    }

    /// Whether to advance these epochs to these numbers, in this order, changes nothing: they are the most recently
    /// used ones, in this order, and have got so far already. The empty epoch stands for readings without number.
    pub(super) fn has_reached(&self, epochs: &[String], highest: &[u64]) -> bool {
        let listed = || epochs.iter().zip(highest).filter(|(epoch, _)| !epoch.is_empty());
        let from = self.epochs.len().checked_sub(listed().count());
        let Some(known) = from.and_then(|from| self.epochs.get(from..)) else { return false };
        let mut unnumbered = epochs.iter().zip(highest).filter(|(epoch, _)| epoch.is_empty());
        let same = |(known, (epoch, highest)): (&DeviceEpoch, (&String, &u64))| {
            *known.text == **epoch && known.highest >= *highest
        };
        known.iter().zip(listed()).all(same) && unnumbered.all(|(_, n)| self.unnumbered >= *n)
    }

    /// Advances an epoch, or the number of readings without number.
    pub(super) fn advance(&mut self, epoch: &str, seq: u64) {
        if epoch.is_empty() {
            self.unnumbered = self.unnumbered.max(seq);
            return;
        }
        let known = self.epochs.iter().position(|e| &*e.text == epoch);
        let mut entry = match known {
            Some(at) => self.epochs.remove(at),
            None => DeviceEpoch { text: epoch.into(), highest: 0 },
        };
        entry.highest = entry.highest.max(seq);
        if self.epochs.len() >= DEVICE_EPOCHS_MAX {
            self.epochs.remove(0);
        }
        self.epochs.push(entry);
    }
}

/// Devices by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    known: BTreeMap<u32, Box<Device>>,
    next: u32,
}

impl Devices {
    pub(super) fn get(&self, number: u32) -> Option<&Device> {
        self.known.get(&number).map(|device| &**device)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Device> {
        self.known.get_mut(&number).map(|device| &mut **device)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Number of the next new device.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// New devices get this number or a higher one.
    pub(super) fn skip_to(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    pub(super) fn insert(&mut self, number: u32, device: Device) {
        self.skip_to(number.saturating_add(1));
        if let btree_map::Entry::Vacant(place) = self.known.entry(number) {
            place.insert(Box::new(device));
        }
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Box<Device>> {
        self.known.remove(&number)
    }

    /// Sets the parts of all series.
    pub(super) fn resolve_parts(&mut self, metric_parts: &MetricParts) {
        for series in self.known.values_mut().flat_map(|device| device.series.iter_mut()) {
            series.parts = metric_parts.of(series.metric.as_str());
        }
    }

    /// Devices from a number on, in order.
    pub(super) fn from(&self, number: u32) -> impl Iterator<Item = (u32, &Device)> {
        self.known.range(number..).map(|(number, device)| (*number, &**device))
    }
}
