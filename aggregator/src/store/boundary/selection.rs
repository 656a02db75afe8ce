//! Pages of the series that a selector selects.

use std::{
    time::{Duration, Instant},
    vec,
};

use crate::{
    selector::Selector,
    store::{Page, SeriesEntry},
};

/// Most series checked in a step.
const CHECKED_A_STEP: usize = 64;
/// Length of a step: a regular expression may take milliseconds for one series.
const STEP: Duration = Duration::from_micros(20);

/// The series that a selector selects, in order of their ids, page by page.
///
/// Each call does bounded work and holds no lock while it matches, so its caller can yield or stop in between.
pub trait Selection: Send {
    /// The next series, at most some hundred; may be none although more follow. `None`: no more.
    fn next_page(&mut self) -> Option<Vec<SeriesEntry>>;

    /// Approximate memory that it holds, bytes.
    fn memory(&self) -> usize;
}

/// Checks series with a selector, a few in a step.
pub(in crate::store) struct Checker<'a> {
    selector: &'a Selector,
    entries: vec::IntoIter<SeriesEntry>,
    has_regex: bool,
}

impl<'a> Checker<'a> {
    pub(in crate::store) fn new(selector: &'a Selector) -> Self {
        Self { selector, entries: Vec::new().into_iter(), has_regex: selector.has_regex() }
    }

    /// Takes series to check; those before them are checked.
    pub(in crate::store) fn put(&mut self, entries: Vec<SeriesEntry>) {
        self.entries = entries.into_iter();
    }

    /// Those of the next few series that are selected; `None`: all are checked.
    pub(in crate::store) fn step(&mut self) -> Option<Vec<SeriesEntry>> {
        if self.entries.as_slice().is_empty() {
            return None;
        }
        let begun = self.has_regex.then(Instant::now);
        let mut selected = Vec::new();
        for entry in self.entries.by_ref().take(CHECKED_A_STEP) {
            if self.selector.matches(&entry.gateway, &entry.key) {
                selected.push(entry);
            }
            if begun.is_some_and(|begun| begun.elapsed() >= STEP) {
                break;
            }
        }
        Some(selected)
    }

    /// Approximate memory, bytes: names are shared with the store.
    pub(in crate::store) fn memory(&self) -> usize {
        size_of_val(self.entries.as_slice())
    }
}

/// Checks every series, page by page: the selection of a store without an index, and of series that no index holds yet.
pub(crate) struct Walk<'a, C, F> {
    checker: Checker<'a>,
    page: F,
    next: Option<C>,
}

impl<'a, C, F: Fn(C) -> Page<SeriesEntry, C>> Walk<'a, C, F> {
    /// `page` copies a page of the series from a place of the store's own on.
    pub(crate) fn new(selector: &'a Selector, from: C, page: F) -> Self {
        Self { checker: Checker::new(selector), page, next: Some(from) }
    }
}

impl<C: Send, F: Fn(C) -> Page<SeriesEntry, C> + Send> Selection for Walk<'_, C, F> {
    fn next_page(&mut self) -> Option<Vec<SeriesEntry>> {
        if let Some(selected) = self.checker.step() {
            return Some(selected);
        }
        let page = (self.page)(self.next.take()?);
        self.next = page.next;
        self.checker.put(page.entries);
        Some(Vec::new())
    }

    fn memory(&self) -> usize {
        self.checker.memory()
    }
}
