//! A store of given rows, which may be damaged.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use catchment_partial::{Timestamp, Width, Window};

use crate::{
    selector::Selector,
    store::{
        Cursor, GatewayEntry, GatewayEpoch, Page, QueryStore, RowReader, RowRequest, Selection, SeriesEntry,
        SeriesId, StoreError, Walk,
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
    /// Bytes that each reader holds.
    pub(super) held: usize,
    /// A page of series never ends, and nothing is in it.
    pub(super) endless: bool,
    /// Readers of series from this number on never end.
    pub(super) endless_from: Option<u64>,
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

    fn entry(&self, number: usize) -> Option<SeriesEntry> {
        let rows = self.rows.get(number)?;
        let windows = (rows[0].0.start(), rows[rows.len() - 1].0.start());
        Some(SeriesEntry {
            id: SeriesId::new(number as u64),
            gateway: gateway("berlin", "g1"),
            key: key(&format!("d{number}"), "m", &[]),
            windows,
            rows_from: windows.0,
            last_reading: windows.1,
        })
    }
}

struct FlatReader<'a> {
    rows: &'a [(Window, Vec<u8>)],
    damaged: &'a [(Timestamp, Timestamp)],
    held: usize,
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

    fn memory(&self) -> usize {
        self.held
    }

    fn damaged(&self) -> &[(Timestamp, Timestamp)] {
        self.damaged
    }
}

impl QueryStore for FlatStore {
    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError> {
        let rows = &self.rows[request.series.number() as usize];
        let place = |time: Timestamp| rows.partition_point(|(window, _)| window.start() < time);
        let rows = &rows[place(request.from)..place(request.to)];
        let endless = self.endless_from.is_some_and(|from| request.series.number() >= from);
        self.readers.fetch_add(1, Ordering::SeqCst);
        let (damaged, readers) = (&self.damaged, &*self.readers);
        Ok(Box::new(FlatReader { rows, damaged, held: self.held, endless, readers }))
    }

    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a> {
        let page = |from: usize| match self.endless {
            true => Page { entries: Vec::new(), next: Some(from) },
            false => Page {
                entries: (from..self.rows.len()).filter_map(|number| self.entry(number)).collect(),
                next: None,
            },
        };
        Box::new(Walk::new(selector, 0, page))
    }

    fn series(&self, id: SeriesId) -> Option<SeriesEntry> {
        self.entry(id.number() as usize)
    }

    fn series_page(&self, from: SeriesId) -> Page<SeriesEntry, SeriesId> {
        let numbers = from.number() as usize..self.rows.len();
        Page { entries: numbers.filter_map(|number| self.entry(number)).collect(), next: None }
    }

    fn gateways_page(&self, _: Cursor) -> Page<GatewayEntry> {
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
}
