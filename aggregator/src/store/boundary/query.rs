//! What queries and lists need of a store.

use super::{
    Cursor, GatewayEntry, Page, RowReader, RowRequest, Selection, SeriesEntry, SeriesId, StoreError,
};
use crate::selector::Selector;

/// Gives what is stored. Processing what it returned holds no lock of the store.
pub trait QueryStore: Send + Sync + 'static {
    /// The series that a selector selects, ordered by id: those that there are now, and maybe some that come
    /// meanwhile. Its steps may block; see [`Selection`].
    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a>;

    /// A series by its id; `None`: there is none, or no longer. May block like a step of a selection.
    fn series(&self, id: SeriesId) -> Option<SeriesEntry>;

    /// A bounded page of the gateways that ever delivered or sent a Start since the store was opened, from
    /// [`Cursor::START`] or from the end of the page before. Answers from memory.
    fn gateways_page(&self, from: Cursor) -> Page<GatewayEntry>;

    /// A reader of rows of a series. Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Read`]; [`StoreError::Failed`] if the store may lack acknowledged rows.
    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError>;
}
