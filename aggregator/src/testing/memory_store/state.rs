//! What the store holds.

use std::{collections::BTreeMap, sync::Arc};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, GatewayId, SeriesKey};

use super::Fault;
use crate::store::{
    GatewayEntry, GatewayEpoch, LateAndRefused, RunDelivered, SeriesEntry, SeriesId, hour_of,
};

/// Series, window, epoch, shard and part.
pub(super) type RowName = (SeriesId, Window, u64, u32, u64);

#[derive(Clone)]
pub(super) struct Row {
    pub(super) revision: u64,
    pub(super) partial: Partial,
    /// The epoch that delivered it.
    pub(super) epoch: u64,
}

pub(super) type Rows = BTreeMap<RowName, Row>;

/// A gateway, and the identity of one of its data folders.
pub(super) type Folder = (GatewayId, u64);

/// The run of a folder that delivers.
pub(super) struct CurrentRun {
    pub(super) run: u64,
    pub(super) streams: u64,
}

#[derive(Default)]
pub(super) struct State {
    /// By number; `None`: forgotten.
    pub(super) series: Vec<Option<(GatewayId, SeriesKey)>>,
    pub(super) gateways: Vec<GatewayEntry>,
    /// Watermarks by gateway and shard.
    pub(super) watermarks: BTreeMap<(GatewayId, u32), Timestamp>,
    /// When folders that delivered were created.
    pub(super) created_ms: BTreeMap<Folder, i64>,
    /// The runs that delivered, in order, each with its highest number, by folder and shard.
    pub(super) delivered: BTreeMap<(Folder, u32), Vec<RunDelivered>>,
    /// Of the folders with streams, or whose run has begun.
    pub(super) runs: BTreeMap<Folder, CurrentRun>,
    pub(super) rows: Rows,
    pub(super) live: Rows,
    pub(super) fault: Option<Fault>,
    pub(super) failed: Option<Arc<str>>,
    pub(super) closed: bool,
    pub(super) puts: u64,
    pub(super) budget: Option<u64>,
    pub(super) gone: Option<Arc<str>>,
}

pub(super) fn folder(epoch: &GatewayEpoch) -> Folder {
    (epoch.gateway.clone(), epoch.id)
}

impl State {
    /// What queries see: of each name the highest revision.
    pub(super) fn seen(&self, series: SeriesId) -> BTreeMap<&RowName, &Row> {
        let mut seen: BTreeMap<&RowName, &Row> =
            self.rows.iter().filter(|(name, _)| name.0 == series).collect();
        for (name, row) in self.live.iter().filter(|(name, _)| name.0 == series) {
            let shown = seen.entry(name).or_insert(row);
            if shown.revision < row.revision {
                *shown = row;
            }
        }
        seen
    }

    /// The gateway's entry in the list, which it has from now on.
    pub(super) fn gateway(&mut self, epoch: &GatewayEpoch) -> &mut GatewayEntry {
        let of = |entry: &GatewayEntry| entry.epoch.gateway == epoch.gateway;
        let at = self.gateways.iter().position(of).unwrap_or_else(|| {
            self.gateways.push(GatewayEntry {
                epoch: epoch.clone(),
                watermark: None,
                gaps: Vec::new(),
                series: 0,
                series_max: None,
                retired: false,
                hours: Arc::default(),
            });
            self.gateways.len() - 1
        });
        &mut self.gateways[at]
    }

    /// Counts late corrections and refused readings of a new batch.
    pub(super) fn count_hours(&mut self, epoch: &GatewayEpoch, batch: &Batch) {
        let delivered_to = self.watermarks.get(&(epoch.gateway.clone(), batch.shard)).copied();
        let hours = Arc::make_mut(&mut self.gateway(epoch).hours);
        let windows = batch.entries.iter().map(|entry| entry.window);
        for window in windows.filter(|window| Some(window.end()) <= delivered_to) {
            hours.add(hour_of(window.start().as_millis()), LateAndRefused { late: 1, refused: 0 }, 1_000);
        }
        for refused in &batch.refused {
            hours.add(refused.hour, LateAndRefused { late: 0, refused: refused.readings }, 1_000);
        }
    }

    /// Highest batch number of a shard.
    pub(super) fn highest(&self, epoch: &GatewayEpoch, shard: u32) -> u64 {
        let runs = self.delivered.get(&(folder(epoch), shard));
        runs.and_then(|runs| runs.last()).map_or(0, |run| run.number)
    }

    /// Whether another run of the same folder has begun since.
    pub(super) fn is_superseded(&self, epoch: &GatewayEpoch) -> bool {
        self.runs.get(&folder(epoch)).is_some_and(|current| current.run != epoch.run)
    }

    pub(super) fn drop_live(&mut self, epoch: &GatewayEpoch) {
        let Self { series, live, .. } = self;
        let of = |id: SeriesId| series[id.number() as usize].as_ref().is_some_and(|of| of.0 == epoch.gateway);
        live.retain(|name, row| row.epoch != epoch.id || !of(name.0));
    }

    /// A series as listed, if it has rows.
    pub(super) fn listed(&self, number: usize) -> Option<SeriesEntry> {
        let (gateway, key) = self.series.get(number)?.clone()?;
        let id = SeriesId::new(number as u64);
        let rows = self.seen(id);
        let starts = || rows.keys().map(|(_, window, ..)| window.start());
        let windows = (starts().min()?, starts().max()?);
        let last = rows.values().filter_map(|row| row.partial.last()).map(|point| point.time).max();
        // Of states alone, the fake does not know it.
        let last_reading = last.unwrap_or(windows.1);
        Some(SeriesEntry { id, gateway, key, windows, rows_from: windows.0, last_reading })
    }

    pub(super) fn series_id(&mut self, gateway: &GatewayId, key: &SeriesKey) -> SeriesId {
        let named = Some((gateway.clone(), key.clone()));
        let known = self.series.iter().position(|series| *series == named);
        SeriesId::new(known.unwrap_or_else(|| {
            self.series.push(named);
            self.series.len() - 1
        }) as u64)
    }
}
