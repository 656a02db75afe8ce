//! Collects which rows a batch changes, for the listener.

use std::{collections::HashMap, sync::Arc};

use crate::store::{Change, ChangeListener, SeriesId, memtable::row::PartialName};

/// The rows that a batch has changed so far.
#[derive(Debug)]
pub(in crate::store) struct BatchChanges {
    /// `None`: nobody wants to know.
    listener: Option<Arc<dyn ChangeListener>>,
    live: bool,
    changes: Vec<Change>,
    /// Place of the last change of each series.
    latest: HashMap<u32, usize>,
}

impl BatchChanges {
    /// None yet; `live`: of open windows.
    pub(in crate::store) fn new(listener: Option<&Arc<dyn ChangeListener>>, live: bool) -> Self {
        let listener = listener.filter(|listener| listener.listens(live)).cloned();
        Self { listener, live, changes: Vec::new(), latest: HashMap::new() }
    }

    /// Adds a row; windows that follow one another are one change.
    pub(in crate::store) fn add(&mut self, series: u32, name: &PartialName) {
        if self.listener.is_none() {
            return;
        }
        let window = name.window();
        let (from, to) = (window.start(), window.end());
        let place = self.latest.get(&series).copied();
        if let Some(change) = place.and_then(|place| self.changes.get_mut(place))
            && from <= change.to
            && change.from <= to
        {
            (change.from, change.to) = (change.from.min(from), change.to.max(to));
            return;
        }
        self.latest.insert(series, self.changes.len());
        self.changes.push(Change { series: SeriesId::new(series.into()), from, to });
    }

    /// Reports them; `next_series`: the number of the next new series.
    pub(in crate::store) fn report(self, next_series: u32) {
        if let Some(listener) = self.listener
            && !self.changes.is_empty()
        {
            listener.changed(&self.changes, self.live, SeriesId::new(next_series.into()));
        }
    }
}
