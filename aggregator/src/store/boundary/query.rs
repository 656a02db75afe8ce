//! What queries, lists and watches need of a store.

use std::sync::Arc;

use catchment_partial::{Timestamp, Width};

use super::{
    ChangeListener, Cursor, GatewayEntry, Page, RowReader, RowRequest, Selection, SeriesEntry, SeriesId,
    StoreError,
};
use crate::selector::Selector;

/// Gives what is stored. Processing what it returned holds no lock of the store.
pub trait QueryStore: Send + Sync + 'static {
    /// The series that a selector selects, ordered by id: those that there are now, and maybe some that come
    /// meanwhile. Its steps may block; see [`Selection`].
    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a>;

    /// A series by its id; `None`: there is none, or no longer. May block like a step of a selection.
    fn series(&self, id: SeriesId) -> Option<SeriesEntry>;

    /// Width of the intervals that stand for the windows of a series from a time on, where windows were removed; `None`:
    /// from there on, all windows are stored. Answers from memory.
    fn merged_width(&self, _series: SeriesId, _from: Timestamp) -> Option<Width> {
        None
    }

    /// A bounded page of all series, ordered by id, from an id on; its end is the id from which the next one begins.
    /// Answers from memory.
    fn series_page(&self, from: SeriesId) -> Page<SeriesEntry, SeriesId>;

    /// Reports changes of rows to this listener from now on; a store has one. It learns at once how far the ids of series
    /// go. A store without changes to report ignores it.
    fn listen(&self, _listener: Arc<dyn ChangeListener>) {}

    /// A bounded page of the gateways that ever delivered or sent a Start since the store was opened, from
    /// [`Cursor::START`] or from the end of the page before. Answers from memory.
    fn gateways_page(&self, from: Cursor) -> Page<GatewayEntry>;

    /// A reader of rows of a series. Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Read`]; [`StoreError::Failed`] if the store may lack acknowledged rows.
    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError>;
}
