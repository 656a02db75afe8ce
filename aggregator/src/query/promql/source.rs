//! The store as the evaluator sees it: begins fetches, and bounds time and memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use catchment_promql::{Batches, Columns, Fetch, FetchRange, Grid, PromqlError, Source};
use catchment_proto::GatewayId;
use futures_util::future::BoxFuture;

use super::{
    super::{
        completeness::{Completeness, Holders},
        error::QueryError,
        range::Range,
        scan::Present,
        sink::Sink,
        task::Memory,
        walk,
    },
    batches::StoreBatches,
    cuts::Cuts,
    fold::Wanted,
    notes::{Notes, Times},
    read::Reading,
    select, widths,
};
use crate::{
    clock_bound::ClockBound,
    store::{Gap, GatewayEntry, QueryStore, Steps},
};

/// Approximate memory of a gateway without its gaps.
const GATEWAY_BYTES: usize = 192;
/// Least lookback.
const LOOKBACK_MS: i64 = 300_000;

/// The readings of a store.
pub(super) struct StoreSource<'a> {
    pub(super) store: Arc<dyn QueryStore>,
    pub(super) sink: &'a Sink<Bytes>,
    present: &'a Present,
    /// As they were before anything was read: what their watermarks cover is in the store.
    gateways: BTreeMap<GatewayId, GatewayEntry>,
    /// The times of the expression.
    plan: Grid,
    state: Mutex<State>,
    /// Holds the gateways.
    _memory: Memory,
}

/// What is learned while fetches are read.
#[derive(Default)]
struct State {
    notes: Notes,
    /// Widths that were met only while rows were read.
    widths: Vec<(Fetch, i64)>,
    /// Since when the expression is evaluated anew.
    is_wider: bool,
}

impl<'a> StoreSource<'a> {
    /// Begins with the progress of all gateways.
    ///
    /// # Errors
    /// What ends the query.
    pub(super) async fn open(
        store: Arc<dyn QueryStore>,
        sink: &'a Sink<Bytes>,
        present: &'a Present,
        plan: Grid,
    ) -> Result<Self, QueryError> {
        let (mut gateways, mut bytes) = (BTreeMap::new(), 0);
        walk::each_gateway(&*store, sink, |entry| {
            bytes += GATEWAY_BYTES + entry.gaps.len() * size_of::<Gap>();
            gateways.insert(entry.epoch.gateway.clone(), entry);
            bytes
        })
        .await?;
        let memory = sink.task.memory();
        sink.set_memory(0)?;
        memory.set(bytes)?;
        let state = Mutex::default();
        Ok(Self { store, sink, present, gateways, plan, state, _memory: memory })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is to be said.
    pub(super) fn take_notes(&self) -> Notes {
        std::mem::take(&mut self.lock().notes)
    }

    /// Whether wider windows were found than were known when a fetch began, so that the expression must be evaluated
    /// anew. Forgets what was noted if so.
    pub(super) fn must_begin_anew(&self) -> bool {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_wider) {
            state.notes = Notes::default();
            return true;
        }
        false
    }

    /// A window lies across the times of a fetch.
    ///
    /// # Errors
    /// No time fits its width.
    pub(super) fn learn_width(
        &self,
        fetch: &Fetch,
        at_least_ms: i64,
        width_ms: u32,
    ) -> Result<(), QueryError> {
        let width = widths::common(at_least_ms, i64::from(width_ms))?;
        let mut state = self.lock();
        state.is_wider = true;
        match state.widths.iter_mut().find(|(known, _)| known == fetch) {
            Some((_, known)) => *known = widths::common(*known, width)?,
            None => state.widths.push((fetch.clone(), width)),
        }
        Ok(())
    }

    /// Changes the notes.
    pub(super) fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.lock().notes);
    }

    async fn begin<'f>(&'f self, fetch: &'f Fetch) -> Result<StoreBatches<'f, 'a>, QueryError> {
        let columns = fetch.columns;
        let only_sums = Columns { sum: columns.sum, ..Columns::default() } == columns;
        let group = fetch.group.as_ref().filter(|_| only_sums);
        let back_ms = match fetch.range {
            FetchRange::Lookback => LOOKBACK_MS,
            FetchRange::Ms(ms) => ms,
        };
        let (from_ms, to_ms) = (fetch.grid.start_ms.saturating_sub(back_ms), fetch.grid.end_ms());
        let range = Range { from_ms, to_ms, steps: Steps::Whole };
        let holders = Holders::new(range, self.present.now_ms);
        let mut selected = select::select(self, fetch, group, (from_ms, to_ms), holders).await?;
        let known_ms = self.lock().widths.iter().find(|(known, _)| known == fetch).map_or(1, |(_, ms)| *ms);
        let width_ms = widths::width_ms(self, &selected, (from_ms, to_ms), known_ms).await?;
        let cuts = Cuts::new(fetch.grid, fetch.range, width_ms);
        let times = Times { fetch: fetch.grid, plan: self.plan, width_ms };
        self.note_completeness(&mut selected.holders, times).await?;
        let wanted = if columns.sketch { Wanted::Windows } else { Wanted::Figures(columns) };
        let wanted_of_windows = match fetch.range {
            FetchRange::Lookback => Wanted::LastWindow,
            FetchRange::Ms(_) if columns.single_windows => Wanted::EndWindows,
            FetchRange::Ms(_) => Wanted::Windows,
        };
        let reading = Reading { store: Arc::clone(&self.store), cuts, wanted, wanted_of_windows };
        StoreBatches::new(self, fetch, times, Arc::new(reading), selected)
    }

    /// Notes how complete the answer of a fetch is.
    async fn note_completeness(&self, holders: &mut Holders, times: Times) -> Result<(), QueryError> {
        if holders.is_empty() {
            return Ok(());
        }
        let Present { now_ms, clock_tolerance, ref streams } = *self.present;
        let (clock, mut completeness) = (ClockBound::new(now_ms, clock_tolerance), Completeness::new(now_ms));
        for (gateway, entry) in &self.gateways {
            self.sink.yield_point().await?;
            completeness.add(holders, entry, clock, streams.version(gateway).is_some());
        }
        let completeness = completeness.finish(holders, true);
        self.note(|notes| notes.add(&completeness, times, now_ms));
        Ok(())
    }
}

impl Source for StoreSource<'_> {
    fn fetch<'f>(&'f self, fetch: &'f Fetch) -> BoxFuture<'f, Result<Box<dyn Batches + 'f>, PromqlError>> {
        Box::pin(async move {
            let batches = self.begin(fetch).await.map_err(PromqlError::from)?;
            Ok(Box::new(batches) as Box<dyn Batches + 'f>)
        })
    }

    fn yield_point(&self) -> BoxFuture<'_, Result<(), PromqlError>> {
        Box::pin(async move { Ok(self.sink.yield_point().await?) })
    }

    fn set_memory(&self, bytes: usize) -> Result<(), PromqlError> {
        Ok(self.sink.set_memory(bytes)?)
    }
}

impl From<QueryError> for PromqlError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Execution(text) => Self::Execution(text),
            QueryError::BadExpression(text) => Self::Bad(text),
            other => Self::Source(Box::new(other)),
        }
    }
}

impl From<PromqlError> for QueryError {
    fn from(error: PromqlError) -> Self {
        match error {
            PromqlError::Bad(text) => Self::BadExpression(text),
            PromqlError::Execution(text) => Self::Execution(text),
            PromqlError::Source(error) => match error.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Execution(other.to_string()),
            },
        }
    }
}
