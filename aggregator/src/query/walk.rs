//! Walks over everything that a store knows, page by page. Between pages and within them a query passes its turn on; the
//! store's lock is held for the copy of a page, never while something is matched.

use super::{error::QueryError, sink::Sink};
use crate::store::{GatewayEntry, SeriesEntry, SeriesId, Store};

/// Entries between two looks at clock and turn, where one is cheap.
const CHECK_EVERY: usize = 16;

/// Visits every series, in the order of ids. `visit` answers how many bytes the query holds by then.
///
/// # Errors
/// What ends the query.
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
            // Each of them: matching costs what the caller's regular expressions do.
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

/// Visits every gateway. `visit` answers how many bytes the query holds by then.
///
/// # Errors
/// What ends the query.
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
