//! A section of a reader's range: what memory and tables held of it at one moment.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Window};

use super::{damage::DamagedSpans, step::Step};
use crate::store::{
    Merged, RowRequest, StoreError,
    memtable::row::PartialName,
    tables::{
        cache::BlockCache,
        fresh::FreshRows,
        pieces::{Coarsest, Floors, Mark, Piece, coarsest_for, marks, pieces},
        repeats::{self, Held},
        resolution::Resolution,
        version::Version,
    },
};

/// Names that are looked up in the tables together, and blocks after which a call ends.
const NAMES_AT_ONCE: usize = 64;
const BLOCKS_A_CALL: usize = 64;
const NAMES_A_CALL: usize = if cfg!(test) { 128 } else { 4_096 };
/// Pieces that are passed over in one call, because they have no rows.
const PIECES_A_CALL: usize = 1_024;

/// What a section is read from, taken at one moment.
pub(super) struct Snapshot<D: Disk> {
    pub(super) version: Arc<Version<D>>,
    pub(super) floors: Floors,
    /// Rows in memory that start up to here may be in the tables too.
    pub(super) flushed: Timestamp,
    /// The last end of any row of the series.
    pub(super) ends: Timestamp,
    pub(super) fresh: FreshRows,
}

/// Rows of one series that start in a part of the range.
pub(super) struct Section<D: Disk> {
    series: u32,
    from: Timestamp,
    pub(super) to: Timestamp,
    snapshot: Snapshot<D>,
    coarsest: Coarsest,
    /// Places of the rows in memory that are to be looked up in the tables.
    unchecked: Range<usize>,
    /// Starts of rows in memory that replace flushed ones, or may.
    fine: Vec<Timestamp>,
    /// Where intervals are divided; `None`: there is no plan yet.
    marks: Option<Vec<Mark>>,
    pieces: VecDeque<Piece>,
    step: Option<Step<D>>,
}

impl<D: Disk> Section<D> {
    /// The rows that start in [from, to).
    pub(super) fn new(
        series: u32,
        (from, to): (Timestamp, Timestamp),
        request: &RowRequest,
        snapshot: Snapshot<D>,
    ) -> Self {
        let without_windows = coarsest_for(&request.steps);
        let beside_windows = match request.resolution {
            Merged::Allowed => without_windows,
            Merged::OnlyWithoutWindows => Resolution::Windows,
        };
        // Windows of one name are resolved when they are read, rows of other resolutions cannot be.
        let unchecked = match beside_windows {
            Resolution::Windows => 0..0,
            _ => {
                let [windows, ..] = snapshot.floors;
                snapshot.fresh.range(windows, snapshot.flushed.saturating_add_nanos(1))
            }
        };
        Self {
            series,
            from,
            to,
            snapshot,
            coarsest: Coarsest { beside_windows, without_windows },
            unchecked,
            fine: Vec::new(),
            marks: None,
            pieces: VecDeque::new(),
            step: None,
        }
    }

    /// Visits the next rows; returns false after the last ones.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub(super) fn advance(
        &mut self,
        request: &RowRequest,
        cache: &BlockCache,
        damaged: &mut DamagedSpans,
        visit: &mut dyn FnMut(Window, &[u8]),
    ) -> Result<bool, StoreError> {
        if self.marks.is_none() {
            if !self.check(cache) {
                return Ok(true);
            }
            let marks = marks(std::mem::take(&mut self.fine), &request.steps, self.from, self.to);
            self.pieces = pieces(self.from, self.to, self.coarsest, &self.snapshot.floors, &marks).into();
            self.marks = Some(marks);
        }
        if self.step.is_none() && !self.begin_step() {
            return Ok(!self.pieces.is_empty());
        }
        let Some(step) = &mut self.step else { return Ok(true) };
        if !step.is_begun() {
            if !step.load(cache) {
                return Ok(true);
            }
            self.pass_over_damage(cache, damaged)?;
        }
        let Some(step) = &mut self.step else { return Ok(true) };
        let fresh = &self.snapshot.fresh;
        let more = match damaged.has_open() {
            false => step.emit(fresh, visit),
            true => step.emit(fresh, &mut |window, body| {
                damaged.row_at(window.start());
                visit(window, body);
            }),
        };
        if !more {
            self.step = None;
        }
        Ok(true)
    }

    /// Leaves out rows in memory that the tables hold too, and notes those that replace a flushed one, or may; returns
    /// whether all were looked up.
    fn check(&mut self, cache: &BlockCache) -> bool {
        let Self { snapshot: Snapshot { version, fresh, .. }, unchecked, fine, .. } = self;
        let (mut blocks, mut checked, mut found) = (0, 0, Vec::new());
        while unchecked.start < unchecked.end {
            if blocks >= BLOCKS_A_CALL || checked >= NAMES_A_CALL {
                return false;
            }
            let (names, revisions) = batch(fresh, unchecked);
            blocks += repeats::revisions(version, cache, self.series, &names, &mut found);
            for (((place, name), revision), held) in unchecked.clone().zip(&names).zip(revisions).zip(&found)
            {
                match held {
                    Held::Nothing => {}
                    Held::Revision(held) if *held >= revision => fresh.set_repeat(place),
                    Held::Revision(_) | Held::Unknown => {
                        if fine.last() != Some(&name.start) {
                            fine.push(name.start);
                        }
                    }
                }
            }
            checked += names.len();
            unchecked.start += names.len().max(1);
        }
        fresh.drop_repeats();
        true
    }

    /// Begins the step of the next piece that may have rows; false if none of some has any.
    fn begin_step(&mut self) -> bool {
        for _ in 0..PIECES_A_CALL {
            let Some(piece) = self.pieces.pop_front() else { return false };
            let Some(from) = self.next_start(&piece) else { continue };
            let Piece { mut to, resolution, .. } = piece;
            let partition = resolution.partition_of(from);
            let end = resolution.partition_end(partition);
            if end < to || (end == to && end == Timestamp::MAX) {
                to = end;
            }
            let tables = self.snapshot.version.of(resolution, partition);
            let step = Step::new(self.series, Piece { from, to, resolution }, tables);
            if step.piece.to < piece.to {
                self.pieces.push_front(Piece { from: step.piece.to, ..piece });
            }
            self.step = Some(step);
            return true;
        }
        false
    }

    /// The first time in a piece at which there may be rows; years without any are skipped.
    fn next_start(&self, piece: &Piece) -> Option<Timestamp> {
        let Piece { from, to, resolution } = *piece;
        let Snapshot { version, fresh, .. } = &self.snapshot;
        let mut partitions = version.partitions(resolution, resolution.partition_of(from));
        let stored = partitions.next().map(|(partition, _)| resolution.partition_start(partition).max(from));
        let places = fresh.range(from, to);
        let fresh = fresh.name(places.start).filter(|_| !places.is_empty()).map(|(name, _)| name.start);
        stored.into_iter().chain(fresh).min().filter(|start| *start < to)
    }

    /// Reports what could not be read of the step, or reads finer rows in its place.
    fn pass_over_damage(&mut self, cache: &BlockCache, damaged: &mut DamagedSpans) -> Result<(), StoreError> {
        let Some(step) = &mut self.step else { return Ok(()) };
        let (unread, Piece { from, mut to, resolution }) = (std::mem::take(&mut step.unread), step.piece);
        if let Some((_, error)) = unread.iter().find(|(_, error)| error.is_refusal()) {
            return Err(StoreError::Read(error.to_string()));
        }
        if let (false, Some(finer)) = (unread.is_empty(), resolution.finer()) {
            let floors = &self.snapshot.floors;
            let floor = floors.get(usize::from(finer.number())).copied().unwrap_or(Timestamp::MAX);
            // What cannot be read of merged rows, the finer ones tell, as far as they are kept.
            let floor = floor.max(from);
            if floor < to {
                let coarsest = Coarsest { beside_windows: finer, without_windows: finer };
                let marks = self.marks.as_deref().unwrap_or_default();
                let instead = pieces(floor, to, coarsest, floors, marks);
                instead.into_iter().rev().for_each(|piece| self.pieces.push_front(piece));
                to = floor;
            }
        }
        for ((first, last), error) in unread {
            if from >= to || first >= to || last < from {
                continue;
            }
            cache.damaged.report(
                &error,
                "answers leave out their span, and say so; `catchment-aggregator store verify` lists all damage",
            );
            let starts = (first.max(from), last.min(to.saturating_sub_nanos(1)));
            damaged.add_rows(starts, self.snapshot.ends);
        }
        step.piece.to = to;
        if from >= to {
            self.step = None;
        }
        Ok(())
    }

    /// Approximate memory, bytes.
    pub(super) fn memory(&self) -> usize {
        let marks = self.marks.as_ref().map_or(0, Vec::capacity) * size_of::<Mark>();
        let plan = marks + self.pieces.capacity() * size_of::<Piece>();
        let blocks = self.step.as_ref().map_or(0, Step::memory);
        self.snapshot.fresh.memory() + self.fine.capacity() * size_of::<Timestamp>() + plan + blocks
    }
}

/// Some names of one partition, and their revisions.
fn batch(fresh: &FreshRows, places: &Range<usize>) -> (Vec<PartialName>, Vec<u64>) {
    let partition = |name: &PartialName| Resolution::Windows.partition_of(name.start);
    let first = fresh.name(places.start).map(|(name, _)| partition(name));
    let rows = places.clone().take(NAMES_AT_ONCE).filter_map(|place| fresh.name(place));
    rows.take_while(|(name, _)| first == Some(partition(name)))
        .map(|(name, revision)| (*name, revision))
        .unzip()
}
