//! The embedded store as queries and lists see it.

use std::sync::Arc;

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Width};

use crate::{
    selector::Selector,
    store::{
        ChangeListener, Cursor, EmbeddedStore, GatewayEntry, Page, QueryStore, RowReader, RowRequest,
        Selection, SeriesEntry, SeriesId, StoreError,
        catalog::{index::selection::IndexSelection, listing::number_of},
        embedded::locks::{lock, read, write},
        tables::{reader::TableReader, resolution::Resolution},
    },
};

impl<D: Disk> QueryStore for EmbeddedStore<D> {
    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a> {
        self.inner.apply_durable();
        Box::new(IndexSelection::new(&self.inner.state, selector))
    }

    fn series(&self, id: SeriesId) -> Option<SeriesEntry> {
        self.inner.apply_durable();
        read(&self.inner.state).catalog.entry_of(number_of(id))
    }

    fn merged_width(&self, series: SeriesId, from: Timestamp) -> Option<Width> {
        let state = read(&self.inner.state);
        let known = state.catalog.series.get(number_of(series))?;
        let floors = self.inner.tables.floors_of(&state.catalog, known);
        let from = from.max(known.first);
        let is_complete = |resolution: &Resolution| {
            floors.get(usize::from(resolution.number())).is_none_or(|floor| *floor <= from)
        };
        Resolution::ALL.into_iter().find(is_complete).unwrap_or(Resolution::Day).interval()
    }

    fn series_page(&self, from: SeriesId) -> Page<SeriesEntry, SeriesId> {
        self.inner.apply_durable();
        let Page { entries, next } = read(&self.inner.state).catalog.entries_from(number_of(from));
        Page { entries, next: next.map(|next| SeriesId::new(next.into())) }
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        write(&self.inner.state).listen(listener);
    }

    fn gateways_page(&self, from: Cursor) -> Page<GatewayEntry> {
        self.inner.apply_durable();
        let Ok(from) = u32::try_from(from.position()) else {
            return Page { entries: Vec::new(), next: None };
        };
        let (Page { mut entries, next }, forgotten) = {
            let state = read(&self.inner.state);
            let page = state.catalog.gateway_entries_from(from);
            let of = |entry: &GatewayEntry| state.catalog.forgotten(&entry.epoch.gateway);
            let forgotten: Vec<u64> = page.entries.iter().map(of).collect();
            (page, forgotten)
        };
        // Not while the state is locked: a thread that waits for this lock would hold up all that wait for that one.
        let quota = &lock(&self.inner.admission).quota;
        for (entry, forgotten) in entries.iter_mut().zip(forgotten) {
            // The folder still holds the names of forgotten series, so its own budget is larger by those.
            let sent = quota.last_sent(&entry.epoch.gateway);
            entry.series_max = sent.map(|sent| sent.saturating_sub(forgotten));
        }
        Page { entries, next: next.map(|next| Cursor::new(next.into())) }
    }

    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError> {
        Ok(Box::new(TableReader::new(&self.inner, request)?))
    }
}
