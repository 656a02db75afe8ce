//! The label index: which series have which labels, so that a selector finds them without walking all series.
//!
//! - `indexer`: the thread that keeps it up to date;
//! - `build`: makes an index of some series, and one of several;
//! - `postings`: an index, with its `texts` and `lists`;
//! - `matching`: looks the matchers of a selector up, with an `automaton` and the `literals` of each regular expression;
//! - `selection`: the series found, page by page.
//!
//! The catalog is the truth, and the index a copy made from it: each of its parts is immutable and covers a range of
//! ids. New series are the *tail*, which a selection checks one by one until the indexer makes a part of them; parts
//! that are neighbours are merged as they grow. So a new series costs ingest nothing. A removed series stays in its
//! part, is not found in the catalog, and goes when many are.

mod automaton;
mod bits;
mod build;
pub(in crate::store) mod indexer;
mod lists;
mod literals;
mod matching;
mod postings;
pub(in crate::store) mod selection;
mod texts;

use std::{
    sync::{
        Arc, Mutex, OnceLock, RwLock, TryLockError,
        atomic::{AtomicU32, Ordering},
    },
    thread::Thread,
};

use self::{
    bits::Bits,
    build::{Source, build, merge},
    postings::{Postings, SERIES_MAX, TEXT_MAX},
};
use crate::store::{
    SeriesEntry,
    catalog::listing::number_of,
    embedded::locks::{lock, read},
    wal::apply::StoreState,
};

/// Series of the tail that make a part: checking them one by one takes about a millisecond.
const TAIL_SERIES: u32 = 4_096;
/// Most series taken for a part at once, about.
const PART_SERIES: usize = 1 << 16;
/// Parts without their removed series are made once there are this many, and a quarter of all.
const REMOVED_MIN: u32 = 4_096;
/// Ids whose series are looked for under one lock.
const IDS_AT_ONCE: u32 = 4_096;

/// The index of a catalog.
#[derive(Debug, Default)]
pub(in crate::store) struct LabelIndex {
    /// Locked only to copy or replace the pointer.
    current: Mutex<Arc<Parts>>,
    /// Held while parts are made.
    making: Mutex<()>,
    /// `to` of the current parts.
    indexed_to: AtomicU32,
    /// Series removed since parts were last made without them.
    removed: AtomicU32,
    /// The indexer; a store without one indexes when it selects.
    indexer: OnceLock<Thread>,
}

/// The index at one time.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// In order of ids.
    all: Vec<Arc<Postings>>,
    /// Series with smaller ids are indexed, the others are the tail.
    to: u32,
}

impl Parts {
    /// Appends a part, and merges it with those before it that are not much larger.
    fn push(&mut self, part: Arc<Postings>) {
        if part.len() == 0 {
            return;
        }
        self.all.push(part);
        let (mut series, mut text, mut count) = (0, 0, 0);
        for part in self.all.iter().rev() {
            let fits = series + part.len() <= SERIES_MAX && text + part.text_bytes() <= TEXT_MAX;
            if count > 0 && (part.len() >= 2 * series || !fits) {
                break;
            }
            (series, text, count) = (series + part.len(), text + part.text_bytes(), count + 1);
        }
        if count > 1 {
            let merged = self.all.split_off(self.all.len() - count);
            let sources: Vec<_> = merged.iter().map(|postings| Source { postings, kept: None }).collect();
            self.all.push(Arc::new(merge(&sources)));
        }
    }
}

impl LabelIndex {
    /// Tells it of a new series; ids ascend.
    pub(in crate::store) fn note_added(&self, id: u32) {
        let to = self.indexed_to.load(Ordering::Relaxed);
        // Not for each one: waking is a system call.
        if id.saturating_sub(to) >= TAIL_SERIES && id.is_multiple_of(TAIL_SERIES / 8) {
            self.wake();
        }
    }

    /// Tells it of a removed series.
    pub(in crate::store) fn note_removed(&self) {
        if self.removed.fetch_add(1, Ordering::Relaxed).is_multiple_of(REMOVED_MIN) {
            self.wake();
        }
    }

    /// Sets the thread that indexes from now on.
    fn set_indexer(&self, thread: Thread) {
        // There is only one.
        let _ = self.indexer.set(thread);
    }

    fn wake(&self) {
        if let Some(indexer) = self.indexer.get() {
            indexer.unpark();
        }
    }

    fn parts(&self) -> Arc<Parts> {
        Arc::clone(&lock(&self.current))
    }

    fn publish(&self, parts: Parts) {
        let to = parts.to;
        let before = std::mem::replace(&mut *lock(&self.current), Arc::new(parts));
        // Frees memory without the lock.
        drop(before);
        self.indexed_to.store(to, Ordering::Relaxed);
    }

    /// Indexes the tail if it is long, and leaves removed series out if they are many. Holds the state's lock only to
    /// copy a page of series. Ends early if `stop` says so.
    pub(in crate::store) fn catch_up(&self, state: &RwLock<StoreState>, stop: &dyn Fn() -> bool) {
        let _alone = match self.making.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut parts = Parts::clone(&self.parts());
        while !stop() && read(state).catalog.next_series.saturating_sub(parts.to) >= TAIL_SERIES {
            let (series, to) = series_from(state, parts.to);
            parts.push(Arc::new(build(&series)));
            parts.to = to;
            self.publish(parts.clone());
        }
        let (removed, series) = (self.removed.load(Ordering::Relaxed), parts.series());
        if !stop() && removed >= REMOVED_MIN && removed >= series / 4 {
            self.publish(without_removed(&parts, state));
            self.removed.fetch_sub(removed, Ordering::Relaxed);
        }
    }

    /// Memory in bytes.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.parts().all.iter().map(|part| part.bytes()).sum()
    }
}

impl Parts {
    fn series(&self) -> u32 {
        self.all.iter().fold(0, |sum, part| sum.saturating_add(part.len()))
    }
}

/// Series from a number on, as many as make a part; and the id after them.
fn series_from(state: &RwLock<StoreState>, from: u32) -> (Vec<SeriesEntry>, u32) {
    let (mut series, mut next) = (Vec::new(), Some(from));
    let end = read(state).catalog.next_series;
    while let Some(from) = next.filter(|_| series.len() < PART_SERIES) {
        let page = read(state).catalog.entries_from(from);
        series.extend(page.entries);
        next = page.next;
    }
    // After the last page, further series may have come, with ids from `end` on.
    let last = series.last().map_or(from, |entry: &SeriesEntry| number_of(entry.id).saturating_add(1));
    (series, next.unwrap_or_else(|| end.max(last)))
}

/// The same parts without series that are removed.
fn without_removed(parts: &Parts, state: &RwLock<StoreState>) -> Parts {
    let mut kept_parts = Parts { all: Vec::new(), to: parts.to };
    for postings in &parts.all {
        let mut kept = Bits::none(postings.len());
        let mut at = 0;
        while at < postings.len() {
            let end = at.saturating_add(IDS_AT_ONCE).min(postings.len());
            let series = &read(state).catalog.series;
            let is_kept = |at: &u32| postings.id(*at).is_some_and(|id| series.get(id).is_some());
            (at..end).filter(is_kept).for_each(|at| kept.insert(at..at + 1));
            at = end;
        }
        if kept.count() == postings.len() {
            kept_parts.push(Arc::clone(postings));
        } else {
            kept_parts.push(Arc::new(merge(&[Source { postings, kept: Some(&kept) }])));
        }
    }
    kept_parts
}

#[cfg(test)]
mod tests;
