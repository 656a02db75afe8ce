//! Reading rows of a series.

use catchment_partial::{Timestamp, Window};

use crate::store::{SeriesId, Steps, StoreError};

/// Which rows of a series a reader wants: those whose windows start in `[from, to)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRequest {
    /// The series.
    pub series: SeriesId,
    /// First start of a window.
    pub from: Timestamp,
    /// Windows start before this time.
    pub to: Timestamp,
    /// The points that the rows are merged into.
    pub steps: Steps,
    /// Whether the store may give rows that it merged itself.
    pub resolution: Merged,
}

/// Whether a reader takes rows of a coarser resolution than the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// Yes, as long as each row lies within one point: for aggregates that do not depend on how partials were merged.
    Allowed,
    /// Only where the windows are no longer stored.
    OnlyWithoutWindows,
}

/// Most rows that a reader visits in one call.
pub const ROWS_A_CALL: usize = 4_096;

/// Reads rows of a series in order of the start of their windows. It may keep what it reads from being removed, so it
/// must not be kept longer than a query may take. Between two calls the query may wait for its next turn: a store that
/// reads over connections takes one for a call.
pub trait RowReader: Send {
    /// Visits the next rows, at most [`ROWS_A_CALL`]: window, and partial encoded relative to the start of the window.
    /// A call does bounded work, so it may visit none although more follow. Returns false after the last ones. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`StoreError::Read`]; [`StoreError::Failed`] if the store may lack acknowledged rows.
    fn advance(&mut self, visit: &mut dyn FnMut(Window, &[u8])) -> Result<bool, StoreError>;

    /// Approximate memory that it holds, bytes. A call adds some megabytes at most, so a caller that counts it after each
    /// call can stop in time.
    fn memory(&self) -> usize;

    /// Spans of time so far, in order, in which rows of the series could not be read because stored bytes are damaged.
    fn damaged(&self) -> &[(Timestamp, Timestamp)];
}
