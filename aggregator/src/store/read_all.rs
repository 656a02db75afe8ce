//! Reads a whole store, for tests, benchmarks and simulation: nothing that serves does.

use std::ops::ControlFlow;

use catchment_partial::{Partial, Timestamp, Window};

use crate::{
    selector::Selector,
    store::{Cursor, GatewayEntry, Merged, QueryStore, RowRequest, SeriesEntry, SeriesId, Steps, StoreError},
};

/// Whole lists and contents of a store.
pub trait ReadAll: QueryStore {
    /// The series that a selector selects, ordered by id.
    fn selected(&self, selector: &Selector) -> Vec<SeriesEntry> {
        let mut selection = self.select(selector);
        std::iter::from_fn(|| selection.next_page()).flatten().collect()
    }

    /// All series, ordered by id.
    fn all_series(&self) -> Vec<SeriesEntry> {
        self.selected(&Selector::default())
    }

    /// All gateways, in the order of their pages.
    fn gateways(&self) -> Vec<GatewayEntry> {
        let (mut found, mut next) = (Vec::new(), Some(Cursor::START));
        while let Some(from) = next {
            let page = self.gateways_page(from);
            found.extend(page.entries);
            next = page.next;
        }
        found
    }

    /// Visits the partials of the series whose windows start in [from, to): the highest revision of each name, series
    /// by series in the given order, windows in order of their start.
    ///
    /// # Errors
    /// [`StoreError::Read`]; the partials visited before are valid.
    fn scan(
        &self,
        series: &[SeriesId],
        from: Timestamp,
        to: Timestamp,
        visit: &mut dyn FnMut(SeriesId, Window, &Partial) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for id in series {
            let resolution = Merged::OnlyWithoutWindows;
            let request = RowRequest { series: *id, from, to, steps: Steps::Whole, resolution };
            let mut reader = self.rows(&request)?;
            let mut flow = Ok(ControlFlow::Continue(()));
            let mut take = |window: Window, body: &[u8]| {
                if matches!(flow, Ok(ControlFlow::Continue(()))) {
                    flow = Partial::decode(body, window.start()).map(|partial| visit(*id, window, &partial));
                }
            };
            while reader.advance(&mut take)? {}
            let damaged = |what: String| StoreError::Read(format!("series {}: {what}", id.number()));
            if let Some((first, last)) = reader.damaged().first() {
                return Err(damaged(format!("rows from {first:?} to {last:?} cannot be read")));
            }
            if flow.map_err(|error| damaged(error.to_string()))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl<S: QueryStore + ?Sized> ReadAll for S {}
