//! A query that is watched, shared by all subscriptions to it: its series in groups, which grow as series appear.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{error::WatchError, gateways::Gateways, request::TO_MS, subscription::Subscription};
use crate::{
    query::{
        groups::{Group, Groups},
        plan::Plan,
        range::Range,
        read::Query,
    },
    store::{QueryStore, SeriesEntry, SeriesId, Steps},
};

/// Approximate memory of a series in its group and in the hub, and of a group without its labels.
const SERIES_BYTES: usize = 64;
const GROUP_BYTES: usize = 256;
/// Points that a round reads at once.
const SLICE_POINTS: usize = 1_024;

/// How far the series are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has begun.
    New,
    /// A subscription's work is selecting them; new series are matched already.
    Selecting,
    /// All are known.
    Ready,
}

/// A query that is watched.
pub(super) struct Watched {
    pub(super) query: Arc<Query>,
    /// Its points end here: the last of the steps that are listed, if they are. Unix milliseconds.
    end_ms: i64,
    /// The request without its range.
    pub(super) key: Vec<u8>,
    pub(super) hash: u64,
    selected: Mutex<Selected>,
    /// Those that are told of changes; their number decides whether results are kept for others.
    pub(super) subscribers: Mutex<Vec<Arc<Subscription>>>,
}

/// The series of a query.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) phase: Phase,
    pub(super) groups: Vec<Arc<Group>>,
    by_labels: HashMap<(u32, BTreeMap<String, String>), u32>,
    pub(super) gateways: Gateways,
    pub(super) series: usize,
    /// Approximate memory.
    pub(super) bytes: usize,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn QueryStore>, plan: Plan, key: Vec<u8>, hash: u64) -> Self {
        let mut query = Query::new(store, plan);
        query.slice_points = query.slice_points.min(SLICE_POINTS);
        let end_ms = match &query.plan.range.steps {
            Steps::At(starts) => starts.last().copied().unwrap_or(TO_MS),
            Steps::Whole | Steps::Every(_) => TO_MS,
        };
        let selected = Selected {
            phase: Phase::New,
            groups: Vec::new(),
            by_labels: HashMap::new(),
            gateways: Gateways::default(),
            series: 0,
            bytes: query.plan.bytes(),
        };
        Self {
            query: Arc::new(query),
            end_ms,
            key,
            hash,
            selected: Mutex::new(selected),
            subscribers: Mutex::default(),
        }
    }

    /// Its series. Locked after the hub, before a subscription.
    pub(super) fn selected(&self) -> MutexGuard<'_, Selected> {
        self.selected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are told of changes.
    pub(super) fn subscribers(&self) -> MutexGuard<'_, Vec<Arc<Subscription>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A series in its groups: one for each selector that selects it.
    pub(super) fn groups_of(&self, entry: &SeriesEntry) -> Vec<Group> {
        let mut groups = self.grouping();
        for (number, selector) in self.query.plan.selectors.iter().enumerate() {
            if selector.matches(&entry.gateway, &entry.key) {
                groups.push(number as u32, entry);
            }
        }
        groups.into_groups().map(Arc::unwrap_or_clone).collect()
    }

    /// An empty grouping of its series.
    pub(super) fn grouping(&self) -> Groups {
        Groups::new(&self.query.plan.grouping)
    }

    /// The whole points that hold windows which start in [from, to), Unix milliseconds.
    pub(super) fn points(&self, from_ms: i64, to_ms: i64) -> (i64, i64) {
        let range = &self.query.plan.range;
        let last_ms = to_ms.saturating_sub(1).max(from_ms);
        let end_ms = range.steps.end_of(last_ms).unwrap_or(TO_MS);
        (range.point(from_ms), end_ms.min(self.end_ms))
    }

    /// A part of the range of all times.
    pub(super) fn range(&self, from_ms: i64, to_ms: i64) -> Range {
        Range { from_ms, to_ms: to_ms.min(self.end_ms), steps: self.query.plan.range.steps.clone() }
    }
}

impl Selected {
    /// Adds the series of a group that is new or known already; returns its number.
    ///
    /// # Errors
    /// There are more than `series_max`.
    pub(super) fn add(&mut self, mut group: Group, series_max: usize) -> Result<u32, WatchError> {
        self.series += group.series.len();
        if self.series > series_max {
            return Err(WatchError::Series { max: series_max });
        }
        self.bytes += group.series.len() * SERIES_BYTES;
        let labels = (group.selector, group.labels.clone());
        if let Some(number) = self.by_labels.get(&labels).copied() {
            if let Some(known) = self.groups.get_mut(number as usize) {
                let known = Arc::make_mut(known);
                known.series.extend(group.series);
                known.rows = (known.rows.0.min(group.rows.0), known.rows.1.max(group.rows.1));
            }
            return Ok(number);
        }
        // Labels twice, and a few dirty ranges.
        let texts: usize = group.labels.iter().map(|(name, value)| name.len() + value.len() + 96).sum();
        self.bytes += GROUP_BYTES + 2 * texts;
        let number = self.groups.len() as u32;
        self.by_labels.insert(labels, number);
        group.number = number as usize;
        self.groups.push(Arc::new(group));
        Ok(number)
    }
}

/// The series of groups and the numbers of these, sorted.
pub(super) fn by_series(groups: &[Arc<Group>]) -> Vec<(SeriesId, u32)> {
    let mut all = Vec::with_capacity(groups.iter().map(|group| group.series.len()).sum());
    for (number, group) in (0..).zip(groups) {
        all.extend(group.series.iter().map(|series| (*series, number)));
    }
    all.sort_unstable();
    all
}
