//! A query that is watched, shared by all subscriptions to it: its series in groups, which grow as series appear.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use catchment_proto::GatewayId;
use hashbrown::HashSet;

use super::{error::WatchError, request::TO_MS, subscription::Subscription};
use crate::{
    query::{
        merge::{Group, Groups},
        plan::{Plan, Range},
        read::Query,
    },
    store::{SeriesEntry, SeriesId, Store},
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
    by_labels: HashMap<BTreeMap<String, String>, u32>,
    pub(super) gateways: HashSet<GatewayId>,
    pub(super) series: usize,
    /// Approximate memory.
    pub(super) bytes: usize,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn Store>, plan: Plan, key: Vec<u8>, hash: u64) -> Self {
        let mut query = Query::new(store, plan);
        query.slice_points = query.slice_points.min(SLICE_POINTS);
        let selected = Selected {
            phase: Phase::New,
            groups: Vec::new(),
            by_labels: HashMap::new(),
            gateways: HashSet::new(),
            series: 0,
            bytes: 0,
        };
        Self {
            query: Arc::new(query),
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

    /// Whether a series belongs to it.
    pub(super) fn matches(&self, entry: &SeriesEntry) -> bool {
        self.query.plan.selector.matches(&entry.gateway, &entry.key)
    }

    /// An empty grouping of its series.
    pub(super) fn grouping(&self) -> Groups {
        Groups::new(&self.query.plan.by)
    }

    /// The whole points that hold windows which start in [from, to), Unix milliseconds.
    pub(super) fn points(&self, from_ms: i64, to_ms: i64) -> (i64, i64) {
        let range = &self.query.plan.range;
        let first = point_start(range, from_ms);
        (first, point_end(range, point_start(range, to_ms.saturating_sub(1).max(from_ms))))
    }

    /// A part of the range of all times.
    pub(super) fn range(&self, from_ms: i64, to_ms: i64) -> Range {
        Range { from_ms, to_ms, ..self.query.plan.range }
    }
}

impl Selected {
    /// Adds the series of a group that is new or known already; returns its number.
    ///
    /// # Errors
    /// There are more than `series_max`.
    pub(super) fn add(&mut self, group: Group, series_max: usize) -> Result<u32, WatchError> {
        self.series += group.series.len();
        if self.series > series_max {
            return Err(WatchError::Series { max: series_max });
        }
        self.bytes += group.series.len() * SERIES_BYTES;
        if let Some(number) = self.by_labels.get(&group.labels).copied() {
            if let Some(known) = self.groups.get_mut(number as usize) {
                Arc::make_mut(known).series.extend(group.series);
            }
            return Ok(number);
        }
        // Labels twice, and a few dirty ranges.
        let labels: usize = group.labels.iter().map(|(name, value)| name.len() + value.len() + 96).sum();
        self.bytes += GROUP_BYTES + 2 * labels;
        let number = self.groups.len() as u32;
        self.by_labels.insert(group.labels.clone(), number);
        self.groups.push(Arc::new(group));
        Ok(number)
    }

    /// The group of each series.
    pub(super) fn by_series(&self) -> HashMap<u32, u32> {
        let series = |(number, group): (u32, &Arc<Group>)| {
            group.series.iter().map(move |SeriesId(series)| (*series, number)).collect::<Vec<_>>()
        };
        (0..).zip(&self.groups).flat_map(series).collect()
    }
}

/// Start of the point that contains a time.
pub(super) fn point_start(range: &Range, ms: i64) -> i64 {
    range.point(ms)
}

/// Start of the next point.
pub(super) fn point_end(range: &Range, point_ms: i64) -> i64 {
    let (first, _) = Range { from_ms: point_ms, to_ms: TO_MS, ..*range }.split(1);
    first.to_ms
}
