//! Walks over the selected series or all gateways of a store, page by page. A query yields between pages and within
//! them; the store's lock is held only while a page is copied, never during matching.

use super::{error::QueryError, sink::Sink};
use crate::{
    selector::Selector,
    store::{Cursor, GatewayEntry, QueryStore, SeriesEntry},
};

/// Entries between two yield points, where an entry is cheap.
const CHECK_EVERY: usize = 16;

/// Visits the selected series in order of ids. `visit` returns how many bytes the query then holds.
///
/// # Errors
/// The error that ends the query.
pub(crate) async fn each_series<T>(
    store: &dyn QueryStore,
    selector: &Selector,
    sink: &Sink<T>,
    mut visit: impl FnMut(SeriesEntry) -> usize,
) -> Result<(), QueryError> {
    let mut selection = store.select(selector);
    let mut bytes = 0;
    loop {
        // After each step of the selection, which matches little: a regular expression may be expensive.
        sink.yield_point().await?;
        let Some(page) = selection.next_page() else { break };
        for (number, entry) in page.into_iter().enumerate() {
            if number % CHECK_EVERY == CHECK_EVERY - 1 {
                sink.yield_point().await?;
            }
            bytes = visit(entry);
        }
        sink.set_memory(bytes.saturating_add(selection.memory()))?;
    }
    drop(selection);
    sink.set_memory(bytes)
}

/// Visits every gateway. `visit` returns how many bytes the query then holds.
///
/// # Errors
/// The error that ends the query.
pub(crate) async fn each_gateway<T>(
    store: &dyn QueryStore,
    sink: &Sink<T>,
    mut visit: impl FnMut(GatewayEntry) -> usize,
) -> Result<(), QueryError> {
    let mut next = Some(Cursor::START);
    while let Some(from) = next {
        sink.yield_point().await?;
        let page = store.gateways_page(from);
        for (number, entry) in page.entries.into_iter().enumerate() {
            if number.is_multiple_of(CHECK_EVERY) {
                sink.yield_point().await?;
            }
            sink.set_memory(visit(entry))?;
        }
        next = page.next;
    }
    Ok(())
}
