//! A store in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, GatewayId, SeriesKey};
use futures_util::future::BoxFuture;

use super::encoded;
use crate::store::{
    Delivered, GatewayEntry, GatewayEpoch, LateAndRefused, Page, ProgressReport, Retained, RetentionRule,
    RowReader, RowRequest, SeriesEntry, SeriesId, Store, StoreError, hour_of,
};

/// Series per page: few, so that small tests walk several pages.
const SERIES_A_PAGE: usize = 2;

/// What the next put does in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Fails: the store is full.
    Full,
    /// Fails because of its new series.
    TooManySeries,
    /// Fails, as do all later puts.
    Poisoned,
}

/// Series, window, epoch, shard and part.
type RowName = (SeriesId, Window, u64, u32, u64);

#[derive(Clone)]
struct Row {
    revision: u64,
    partial: Partial,
    /// The epoch that delivered it.
    epoch: u64,
}

type Rows = BTreeMap<RowName, Row>;

#[derive(Default)]
struct State {
    /// By number; `None`: forgotten.
    series: Vec<Option<(GatewayId, SeriesKey)>>,
    gateways: Vec<GatewayEntry>,
    /// Watermarks by gateway and shard.
    watermarks: BTreeMap<(GatewayId, u32), Timestamp>,
    /// Highest batch number by gateway, epoch and shard.
    delivered: BTreeMap<(GatewayId, u64, u32), u64>,
    rows: Rows,
    live: Rows,
    fault: Option<Fault>,
    poisoned: Option<Arc<str>>,
    closed: bool,
    puts: u64,
    budget: Option<u64>,
    gone: Option<Arc<str>>,
}

impl State {
    /// What queries see: of each name the highest revision.
    fn seen(&self, series: SeriesId) -> BTreeMap<&RowName, &Row> {
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

    /// Lists a gateway from now on.
    fn know(&mut self, epoch: &GatewayEpoch) {
        if !self.gateways.iter().any(|entry| entry.epoch.gateway == epoch.gateway) {
            self.gateways.push(entry(epoch, None));
        }
    }

    /// Counts late corrections and refused readings of a new batch.
    fn count_hours(&mut self, epoch: &GatewayEpoch, batch: &Batch) {
        let delivered_to = self.watermarks.get(&(epoch.gateway.clone(), batch.shard)).copied();
        let Some(entry) = self.gateways.iter_mut().find(|entry| entry.epoch.gateway == epoch.gateway) else {
            return;
        };
        let hours = Arc::make_mut(&mut entry.hours);
        let windows = batch.entries.iter().map(|entry| entry.window);
        for window in windows.filter(|window| Some(window.end()) <= delivered_to) {
            hours.add(hour_of(window.start().as_millis()), LateAndRefused { late: 1, refused: 0 }, 1_000);
        }
        for refused in &batch.refused {
            hours.add(refused.hour, LateAndRefused { late: 0, refused: refused.readings }, 1_000);
        }
    }

    fn series_id(&mut self, gateway: &GatewayId, key: &SeriesKey) -> SeriesId {
        let named = Some((gateway.clone(), key.clone()));
        let known = self.series.iter().position(|series| *series == named);
        SeriesId(known.unwrap_or_else(|| {
            self.series.push(named);
            self.series.len() - 1
        }) as u32)
    }
}

fn entry(epoch: &GatewayEpoch, watermark: Option<Timestamp>) -> GatewayEntry {
    GatewayEntry {
        epoch: epoch.clone(),
        watermark,
        gaps: Vec::new(),
        series: 0,
        series_max: None,
        retired: false,
        hours: Arc::default(),
    }
}

/// A store in memory, for tests of its callers. Whatever it reports as durable counts as durable.
#[derive(Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
    /// Puts wait here while it is locked for writing.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// While it is set, a list of series never ends.
    pub(crate) endless: AtomicBool,
}

impl MemoryStore {
    /// Reports that the folder is gone.
    pub(crate) fn lose_folder(&self, why: &str) {
        let mut state = self.state.lock().unwrap();
        (state.gone, state.poisoned) = (Some(why.into()), Some(why.into()));
    }

    /// Makes the next put fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().fault = Some(fault);
    }

    /// Sets the budget of gateways from now on.
    pub(crate) fn set_budget(&self, series_max: u64) {
        self.state.lock().unwrap().budget = Some(series_max);
    }

    /// Whether it was closed cleanly.
    pub(crate) fn closed(&self) -> bool {
        self.state.lock().unwrap().closed
    }

    /// Number of puts that passed the gate.
    pub(crate) fn puts(&self) -> u64 {
        self.state.lock().unwrap().puts
    }

    /// Number of rows of closed windows.
    pub(crate) fn rows(&self) -> u64 {
        self.state.lock().unwrap().rows.len() as u64
    }

    /// Number of rows of open windows.
    pub(crate) fn live_rows(&self) -> usize {
        self.state.lock().unwrap().live.len()
    }

    fn apply(&self, epoch: &GatewayEpoch, batch: &Batch, first: bool) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.puts += 1;
        match state.fault.take() {
            Some(Fault::Full) => return Err(StoreError::Full("no room".to_owned())),
            Some(Fault::TooManySeries) => {
                return Err(StoreError::TooManySeries { message: "no room for series".to_owned() });
            }
            Some(Fault::Poisoned) => state.poisoned = Some("the disk failed".into()),
            None => {}
        }
        if let Some(reason) = &state.poisoned {
            return Err(StoreError::Poisoned(Arc::clone(reason)));
        }
        let stream = (epoch.gateway.clone(), epoch.id, batch.shard);
        let highest = state.delivered.get(&stream).copied().unwrap_or(0);
        if !batch.live {
            if batch.number <= highest {
                return Ok(());
            }
            if batch.number != highest + 1 && !first {
                return Err(StoreError::Gap { shard: batch.shard, highest, got: batch.number });
            }
        }
        let mut decoded = Vec::new();
        for (number, entry) in batch.entries.iter().enumerate() {
            let partial = Partial::decode(&entry.body, entry.window.start())
                .map_err(|error| StoreError::Body { entry: number, reason: error.to_string() })?;
            decoded.push((entry, partial));
        }
        let names = if batch.names_epoch == 0 { epoch.id } else { batch.names_epoch };
        for (entry, partial) in decoded {
            let id = state.series_id(&epoch.gateway, batch.series[entry.series as usize].key());
            let name = (id, entry.window, names, batch.shard, entry.part);
            let row = Row { revision: entry.revision, partial, epoch: epoch.id };
            let rows = if batch.live { &mut state.live } else { &mut state.rows };
            if rows.get(&name).is_none_or(|known| known.revision < row.revision) {
                rows.insert(name, row);
            }
            if !batch.live {
                state.live.retain(|live, row| *live != name || row.revision > entry.revision);
            }
        }
        state.know(epoch);
        if !batch.live {
            state.delivered.insert(stream, batch.number);
            state.count_hours(epoch, batch);
        }
        drop(state);
        if batch.watermark.is_some() {
            self.progress(
                epoch,
                &ProgressReport {
                    shard: batch.shard,
                    watermark: batch.watermark,
                    ..ProgressReport::default()
                },
            )?;
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        first: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let _open = self.gate.read().await;
            self.apply(epoch, &batch, first)
        })
    }

    fn progress(&self, epoch: &GatewayEpoch, report: &ProgressReport) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        if let Some(watermark) = report.watermark {
            let known = state.watermarks.entry((epoch.gateway.clone(), report.shard)).or_insert(watermark);
            *known = watermark.max(*known);
        }
        let of = |shard| state.watermarks.get(&(epoch.gateway.clone(), shard)).copied();
        let watermark = (0..epoch.shards).map(of).min().flatten();
        match state.gateways.iter_mut().find(|entry| entry.epoch.gateway == epoch.gateway) {
            Some(entry) => entry.watermark = entry.watermark.max(watermark),
            None => state.gateways.push(entry(epoch, watermark)),
        }
        Ok(())
    }

    fn created_ms(&self, _: &GatewayEpoch) -> Option<i64> {
        None
    }

    fn delivered(&self, epoch: &GatewayEpoch) -> Vec<u64> {
        let mut state = self.state.lock().unwrap();
        state.know(epoch);
        let stream = |shard| (epoch.gateway.clone(), epoch.id, shard);
        let highest = |shard| state.delivered.get(&stream(shard)).copied().unwrap_or(0);
        (0..epoch.shards).map(highest).collect()
    }

    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>> {
        let shards = self.delivered(epoch).into_iter();
        let _ = self.retire_gateway(&epoch.gateway, false);
        let delivered = shards.map(|number| Delivered { number, runs: Vec::new() }).collect();
        Box::pin(std::future::ready(Ok(delivered)))
    }

    fn drop_live(&self, epoch: &GatewayEpoch) {
        let state = &mut *self.state.lock().unwrap();
        let of = |id: SeriesId| state.series[id.0 as usize].as_ref().is_some_and(|of| of.0 == epoch.gateway);
        state.live.retain(|name, row| row.epoch != epoch.id || !of(name.0));
    }

    fn series_from(&self, from: SeriesId) -> Page<SeriesEntry> {
        let state = self.state.lock().unwrap();
        if self.endless.load(Ordering::Relaxed) {
            return Page { entries: Vec::new(), next: Some(from.0) };
        }
        let first = from.0 as usize;
        let entry = |(number, series): (usize, &Option<(GatewayId, SeriesKey)>)| {
            let (gateway, key) = series.clone()?;
            let id = SeriesId(number as u32);
            let rows = state.seen(id);
            let starts = || rows.keys().map(|(_, window, ..)| window.start());
            let windows = (starts().min()?, starts().max()?);
            let last = rows.values().filter_map(|row| row.partial.last()).map(|point| point.time).max();
            // Of states alone, the fake does not know it.
            let last_reading = last.unwrap_or(windows.1);
            Some(SeriesEntry { id, gateway, key, windows, last_reading })
        };
        let listed = state.series.iter().enumerate().skip(first).take(SERIES_A_PAGE);
        let next = first + SERIES_A_PAGE;
        Page {
            entries: listed.filter_map(entry).collect(),
            next: (next < state.series.len()).then_some(next as u32),
        }
    }

    fn gateways_from(&self, from: u32) -> Page<GatewayEntry> {
        let state = self.state.lock().unwrap();
        let at = state.gateways.get(from as usize).cloned();
        Page { next: at.as_ref().map(|_| from + 1), entries: at.into_iter().collect() }
    }

    fn retire_gateway(&self, gateway: &GatewayId, retired: bool) -> Result<Option<bool>, StoreError> {
        let mut state = self.state.lock().unwrap();
        let entry = state.gateways.iter_mut().find(|entry| entry.epoch.gateway == *gateway);
        Ok(entry.map(|entry| std::mem::replace(&mut entry.retired, retired)))
    }

    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError> {
        let RowRequest { series, from, to, .. } = *request;
        let state = self.state.lock().unwrap();
        let seen = state.seen(series).into_iter();
        let stored = |((_, window, ..), row): (&RowName, &Row)| (*window, encoded(&row.partial, *window));
        let mut rows: Vec<_> =
            seen.map(stored).filter(|(window, _)| (from..to).contains(&window.start())).collect();
        rows.sort_by_key(|(window, _)| window.start());
        Ok(Box::new(MemoryReader(Some(rows))))
    }

    /// It has windows only, and keeps series without windows.
    fn retain(&self, rules: &[RetentionRule], now: Timestamp) -> Result<Retained, StoreError> {
        let mut state = self.state.lock().unwrap();
        if state.fault.take().is_some() {
            return Err(StoreError::Full("no room".to_owned()));
        }
        let State { series, rows, .. } = &mut *state;
        let count = rows.len();
        rows.retain(|(id, window, ..), _| {
            let Some((gateway, key)) = &series[id.0 as usize] else { return false };
            let rule = rules.iter().find(|rule| rule.selector.matches(gateway, key));
            let keep = rule.and_then(|rule| rule.keep[0]);
            keep.is_none_or(|keep| window.end().saturating_add_nanos(keep.as_nanos() as i64) > now)
        });
        Ok(Retained { rows: (count - rows.len()) as u64, ..Retained::default() })
    }

    fn series_budget(&self, _: &GatewayEpoch) -> Option<u64> {
        self.state.lock().unwrap().budget
    }

    fn forget_series(&self, wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Result<u64, StoreError> {
        let state = &mut *self.state.lock().unwrap();
        let mut forgotten = 0;
        for series in &mut state.series {
            forgotten += u64::from(series.take_if(|(gateway, key)| wanted(gateway, key)).is_some());
        }
        let held = |name: &RowName| state.series[name.0.0 as usize].is_some();
        state.rows.retain(|name, _| held(name));
        state.live.retain(|name, _| held(name));
        Ok(forgotten)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state.lock().unwrap().closed = true;
        Box::pin(async {
            drop(self.gate.read().await);
            Ok(())
        })
    }

    fn folder_gone(&self) -> Option<Arc<str>> {
        self.state.lock().unwrap().gone.clone()
    }

    fn poisoned(&self) -> Option<Arc<str>> {
        self.state.lock().unwrap().poisoned.clone()
    }
}

/// Gives all rows at once.
struct MemoryReader(Option<Vec<(Window, bytes::Bytes)>>);

impl RowReader for MemoryReader {
    fn advance(&mut self, visit: &mut dyn FnMut(Window, &[u8])) -> Result<bool, StoreError> {
        let Some(rows) = self.0.take() else { return Ok(false) };
        rows.iter().for_each(|(window, body)| visit(*window, body));
        Ok(true)
    }

    fn damaged(&self) -> &[(Timestamp, Timestamp)] {
        &[]
    }
}
