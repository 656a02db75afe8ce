//! Reads the rows of a series from memory and tables.
//!
//! A reader copies what memory holds of the series, and takes the version of the tables at the moment at which the copy is
//! complete, so that it sees each row once, whatever is flushed meanwhile. Of more rows than it may hold, it takes those of
//! the beginning of the range, reads them as a section, and then takes the next ones with the version of that moment. It
//! reads a section piece by piece ([`crate::store::tables::pieces`]); rows that memory holds join the rows of any
//! resolution, because merging is exact. Only a row that replaces a flushed one cannot join: its interval is read from
//! windows.
//!
//! Each call does bounded work: it copies, looks up or visits some rows, or reads some blocks.

mod damage;
mod section;
mod sorted;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Window};

use self::{
    damage::DamagedSpans,
    section::{Section, Snapshot},
};
use crate::store::{
    RowReader, RowRequest, StoreError,
    catalog::listing::number_of,
    embedded::{inner::Inner, locks::read},
    memtable::scan::MemoryScan,
    tables::{pieces::Floors, resolution::Resolution, version::Version},
};

/// Rows of one series, in order of the start of their windows.
pub(in crate::store) struct TableReader<'a, D: Disk> {
    inner: &'a Inner<D>,
    request: RowRequest,
    series: u32,
    /// Where the next section begins; `None`: there is none.
    next: Option<Timestamp>,
    /// What is copied of memory for the next section.
    scan: Option<MemoryScan>,
    section: Option<Section<D>>,
    /// Of the last section.
    last: Option<(Floors, Arc<Version<D>>)>,
    damaged: DamagedSpans,
}

impl<'a, D: Disk> TableReader<'a, D> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if memory may lack acknowledged rows.
    pub(in crate::store) fn new(inner: &'a Inner<D>, request: &RowRequest) -> Result<Self, StoreError> {
        inner.apply_durable();
        let mut reader = Self {
            inner,
            request: request.clone(),
            series: number_of(request.series),
            next: Some(request.from),
            scan: None,
            section: None,
            last: None,
            damaged: DamagedSpans::default(),
        };
        reader.copy()?;
        Ok(reader)
    }

    /// Continues to copy what memory holds; at the end, there is a section, or nothing is left to read.
    fn copy(&mut self) -> Result<(), StoreError> {
        let Some(next) = self.next else { return Ok(()) };
        if self.inner.is_half_applied() {
            self.inner.healthy()?;
        }
        let state = read(&self.inner.state);
        let Some(known) = state.catalog.series.get(self.series) else {
            self.next = None;
            return Ok(());
        };
        let from = next.max(known.first);
        let to = self.request.to.min(known.last.saturating_add_nanos(1));
        if !state.scan(self.series, (from, to), &mut self.scan) {
            return Ok(());
        }
        let tables = &self.inner.tables;
        let (version, floors, flushed) =
            (tables.version(), tables.floors_of(&state.catalog, known), known.flushed);
        let ends = if state.catalog.incomplete { Timestamp::MAX } else { known.end };
        drop(state);
        let Some(MemoryScan { rows: mut fresh, end, .. }) = self.scan.take() else {
            self.next = None;
            return Ok(());
        };
        fresh.resolve();
        if fresh.to() < end {
            fresh.align(finest_at(&floors, fresh.to()).unwrap_or(Resolution::Windows));
        }
        let to = fresh.to();
        // A merged row starts with its interval, perhaps before the first window.
        let from = next.max(Resolution::Day.start_of(from));
        self.note_change(next, &floors, &version);
        self.next = (to < end).then_some(to);
        self.last = Some((floors, Arc::clone(&version)));
        let snapshot = Snapshot { version, floors, flushed, ends, fresh };
        self.section = Some(Section::new(self.series, (from, to), &self.request, snapshot));
        Ok(())
    }

    /// Reports the rest of an interval within which this section begins, if the row that stands for it, which starts
    /// before, may now hold more than the last section has read: retention has removed its finer rows since, or they were
    /// removed before and a flush has put rows from memory into it.
    fn note_change(&mut self, from: Timestamp, floors: &Floors, version: &Arc<Version<D>>) {
        let Some((floors_before, version_before)) = &self.last else { return };
        let Some((left, known)) = finest_at(floors, from).zip(finest_at(floors_before, from)) else { return };
        let start = left.start_of(from);
        if let Some(interval) = left.interval()
            && (left > known || !Arc::ptr_eq(version, version_before))
            && start < from
        {
            let end = start.saturating_add_nanos(interval.as_nanos());
            self.damaged.add((from, end.min(self.request.to)));
        }
    }
}

/// The finest resolution that is complete at a time.
fn finest_at(floors: &Floors, time: Timestamp) -> Option<Resolution> {
    let is_complete = |resolution: &Resolution| {
        floors.get(usize::from(resolution.number())).is_some_and(|floor| *floor <= time)
    };
    Resolution::ALL.into_iter().find(is_complete)
}

impl<D: Disk> RowReader for TableReader<'_, D> {
    fn advance(&mut self, visit: &mut dyn FnMut(Window, &[u8])) -> Result<bool, StoreError> {
        if self.section.is_none() {
            self.copy()?;
        }
        let Some(section) = &mut self.section else { return Ok(self.next.is_some()) };
        let cache = &self.inner.tables.cache;
        if !section.advance(&self.request, cache, &mut self.damaged, visit)? {
            self.section = None;
        }
        Ok(self.section.is_some() || self.next.is_some())
    }

    fn memory(&self) -> usize {
        let copied = self.scan.as_ref().map_or(0, |scan| scan.rows.memory());
        copied + self.section.as_ref().map_or(0, Section::memory)
    }

    fn damaged(&self) -> &[(Timestamp, Timestamp)] {
        self.damaged.all()
    }
}
