//! Lists in pages.

/// Where a page of a list begins. Only the store that made it knows what its position means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor(u64);

impl Cursor {
    /// The beginning of every list.
    pub const START: Self = Self(0);

    /// Made by a store for a position in its list; 0 is the beginning.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// For the store that made it.
    pub const fn position(self) -> u64 {
        self.0
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T, C = Cursor> {
    /// In order; may be empty although the list continues.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<C>,
}
