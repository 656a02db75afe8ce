//! Writes windows to new tables of all resolutions.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
    sync::Arc,
};

use catchment_journal::Disk;
use catchment_partial::{DecodeError, Window};

use crate::store::{
    memtable::row::{PartialName, RowRef},
    tables::{
        coarsen::Coarsener,
        error::TableError,
        pieces::Floors,
        resolution::Resolution,
        version::{self, TableEntry},
        writer::TableWriter,
    },
};

/// Why tables could not be written.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum BuildError {
    /// The disk refuses.
    #[error("cannot write a table: {0}")]
    Disk(#[from] io::Error),
    /// The system refuses to open a table that may hold a name: too few descriptors, for instance.
    #[error(transparent)]
    Refused(TableError),
    /// A partial cannot be decoded, although it was checked before it was accepted.
    #[error("a partial in memory is malformed: {0}")]
    Partial(#[from] DecodeError),
}

/// Rows of minutes, hours and days that take the place of older ones, because a window in them was replaced: the
/// merged windows of the whole interval.
pub(in crate::store) type Replacing = HashMap<(Resolution, Window), Vec<u8>>;

/// The revision of a row that takes the place of those of older tables.
pub(in crate::store) const REPLACES: u64 = 1;

/// The file of a table: resolution, partition and id.
pub(in crate::store) type TableFile = (Resolution, i32, u64);

/// Tables that are being written: one for each resolution and partition that has rows.
pub(in crate::store) struct TableBuilder<'a, D: Disk> {
    disk: &'a Arc<D>,
    data: &'a Path,
    next_id: &'a dyn Fn() -> u64,
    /// Gets every file that is created, also of tables that are not finished then.
    created: &'a mut Vec<TableFile>,
    writers: BTreeMap<(Resolution, i32), (u64, TableWriter<D>)>,
    /// Rows that are older than everything that is kept of their series.
    expired: u64,
    /// At hand only within a series.
    coarsener: Coarsener,
}

impl<'a, D: Disk> TableBuilder<'a, D> {
    /// Of a data folder; `next_id` numbers the tables, `created` gets their files.
    pub(in crate::store) fn new(
        disk: &'a Arc<D>,
        data: &'a Path,
        next_id: &'a dyn Fn() -> u64,
        created: &'a mut Vec<TableFile>,
    ) -> Self {
        let (writers, coarsener) = (BTreeMap::new(), Coarsener::default());
        Self { disk, data, next_id, created, writers, expired: 0, coarsener }
    }

    /// Adds windows of a series, sorted by name, each name once and none in other tables, except for those that are
    /// replaced by rows of `replacing`. Series come in order of their numbers.
    ///
    /// # Errors
    /// [`BuildError`]; the tables cannot be finished then.
    pub(in crate::store) fn push_series(
        &mut self,
        rows: &[RowRef<'_>],
        floors: &Floors,
        replacing: &Replacing,
    ) -> Result<(), BuildError> {
        let Some(series) = rows.first().map(|row| row.series) else { return Ok(()) };
        let kept = |resolution: Resolution, name: &PartialName| {
            floors.get(usize::from(resolution.number())).is_some_and(|floor| *floor <= name.start)
        };
        let mut coarsener = std::mem::take(&mut self.coarsener);
        for row in rows {
            if kept(Resolution::Windows, &row.name) {
                self.put(Resolution::Windows, *row)?;
            }
            let mut emit = |resolution, window: Window, body: &[u8]| {
                self.put_merged(resolution, series, window, body, replacing, &kept)
            };
            coarsener.push(row.name.window(), row.body, &mut emit)?;
        }
        coarsener.finish(&mut |resolution, window, body| {
            self.put_merged(resolution, series, window, body, replacing, &kept)
        })?;
        self.coarsener = coarsener;
        Ok(())
    }

    fn put_merged(
        &mut self,
        resolution: Resolution,
        series: u32,
        window: Window,
        body: &[u8],
        replacing: &Replacing,
        kept: &dyn Fn(Resolution, &PartialName) -> bool,
    ) -> Result<(), BuildError> {
        let name = merged_name(window);
        if !kept(resolution, &name) {
            if resolution == Resolution::Day {
                self.expired += 1;
            }
            return Ok(());
        }
        let (body, revision) = match replacing.get(&(resolution, window)) {
            Some(whole) => (whole.as_slice(), REPLACES),
            None => (body, 0),
        };
        self.put(resolution, RowRef { series, name, revision, body })
    }

    /// Adds a row of a resolution.
    fn put(&mut self, resolution: Resolution, row: RowRef<'_>) -> Result<(), BuildError> {
        let partition = resolution.partition_of(row.name.start);
        let writer = match self.writers.entry((resolution, partition)) {
            std::collections::btree_map::Entry::Occupied(writer) => writer.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let id = (self.next_id)();
                let path = version::path(self.data, resolution, partition, id);
                let writer = TableWriter::create(self.disk, &path, resolution, partition)?;
                self.created.push((resolution, partition, id));
                place.insert((id, writer))
            }
        };
        Ok(writer.1.push(row)?)
    }

    /// Rows of days that were dropped, because they are older than everything that is kept of their series.
    pub(in crate::store) fn expired(&self) -> u64 {
        self.expired
    }

    /// Makes the tables durable; they count once the catalog names them. All of them get the same age.
    ///
    /// # Errors
    /// [`BuildError::Disk`].
    pub(in crate::store) fn finish(self, age: u64) -> Result<Vec<TableEntry>, BuildError> {
        let mut entries = Vec::with_capacity(self.writers.len());
        for ((resolution, partition), (id, writer)) in self.writers {
            let summary = writer.finish()?;
            entries.push(TableEntry {
                id,
                age,
                oldest: age,
                resolution,
                partition,
                summary,
                without: 0,
                purge: false,
            });
        }
        self.disk.sync_dir(&self.data.join(version::FOLDER))?;
        Ok(entries)
    }
}

/// The name of a merged row.
pub(in crate::store) fn merged_name(window: Window) -> PartialName {
    PartialName { start: window.start(), width: window.width(), epoch: 0, shard: 0, part: 0 }
}
