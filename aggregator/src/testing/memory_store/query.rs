//! Reading: everything at once, without resolutions.

use std::sync::atomic::Ordering;

use catchment_partial::{Timestamp, Window};

use super::{
    super::encoded,
    MemoryStore,
    state::{Row, RowName},
};
use crate::{
    selector::Selector,
    store::{
        Cursor, GatewayEntry, Page, QueryStore, ROWS_A_CALL, RowReader, RowRequest, Selection, SeriesEntry,
        SeriesId, StoreError, Walk,
    },
};

/// Series per page: few, so that small tests walk several pages.
const SERIES_A_PAGE: usize = 2;

impl MemoryStore {
    /// A page of the series from a number on.
    fn page(&self, from: usize) -> Page<SeriesEntry, usize> {
        if self.endless.load(Ordering::Relaxed) {
            return Page { entries: Vec::new(), next: Some(from) };
        }
        let state = self.state.lock().unwrap();
        let next = from + SERIES_A_PAGE;
        Page {
            entries: (from..next).filter_map(|number| state.listed(number)).collect(),
            next: (next < state.series.len()).then_some(next),
        }
    }
}

impl QueryStore for MemoryStore {
    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a> {
        Box::new(Walk::new(selector, 0, |from| self.page(from)))
    }

    fn series(&self, id: SeriesId) -> Option<SeriesEntry> {
        self.state.lock().unwrap().listed(usize::try_from(id.number()).ok()?)
    }

    fn series_page(&self, from: SeriesId) -> Page<SeriesEntry, SeriesId> {
        let Page { entries, next } = self.page(usize::try_from(from.number()).unwrap());
        Page { entries, next: next.map(|next| SeriesId::new(next as u64)) }
    }

    fn gateways_page(&self, from: Cursor) -> Page<GatewayEntry> {
        let state = self.state.lock().unwrap();
        let at = state.gateways.get(from.position() as usize).cloned();
        Page {
            next: at.as_ref().map(|_| Cursor::new(from.position() + 1)),
            entries: at.into_iter().collect(),
        }
    }

    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError> {
        let RowRequest { series, from, to, .. } = *request;
        let state = self.state.lock().unwrap();
        let seen = state.seen(series).into_iter();
        let stored = |((_, window, ..), row): (&RowName, &Row)| (*window, encoded(&row.partial, *window));
        let mut rows: Vec<_> =
            seen.map(stored).filter(|(window, _)| (from..to).contains(&window.start())).collect();
        rows.sort_by_key(|(window, _)| window.start());
        let bytes = rows.iter().map(|(_, body)| size_of::<(Window, bytes::Bytes)>() + body.len()).sum();
        Ok(Box::new(MemoryReader { rows: rows.into_iter(), bytes }))
    }
}

/// Gives a copy of all rows, as many at once as a reader may.
struct MemoryReader {
    rows: std::vec::IntoIter<(Window, bytes::Bytes)>,
    bytes: usize,
}

impl RowReader for MemoryReader {
    fn advance(&mut self, visit: &mut dyn FnMut(Window, &[u8])) -> Result<bool, StoreError> {
        if self.rows.as_slice().is_empty() {
            self.bytes = 0;
            return Ok(false);
        }
        self.rows.by_ref().take(ROWS_A_CALL).for_each(|(window, body)| visit(window, &body));
        Ok(true)
    }

    fn memory(&self) -> usize {
        self.bytes
    }

    fn damaged(&self) -> &[(Timestamp, Timestamp)] {
        &[]
    }
}
