//! The series of one session, as its device knows them.

use std::collections::BTreeMap;

use catchment_proto::{Labels, MetricName};

use crate::shard::SeriesFull;

/// What a session's series indexes mean, which grow by one with each series that is new to the session.
#[derive(Debug, Default)]
pub(super) struct SessionSeries {
    /// Index of the first that is kept.
    first: u32,
    /// The device's index of each, or `None` for a series that is refused.
    series: Vec<Option<u32>>,
    /// Those that the gateway's budget refuses, by index: they are looked up again when they are used, because it may have
    /// been raised.
    pub(super) refused: BTreeMap<u32, RefusedSeries>,
}

/// A series for which the gateway's budget has no place.
#[derive(Debug)]
pub(super) struct RefusedSeries {
    pub(super) metric: MetricName,
    pub(super) labels: Labels,
    pub(super) full: SeriesFull,
}

impl SessionSeries {
    pub(super) fn get(&self, index: u32) -> Option<u32> {
        *self.series.get(index.checked_sub(self.first)? as usize)?
    }

    /// Which bound keeps a series from its place.
    pub(super) fn full(&self, index: u32) -> SeriesFull {
        self.refused.get(&index).map_or(SeriesFull::Device, |refused| refused.full)
    }

    pub(super) fn learn(&mut self, index: u32, series: Option<u32>) {
        if let Some(known) = index.checked_sub(self.first).and_then(|at| self.series.get_mut(at as usize)) {
            *known = series;
            return;
        }
        if self.series.is_empty() {
            self.first = index;
            self.series.reserve_exact(1);
        }
        self.series.push(series);
    }

    /// Keeps the last ones, at least `least`: readings come with the indexes of the session's table as it stands, which
    /// has no more ([`crate::intake::SeriesTable`]). Not while messages are at hand that may use any index of theirs.
    pub(super) fn trim(&mut self, least: usize) {
        if self.series.len() < least.saturating_mul(4).max(SESSION_SERIES_MAX) {
            return;
        }
        let old = self.series.len() - least;
        self.series.drain(..old);
        self.series.shrink_to(SESSION_SERIES_MAX.max(least));
        self.first = self.first.saturating_add(u32::try_from(old).unwrap_or(u32::MAX));
        self.refused = self.refused.split_off(&self.first);
    }
}

/// Series indexes of a session that are kept in any case: trimming costs something.
const SESSION_SERIES_MAX: usize = 1024;
