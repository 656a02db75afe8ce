//! The series of one session, as its device knows them.

use std::collections::BTreeMap;

use catchment_journal::Disk;
use catchment_proto::{Labels, MetricName};

use crate::{
    intake::{Intake, MessageMeta, Reason, Refusal},
    shard::{Backpressure, SeriesFull, Shard},
};

/// Series indexes of a session that are kept in any case: trimming costs something.
const SESSION_SERIES_MAX: usize = 1024;

/// The device's indexes by those of the session, which grow by one with each series that is new to the session.
#[derive(Debug, Default)]
pub(super) struct SessionSeries {
    /// Index of the first that is kept.
    first: u32,
    /// The device's index of each, or `None` for a series that is refused.
    series: Vec<Option<u32>>,
    /// Series that the gateway's budget refuses, by index: they are looked up again when they are used, because the
    /// budget may have been raised.
    refused: BTreeMap<u32, RefusedSeries>,
}

/// A series for which the gateway's budget has no place.
#[derive(Debug)]
struct RefusedSeries {
    metric: MetricName,
    labels: Labels,
    full: SeriesFull,
}

impl SessionSeries {
    pub(super) fn get(&self, index: u32) -> Option<u32> {
        *self.series.get(index.checked_sub(self.first)? as usize)?
    }

    /// Which bound keeps a series from its place.
    pub(super) fn full(&self, index: u32) -> SeriesFull {
        self.refused.get(&index).map_or(SeriesFull::Device, |refused| refused.full)
    }

    /// Learns the device's index of each series that the session uses for the first time, or that was refused before.
    pub(super) fn learn_all<D: Disk>(
        &mut self,
        device: u32,
        intake: &Intake,
        series_max: usize,
        shard: &mut Shard<D>,
    ) -> Result<(), Backpressure> {
        for (index, metric, labels) in &intake.fresh {
            let known = shard.series(device, metric, labels)?;
            if let Err(full @ SeriesFull::Gateway(_)) = known {
                if self.refused.len() >= series_max {
                    self.refused.pop_first();
                }
                let refused = RefusedSeries { metric: metric.clone(), labels: labels.clone(), full };
                self.refused.insert(*index, refused);
            }
            self.learn(*index, known.ok());
        }
        if self.refused.is_empty() {
            return Ok(());
        }
        let mut last = None;
        for index in intake.readings.iter().map(|reading| reading.series) {
            if last.replace(index) == Some(index) {
                continue;
            }
            let Some(refused) = self.refused.get_mut(&index) else { continue };
            match shard.series(device, &refused.metric, &refused.labels)? {
                Err(full) => refused.full = full,
                Ok(known) => {
                    self.refused.remove(&index);
                    self.learn(index, Some(known));
                }
            }
        }
        Ok(())
    }

    fn learn(&mut self, index: u32, series: Option<u32>) {
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

    /// Keeps the newest entries, at least `least`: the session's current table ([`crate::intake::SeriesTable`]) has no
    /// more, and readings use its indexes. Not to be called while messages with older indexes are being taken.
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

/// The refusal of a message's readings of series for which there is no place.
pub(super) fn too_many_series(
    meta: &MessageMeta,
    count: u32,
    full: SeriesFull,
    series_max: usize,
) -> Refusal {
    let bound = match full {
        SeriesFull::Device => format!("a device may have {series_max} series, the gateway's series_max"),
        // Only the aggregator knows which bound is reached: it grants what is free bit by bit.
        SeriesFull::Gateway(max) => format!(
            "this gateway may have {max} series, as its aggregator says, until those are delivered: send again later; if that \
             lasts, raise the aggregator's series_per_gateway_max, series_per_site_max or store_series_max, or forget series"
        ),
    };
    Refusal {
        reason: Reason::TooManySeries,
        message: format!("{count} readings of new series: {bound}"),
        ordinal: meta.ordinal,
        seq: meta.seq,
        count,
    }
}
