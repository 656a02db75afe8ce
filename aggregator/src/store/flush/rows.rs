//! What a flush writes of one series: each name once, and rows of intervals in which a window was replaced.

use std::{collections::hash_map::Entry, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::{Collector, Parts, Spares, Timestamp, Window};

use crate::store::{
    memtable::row::{RowRef, resolve},
    tables::{
        block::TableBlock,
        build::{BuildError, Replacing},
        cache::BlockCache,
        coarsen::{MERGED, interval_of},
        error::TableError,
        repeats,
        resolution::Resolution,
        version::Version,
    },
};

/// The tables that a flush looks into.
pub(in crate::store) struct Flushed<'a, D: Disk> {
    pub(in crate::store) version: &'a Version<D>,
    pub(in crate::store) cache: &'a BlockCache,
    /// No row of the series in them starts later.
    pub(in crate::store) to: Timestamp,
    /// Windows that start earlier were removed: nobody knows their names any more.
    pub(in crate::store) from: Timestamp,
}

impl<D: Disk> Flushed<'_, D> {
    /// Leaves out rows that the tables hold. `rows` are of one series, sorted by name. Returns the merged rows of the intervals in which one is replaced.
    ///
    /// # Errors
    /// A partial in memory is malformed, or a table cannot be opened now.
    pub(in crate::store) fn without_repeats(
        &self,
        rows: &mut Vec<RowRef<'_>>,
    ) -> Result<Replacing, BuildError> {
        let (mut replaced, mut refused) = (Vec::new(), None);
        rows.retain(|row| {
            if row.name.start > self.to || row.name.start < self.from {
                return true;
            }
            match repeats::revision(self.version, self.cache, row.series, &row.name) {
                Ok(None) => true,
                Ok(Some(held)) if held >= row.revision => false,
                Ok(Some(_)) => {
                    replaced.push(row.name.window());
                    true
                }
                Err(error) => {
                    refused = self.unread(error).err().or(refused.take());
                    true
                }
            }
        });
        if let Some(refused) = refused {
            return Err(refused);
        }
        let mut replacing = Replacing::new();
        for (window, (resolution, parts)) in
            replaced.iter().flat_map(|window| MERGED.into_iter().map(move |merged| (*window, merged)))
        {
            let (start, width) = interval_of(resolution, window);
            let place = (resolution, Window::containing(start, width));
            if let Entry::Vacant(free) = replacing.entry(place) {
                free.insert(self.whole(rows, place, parts)?);
            }
        }
        Ok(replacing)
    }

    /// The merged row of an interval, from the windows in the tables and these, which are sorted by name.
    fn whole(
        &self,
        rows: &[RowRef<'_>],
        (resolution, interval): (Resolution, Window),
        parts: Parts,
    ) -> Result<Vec<u8>, BuildError> {
        let (from, to) = (interval.start(), interval.end());
        let mut all = starting_in(rows, |row| row.name.start, from, to).to_vec();
        let Some(series) = all.first().map(|row| row.series) else { return Ok(Vec::new()) };
        let blocks = self.blocks(series, from, to)?;
        all.extend(blocks.iter().flat_map(|block| block.rows(series, from, to)));
        resolve(&mut all);
        let place = (interval.start(), interval.width());
        let (mut windows, spares) = (Collector::new(parts), &mut Spares::default());
        for row in all.iter().filter(|row| interval_of(resolution, row.name.window()) == place) {
            windows.push(row.body, row.name.start, spares)?;
        }
        let mut body = Vec::new();
        windows.merged(spares).encode(from, &mut body);
        Ok(body)
    }

    fn blocks(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Arc<TableBlock>>, BuildError> {
        let windows = Resolution::Windows;
        let last = windows.partition_of(to.saturating_sub_nanos(1));
        let partitions = self.version.partitions(windows, windows.partition_of(from));
        let mut blocks = Vec::new();
        for stored in
            partitions.take_while(|(partition, _)| *partition <= last).flat_map(|(_, tables)| tables)
        {
            let numbers = match stored.table.blocks_of(series, from, to) {
                Ok(numbers) => numbers,
                Err(error) => {
                    self.unread(error)?;
                    continue;
                }
            };
            for number in numbers {
                match stored.table.block(number, Some(self.cache)) {
                    Ok(block) => blocks.push(block),
                    Err(error) => self.unread(error)?,
                }
            }
        }
        Ok(blocks)
    }

    /// A block that cannot be read.
    ///
    /// # Errors
    /// It is not damaged, but the system refuses to open it: the round is tried again later.
    fn unread(&self, error: TableError) -> Result<(), BuildError> {
        if error.is_refusal() {
            return Err(BuildError::Refused(error));
        }
        self.cache.damaged.report(&error, "a window that is delivered again may count twice there");
        Ok(())
    }
}

/// Those of rows sorted by start that start in [from, to). Found by halves: a series may have very many replaced intervals.
fn starting_in<T>(rows: &[T], start: impl Fn(&T) -> Timestamp, from: Timestamp, to: Timestamp) -> &[T] {
    let first = rows.partition_point(|row| start(row) < from);
    let rest = rows.get(first..).unwrap_or_default();
    let count = rest.partition_point(|row| start(row) < to);
    rest.get(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn rows_of_an_interval_are_found_without_a_look_at_all_others() {
        let rows: Vec<i64> = (0..65_536).map(|row| row / 2 * 10).collect();
        let looks = Cell::new(0);
        let start = |row: &i64| {
            looks.set(looks.get() + 1);
            Timestamp::from_nanos(*row)
        };
        for (from, to) in [(0, 60), (-5, 5), (1_001, 1_100), (327_670, 400_000), (500_000, 600_000), (70, 70)]
        {
            let wanted: Vec<i64> = rows.iter().filter(|row| (from..to).contains(*row)).copied().collect();
            let found = starting_in(&rows, start, Timestamp::from_nanos(from), Timestamp::from_nanos(to));
            assert_eq!(found, wanted);
        }
        assert!(looks.get() <= 6 * 2 * 18, "{} looks", looks.get());
    }
}
