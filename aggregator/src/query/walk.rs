//! Walks over everything that a store knows, page by page. Between pages and within them a query passes its turn on; the
//! store's lock is held for the copy of a page, never while something is matched.

use super::{failure::AskError, outlet::Outlet};
use crate::store::{GatewayEntry, SeriesEntry, SeriesId, Store};

/// Entries between two looks at clock and turn, where one is cheap.
const CHECK_EVERY: usize = 16;

/// Visits every series, in the order of ids. `visit` answers how many bytes the query holds by then.
///
/// # Errors
/// What ends the query.
pub(crate) async fn each_series<T>(
    store: &dyn Store,
    outlet: &Outlet<T>,
    mut visit: impl FnMut(SeriesEntry) -> usize,
) -> Result<(), AskError> {
    let mut next = Some(0);
    while let Some(from) = next {
        outlet.turn().await?;
        let page = store.series_from(SeriesId(from));
        let mut held = None;
        for entry in page.entries {
            // Each of them: matching costs what the caller's regular expressions do.
            outlet.turn().await?;
            held = Some(visit(entry));
        }
        if let Some(held) = held {
            outlet.hold(held)?;
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
    outlet: &Outlet<T>,
    mut visit: impl FnMut(GatewayEntry) -> usize,
) -> Result<(), AskError> {
    let mut next = Some(0);
    while let Some(from) = next {
        outlet.turn().await?;
        let page = store.gateways_from(from);
        for (number, entry) in page.entries.into_iter().enumerate() {
            if number.is_multiple_of(CHECK_EVERY) {
                outlet.turn().await?;
            }
            outlet.hold(visit(entry))?;
        }
        next = page.next;
    }
    Ok(())
}
