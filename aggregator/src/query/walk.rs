//! Walks over all series or gateways of a store, page by page. A query yields between pages and within them; the
//! store's lock is held only while a page is copied, never during matching.

use super::{error::QueryError, sink::Sink};
use crate::store::{GatewayEntry, SeriesEntry, SeriesId, Store};

/// Entries between two yield points, where an entry is cheap.
const CHECK_EVERY: usize = 16;

/// Visits every series in order of ids. `visit` returns how many bytes the query then holds.
///
/// # Errors
/// The error that ends the query.
pub(crate) async fn each_series<T>(
    store: &dyn Store,
    sink: &Sink<T>,
    mut visit: impl FnMut(SeriesEntry) -> usize,
) -> Result<(), QueryError> {
    let mut next = Some(0);
    while let Some(from) = next {
        sink.yield_point().await?;
        let page = store.series_from(SeriesId(from));
        let mut bytes = None;
        for entry in page.entries {
            // For each entry: matching costs as much as the caller's regular expressions.
            sink.yield_point().await?;
            bytes = Some(visit(entry));
        }
        if let Some(bytes) = bytes {
            sink.set_memory(bytes)?;
        }
        next = page.next;
    }
    Ok(())
}

/// Visits every gateway. `visit` returns how many bytes the query then holds.
///
/// # Errors
/// The error that ends the query.
pub(crate) async fn each_gateway<T>(
    store: &dyn Store,
    sink: &Sink<T>,
    mut visit: impl FnMut(GatewayEntry) -> usize,
) -> Result<(), QueryError> {
    let mut next = Some(0);
    while let Some(from) = next {
        sink.yield_point().await?;
        let page = store.gateways_from(from);
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
