//! The series that a selector selects, found with the index.

use std::{
    sync::{Arc, RwLock},
    vec,
};

use super::{
    bits::Bits,
    matching::{Found, Matchers, Search},
    postings::Postings,
};
use crate::{
    selector::Selector,
    store::{
        Page, SeriesEntry,
        boundary::selection::{Checker, Selection, Walk},
        embedded::locks::read,
        wal::apply::StoreState,
    },
};

/// Series copied at once: some 50 µs under the lock.
const SERIES_A_PAGE: usize = 512;

type CopyPage<'a> = Box<dyn Fn(u32) -> Page<SeriesEntry, u32> + Send + 'a>;

/// Goes through the parts of the index, and then through the series that are not indexed yet.
pub(in crate::store) struct IndexSelection<'a> {
    state: &'a RwLock<StoreState>,
    matchers: Matchers<'a>,
    checker: Checker<'a>,
    parts: vec::IntoIter<Arc<Postings>>,
    current: Option<(Arc<Postings>, Stage)>,
    tail: Walk<'a, u32, CopyPage<'a>>,
}

enum Stage {
    Searching(Box<Search>),
    /// Copies what was found, from a position on.
    Copying {
        series: Bits,
        unchecked: bool,
        at: u32,
    },
}

impl<'a> IndexSelection<'a> {
    /// Selects from the series that there are now, and some that come meanwhile.
    pub(in crate::store) fn new(state: &'a RwLock<StoreState>, selector: &'a Selector) -> Self {
        let index = Arc::clone(&read(state).catalog.index);
        if index.indexer.get().is_none() {
            index.catch_up(state, &|| false);
        }
        let parts = index.parts();
        let copy: CopyPage<'a> = Box::new(move |from| read(state).catalog.entries_from(from));
        Self {
            state,
            matchers: Matchers::new(selector),
            checker: Checker::new(selector),
            parts: parts.all.clone().into_iter(),
            current: None,
            tail: Walk::new(selector, parts.to, copy),
        }
    }

    /// A step in the present part; the series found are returned, or left to the checker. `None`: the part is done.
    fn step(&mut self) -> Option<Vec<SeriesEntry>> {
        let (postings, stage) = self.current.as_mut()?;
        match stage {
            Stage::Searching(search) => {
                if let Some(Found { series, unchecked }) = search.step(&mut self.matchers, postings) {
                    *stage = Stage::Copying { series, unchecked, at: 0 };
                }
                Some(Vec::new())
            }
            Stage::Copying { series, unchecked, at } => {
                let mut ids = Vec::new();
                while ids.len() < SERIES_A_PAGE
                    && let Some(position) = series.next_from(*at)
                {
                    ids.extend(postings.id(position));
                    *at = position + 1;
                }
                if ids.is_empty() {
                    return None;
                }
                let copied = read(self.state).catalog.entries_of(&ids);
                if !*unchecked {
                    return Some(copied);
                }
                self.checker.put(copied);
                Some(Vec::new())
            }
        }
    }
}

impl Selection for IndexSelection<'_> {
    fn next_page(&mut self) -> Option<Vec<SeriesEntry>> {
        if let Some(selected) = self.checker.step() {
            return Some(selected);
        }
        if let Some(selected) = self.step() {
            return Some(selected);
        }
        self.current = None;
        let Some(postings) = self.parts.next() else { return self.tail.next_page() };
        let search = Search::new(&self.matchers, &postings);
        self.current = Some((postings, Stage::Searching(Box::new(search))));
        Some(Vec::new())
    }

    fn memory(&self) -> usize {
        let current = match &self.current {
            Some((_, Stage::Searching(search))) => search.bytes(),
            Some((_, Stage::Copying { series, .. })) => series.bytes(),
            None => 0,
        };
        self.matchers.bytes() + self.checker.memory() + current + self.tail.memory()
    }
}
