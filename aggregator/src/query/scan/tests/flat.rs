//! A store of given rows, which may be damaged.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use catchment_partial::{Timestamp, Width, Window};
use catchment_proto::{Batch, GatewayId, SeriesKey};
use futures_util::future::BoxFuture;

use crate::{
    store::{
        Delivered, GatewayEntry, GatewayEpoch, Page, ProgressReport, RowReader, RowRequest, SeriesEntry,
        SeriesId, Store, StoreError,
    },
    testing::{gateway, key, partial},
};

/// Rows that a reader visits at once.
const ROWS: usize = 1_000;

/// Series by number, each with its rows in order.
#[derive(Default)]
pub(super) struct FlatStore {
    pub(super) rows: Vec<Vec<(Window, Vec<u8>)>>,
    /// Spans that each reader reports.
    pub(super) damaged: Vec<(Timestamp, Timestamp)>,
    /// A page of series never ends, and nothing is in it.
    pub(super) endless: bool,
    /// Readers of series from this number on never end.
    pub(super) endless_from: Option<u32>,
    /// Number of readers in use.
    pub(super) readers: Arc<AtomicUsize>,
}

/// A window of ten seconds.
pub(super) fn window(index: i64) -> Window {
    Window::from_index(index, Width::from_millis(10_000).unwrap()).unwrap()
}

impl FlatStore {
    /// So many series with so many windows of so many readings.
    pub(super) fn new(series: usize, windows: i64, readings: i64) -> Self {
        let rows = |series: usize| {
            let row = |index: i64| {
                let value = |n: i64| {
                    (2_150 + (index * 31 + n * 7_919 + series as i64 * 104_729) % 211) as f64 / 100.0
                };
                let readings: Vec<_> =
                    (0..readings).map(|n| (index * 10_000 + n * 10_000 / readings, value(n))).collect();
                let mut body = Vec::new();
                partial(&readings).encode(window(index).start(), &mut body);
                (window(index), body)
            };
            (0..windows).map(row).collect()
        };
        Self { rows: (0..series).map(rows).collect(), ..Self::default() }
    }
}

struct FlatReader<'a> {
    rows: &'a [(Window, Vec<u8>)],
    damaged: &'a [(Timestamp, Timestamp)],
    endless: bool,
    readers: &'a AtomicUsize,
}

impl Drop for FlatReader<'_> {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl RowReader for FlatReader<'_> {
    fn advance(&mut self, visit: &mut dyn FnMut(Window, &[u8])) -> Result<bool, StoreError> {
        let (now, rest) = self.rows.split_at(self.rows.len().min(ROWS));
        now.iter().for_each(|(window, body)| visit(*window, body));
        self.rows = rest;
        Ok(self.endless || !rest.is_empty())
    }

    fn damaged(&self) -> &[(Timestamp, Timestamp)] {
        self.damaged
    }
}

impl Store for FlatStore {
    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError> {
        let rows = &self.rows[request.series.0 as usize];
        let place = |time: Timestamp| rows.partition_point(|(window, _)| window.start() < time);
        let rows = &rows[place(request.from)..place(request.to)];
        let endless = self.endless_from.is_some_and(|from| request.series.0 >= from);
        self.readers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FlatReader { rows, damaged: &self.damaged, endless, readers: &self.readers }))
    }

    fn series_from(&self, from: SeriesId) -> Page<SeriesEntry> {
        if self.endless {
            return Page { entries: Vec::new(), next: Some(from.0) };
        }
        let entry = |(id, rows): (usize, &Vec<(Window, Vec<u8>)>)| SeriesEntry {
            id: SeriesId(id as u32),
            gateway: gateway("berlin", "g1"),
            key: key(&format!("d{id}"), "m", &[]),
            windows: (rows[0].0.start(), rows[rows.len() - 1].0.start()),
            last_reading: rows[rows.len() - 1].0.start(),
        };
        Page { entries: self.rows.iter().enumerate().skip(from.0 as usize).map(entry).collect(), next: None }
    }

    fn gateways_from(&self, _: u32) -> Page<GatewayEntry> {
        let epoch = GatewayEpoch {
            gateway: gateway("berlin", "g1"),
            id: 1,
            created_ms: 0,
            shards: 1,
            run: 0,
            previous_runs: Default::default(),
        };
        let watermark = Timestamp::from_millis(1_000_000_000_000);
        let entry = GatewayEntry {
            epoch,
            watermark,
            gaps: Vec::new(),
            series: 0,
            series_max: None,
            retired: false,
            hours: Arc::default(),
        };
        Page { entries: vec![entry], next: None }
    }

    fn put<'a>(&'a self, _: &'a GatewayEpoch, _: Batch, _: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        panic!("queries do not call this")
    }

    fn progress(&self, _: &GatewayEpoch, _: &ProgressReport) -> Result<(), StoreError> {
        panic!("queries do not call this")
    }

    fn created_ms(&self, _: &GatewayEpoch) -> Option<i64> {
        panic!("queries do not call this")
    }

    fn delivered(&self, _: &GatewayEpoch) -> Vec<u64> {
        panic!("queries do not call this")
    }

    fn begin<'a>(&'a self, _: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>> {
        panic!("queries do not call this")
    }

    fn drop_live(&self, _: &GatewayEpoch) {
        panic!("queries do not call this")
    }

    fn retire_gateway(&self, _: &GatewayId, _: bool) -> Result<Option<bool>, StoreError> {
        panic!("queries do not call this")
    }

    fn series_budget(&self, _: &GatewayEpoch) -> Option<u64> {
        panic!("queries do not call this")
    }

    fn forget_series(&self, _: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Result<u64, StoreError> {
        panic!("queries do not call this")
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        panic!("queries do not call this")
    }

    fn poisoned(&self) -> Option<Arc<str>> {
        None
    }
}
