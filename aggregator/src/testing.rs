//! For tests: a store in memory, and helpers that build partials, batches and identities.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, Entry, GatewayId, History, Labels, MetricName, Name, SeriesKey};
use futures_util::future::BoxFuture;

use crate::store::{
    Chunk, Delivered, GatewayEntry, GatewayEpoch, Page, ProgressReport, Retained, RetentionRule, SeriesEntry,
    SeriesId, Store, StoreError, StoredPartial,
};

/// Series per page: few, so that small tests walk several pages.
const SERIES_A_PAGE: usize = 2;

/// The identity of a gateway.
pub(crate) fn gateway(site: &str, name: &str) -> GatewayId {
    GatewayId { site: Name::new(site).unwrap(), name: Name::new(name).unwrap() }
}

/// A partial of readings: Unix milliseconds and value.
pub(crate) fn partial(readings: &[(i64, f64)]) -> Partial {
    let mut partial = Partial::empty();
    for (ms, value) in readings {
        partial.push(Timestamp::from_millis(*ms).unwrap(), *value);
    }
    partial
}

/// A partial of states: Unix milliseconds and text.
pub(crate) fn states(readings: &[(i64, &str)]) -> Partial {
    let mut partial = Partial::empty();
    for (ms, state) in readings {
        partial.push_state(Timestamp::from_millis(*ms).unwrap(), state);
    }
    partial
}

fn encoded(partial: &Partial, window: Window) -> bytes::Bytes {
    let mut body = Vec::new();
    partial.encode(window.start(), &mut body);
    body.into()
}

/// A series' key.
pub(crate) fn key(device: &str, metric: &str, labels: &[(&str, &str)]) -> SeriesKey {
    SeriesKey {
        device: Name::new(device).unwrap(),
        metric: MetricName::new(metric).unwrap(),
        labels: Labels::new(labels.iter().copied()).unwrap(),
    }
}

/// A batch of one series: windows of ten seconds, each with the readings that fall into it.
pub(crate) fn batch(number: u64, series: SeriesKey, readings: &[(i64, f64)], watermark_ms: i64) -> Batch {
    let push = |partial: &mut Partial, time, value| partial.push(time, value);
    batch_of(number, series, readings.iter().copied(), push, watermark_ms)
}

/// As [`batch`], of states.
pub(crate) fn state_batch(number: u64, series: SeriesKey, states: &[(i64, &str)]) -> Batch {
    batch_of(
        number,
        series,
        states.iter().copied(),
        |partial, time, state| partial.push_state(time, state),
        1,
    )
}

fn batch_of<T>(
    number: u64,
    series: SeriesKey,
    readings: impl Iterator<Item = (i64, T)>,
    push: impl Fn(&mut Partial, Timestamp, T),
    watermark_ms: i64,
) -> Batch {
    let width = catchment_partial::Width::from_millis(10_000).unwrap();
    let mut windows: BTreeMap<Window, Partial> = BTreeMap::new();
    for (ms, reading) in readings {
        let time = Timestamp::from_millis(ms).unwrap();
        push(windows.entry(Window::containing(time, width)).or_default(), time, reading);
    }
    let entries = windows.into_iter().map(|(window, partial)| Entry {
        series: 0,
        window,
        part: number,
        revision: number,
        body: encoded(&partial, window),
    });
    let entries: Vec<Entry> = entries.collect();
    Batch {
        shard: 0,
        number,
        watermark: Timestamp::from_millis(watermark_ms),
        live: number == 0,
        names_epoch: 0,
        history: History::default(),
        width,
        series: if entries.is_empty() { Vec::new() } else { vec![series.into()] },
        entries,
    }
}

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

type Rows = BTreeMap<(SeriesId, Window, u64, u64), (u64, Partial)>;

#[derive(Default)]
struct State {
    series: Vec<(GatewayId, SeriesKey)>,
    gateways: Vec<GatewayEntry>,
    /// Highest batch number by (epoch, shard).
    delivered: BTreeMap<(u64, u32), u64>,
    /// By series, window, epoch and part: revision and partial.
    rows: Rows,
    live: Rows,
    fault: Option<Fault>,
    poisoned: Option<Arc<str>>,
    closed: bool,
    puts: u64,
    budget: Option<u64>,
    gone: Option<Arc<str>>,
}

fn entry(epoch: &GatewayEpoch, watermark: Option<Timestamp>) -> GatewayEntry {
    GatewayEntry { epoch: epoch.clone(), watermark, gaps: Vec::new(), series: 0, series_max: None }
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
        let highest = state.delivered.get(&(epoch.id, batch.shard)).copied().unwrap_or(0);
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
        for (entry, partial) in decoded {
            let key = &batch.series[entry.series as usize];
            let named = (epoch.gateway.clone(), key.key().clone());
            let known = state.series.iter().position(|series| *series == named);
            let id = SeriesId(known.unwrap_or_else(|| {
                state.series.push(named);
                state.series.len() - 1
            }) as u32);
            let rows = if batch.live { &mut state.live } else { &mut state.rows };
            let row = rows.entry((id, entry.window, epoch.id, entry.part)).or_insert((0, Partial::empty()));
            if row.0 <= entry.revision {
                *row = (entry.revision, partial);
            }
        }
        if !batch.live {
            state.delivered.insert((epoch.id, batch.shard), batch.number);
        }
        drop(state);
        if batch.watermark.is_some() {
            self.progress(
                epoch,
                &ProgressReport { watermark: batch.watermark, ..ProgressReport::default() },
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
        let watermark = report.watermark;
        let mut state = self.state.lock().unwrap();
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
        if !state.gateways.iter().any(|entry| entry.epoch.gateway == epoch.gateway) {
            state.gateways.push(entry(epoch, None));
        }
        let highest = |shard| state.delivered.get(&(epoch.id, shard)).copied().unwrap_or(0);
        (0..epoch.shards).map(highest).collect()
    }

    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>> {
        let shards = self.delivered(epoch).into_iter();
        let delivered = shards.map(|number| Delivered { number, runs: Vec::new() }).collect();
        Box::pin(std::future::ready(Ok(delivered)))
    }

    fn drop_live(&self, epoch: &GatewayEpoch) {
        self.state.lock().unwrap().live.retain(|(_, _, id, _), _| *id != epoch.id);
    }

    fn series_from(&self, from: SeriesId) -> Page<SeriesEntry> {
        let state = self.state.lock().unwrap();
        let first = from.0 as usize;
        let named = state.series.iter().enumerate().skip(first).take(SERIES_A_PAGE);
        let entries = named.map(|(number, (gateway, key))| {
            let id = SeriesId(number as u32);
            let rows = || state.rows.iter().chain(&state.live).filter(|((series, ..), _)| *series == id);
            let starts = || rows().map(|((_, window, ..), _)| window.start());
            let last = rows().filter_map(|(_, (_, partial))| partial.last()).map(|point| point.time).max();
            // Of states alone, the fake does not know it.
            let last = last.or_else(|| starts().max());
            SeriesEntry {
                id,
                gateway: gateway.clone(),
                key: key.clone(),
                windows: (starts().min().unwrap(), starts().max().unwrap()),
                last_reading: last.unwrap(),
            }
        });
        if self.endless.load(Ordering::Relaxed) {
            return Page { entries: Vec::new(), next: Some(from.0) };
        }
        let next = first + SERIES_A_PAGE;
        Page { entries: entries.collect(), next: (next < state.series.len()).then_some(next as u32) }
    }

    fn gateways_from(&self, from: u32) -> Page<GatewayEntry> {
        let state = self.state.lock().unwrap();
        let at = state.gateways.get(from as usize).cloned();
        Page { next: at.as_ref().map(|_| from + 1), entries: at.into_iter().collect() }
    }

    fn chunk(&self, series: SeriesId, from: Timestamp, to: Timestamp) -> Result<Option<Chunk>, StoreError> {
        let state = self.state.lock().unwrap();
        let rows = state
            .rows
            .iter()
            .chain(&state.live)
            .filter(|((id, window, ..), _)| *id == series && (from..to).contains(&window.start()));
        let stored = |((_, window, ..), (_, partial)): (&(_, Window, _, _), &(u64, Partial))| StoredPartial {
            window: *window,
            body: encoded(partial, *window),
        };
        let mut rows: Vec<_> = rows.map(stored).collect();
        rows.sort_by_key(|row| row.window.start());
        Ok((!rows.is_empty()).then_some(Chunk { rows, next: to }))
    }

    fn forget_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.state.lock().unwrap();
        let count = state.rows.len();
        state.rows.retain(|(_, window, ..), _| window.end() >= before);
        Ok((count - state.rows.len()) as u64)
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
            let (gateway, key) = &series[id.0 as usize];
            let rule = rules.iter().find(|rule| rule.selector.matches(gateway, key));
            let keep = rule.and_then(|rule| rule.keep[0]);
            keep.is_none_or(|keep| window.end().saturating_add_nanos(keep.as_nanos() as i64) > now)
        });
        Ok(Retained { rows: (count - rows.len()) as u64, ..Retained::default() })
    }

    fn series_budget(&self, _: &GatewayEpoch) -> Option<u64> {
        self.state.lock().unwrap().budget
    }

    fn forget_series(&self, _: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Result<u64, StoreError> {
        Err(StoreError::Read("not in memory".to_owned()))
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
