//! The list of segments and the durable position, shared by owner, committer and readers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::format::segment_name;
use crate::fs::{Disk, DiskFile};
use crate::position::Position;
use crate::presence::{PresenceError, check_path};

/// One segment file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Position of its first byte.
    pub start: Position,
    /// Bytes of the file, reserved space included.
    pub file_bytes: u64,
}

/// Never empty: the last entry is the segment being appended to.
pub(crate) struct Segments {
    dir: PathBuf,
    pub(crate) salt: u64,
    list: Mutex<List>,
    newest: Mutex<Option<Newest>>,
    durable: AtomicU64,
    /// Segments that lie entirely below may be removed when space is short.
    spare: AtomicU64,
    /// The totals of the list, so that a caller that asks for each message neither sums nor waits.
    bytes: AtomicU64,
    spare_bytes: AtomicU64,
    /// Held while a segment is removed, so that each removal is durable before the next.
    removing: Mutex<()>,
}

/// Identity of the file being appended to.
#[derive(Copy, Clone)]
struct Newest {
    start: Position,
    id: (u64, u64),
}

/// The segments, oldest first, and their totals.
#[derive(Default)]
struct List {
    segments: Vec<Segment>,
    bytes: u64,
    /// The oldest so many lie entirely below [`Segments::spare`], and these are their bytes.
    spare: usize,
    spare_bytes: u64,
}

impl List {
    fn new(segments: Vec<Segment>) -> Self {
        let bytes = segments.iter().map(|segment| segment.file_bytes).sum();
        Self { segments, bytes, ..Self::default() }
    }

    fn push(&mut self, segment: Segment) {
        self.bytes = self.bytes.saturating_add(segment.file_bytes);
        self.segments.push(segment);
    }

    /// Never of a spare segment: another one follows each of those.
    fn set_last_bytes(&mut self, file_bytes: u64) {
        if let Some(last) = self.segments.last_mut() {
            let before = std::mem::replace(&mut last.file_bytes, file_bytes);
            self.bytes = self.bytes.saturating_sub(before).saturating_add(file_bytes);
        }
    }

    fn forget(&mut self, start: Position) {
        let Some(at) = self.segments.iter().position(|segment| segment.start == start) else { return };
        let gone = self.segments.remove(at);
        self.bytes = self.bytes.saturating_sub(gone.file_bytes);
        if at < self.spare {
            self.spare -= 1;
            self.spare_bytes = self.spare_bytes.saturating_sub(gone.file_bytes);
        }
    }

    /// Counts the segments that have become spare; each of them once.
    fn count_spare(&mut self, before: Position) {
        while let Some([segment, next, ..]) = self.segments.get(self.spare..)
            && next.start <= before
        {
            self.spare += 1;
            self.spare_bytes = self.spare_bytes.saturating_add(segment.file_bytes);
        }
    }
}

impl Segments {
    pub(crate) fn new(dir: &Path, salt: u64, list: Vec<Segment>, durable: Position) -> Self {
        let (list, newest, removing) = (List::new(list), Mutex::new(None), Mutex::new(()));
        let (durable, spare) = (AtomicU64::new(durable.get()), AtomicU64::new(0));
        let (bytes, spare_bytes) = (AtomicU64::new(list.bytes), AtomicU64::new(0));
        let list = Mutex::new(list);
        Self { dir: dir.to_owned(), salt, list, newest, durable, spare, bytes, spare_bytes, removing }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the list and publishes its totals.
    fn change(&self, change: impl FnOnce(&mut List)) {
        let mut list = self.list();
        change(&mut list);
        list.count_spare(self.spare());
        self.bytes.store(list.bytes, Ordering::Release);
        self.spare_bytes.store(list.spare_bytes, Ordering::Release);
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, start: Position) -> PathBuf {
        self.dir.join(segment_name(start))
    }

    pub(crate) fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn set_durable(&self, durable: Position) {
        self.durable.store(durable.get(), Ordering::Release);
    }

    pub(crate) fn spare(&self) -> Position {
        Position::new(self.spare.load(Ordering::Acquire))
    }

    /// Raises [`Self::spare`]; it never falls.
    pub(crate) fn raise_spare(&self, before: Position) {
        self.spare.fetch_max(before.get(), Ordering::AcqRel);
        self.change(|_| {});
    }

    /// All segments, oldest first.
    pub(crate) fn all(&self) -> Vec<Segment> {
        self.list().segments.clone()
    }

    /// Bytes of the segments that lie entirely below [`Self::spare`].
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spare_bytes.load(Ordering::Acquire)
    }

    pub(crate) fn start(&self) -> Position {
        self.list().segments.first().map_or(Position::ZERO, |segment| segment.start)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    pub(crate) fn push(&self, segment: Segment) {
        self.change(|list| list.push(segment));
    }

    pub(crate) fn set_last_bytes(&self, file_bytes: u64) {
        self.change(|list| list.set_last_bytes(file_bytes));
    }

    /// Records which file is appended to from now on. If the system does not report its identity, only the name is
    /// checked.
    pub(crate) fn set_newest<F: DiskFile>(&self, start: Position, file: &F) {
        let newest = file.status().ok().map(|status| Newest { start, id: status.id });
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = newest;
    }

    /// Checks that every segment is in place and not shorter than before, and that the one being appended to is the
    /// same file. Segments below `released` may be removed meanwhile.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub(crate) fn check_in_place<D: Disk>(
        &self,
        disk: &D,
        released: impl Fn() -> Position,
    ) -> Result<(), PresenceError> {
        for segment in self.all() {
            self.check_segment(disk, segment.start, &released)?;
        }
        Ok(())
    }

    /// The committer may end a segment, remove it, or begin the next one between a look at the list and one at the
    /// file: a finding counts only if the list still says what it was found against.
    fn check_segment<D: Disk>(
        &self,
        disk: &D,
        start: Position,
        released: &impl Fn() -> Position,
    ) -> Result<(), PresenceError> {
        let mut seen = self.with_next(start);
        while let Some((segment, _)) = seen {
            let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            let id = newest.filter(|newest| newest.start == start).map(|newest| newest.id);
            let Err(error) = check_path(disk, &self.path(start), id, segment.file_bytes) else {
                return Ok(());
            };
            let now = self.with_next(start);
            let next = now.and_then(|(_, next)| next);
            if next.is_some_and(|next| next <= released().max(self.spare())) {
                return Ok(());
            }
            if now == seen {
                return Err(error);
            }
            seen = now;
        }
        Ok(())
    }

    /// The segment that begins at a position, if it was not removed, and the start of the one after it.
    fn with_next(&self, start: Position) -> Option<(Segment, Option<Position>)> {
        let list = self.list();
        let at = list.segments.iter().position(|segment| segment.start == start)?;
        Some((*list.segments.get(at)?, list.segments.get(at + 1).map(|next| next.start)))
    }

    /// The oldest segment, if it lies entirely below `before` and is not the last.
    fn releasable(&self, before: Position) -> Option<Segment> {
        match self.list().segments.as_slice() {
            [oldest, next, ..] if next.start <= before => Some(*oldest),
            _ => None,
        }
    }

    /// Forgets a segment, so that no reader opens it again.
    fn forget(&self, start: Position) {
        self.change(|list| list.forget(start));
    }

    /// The segment that holds a position (the oldest one for positions before it), and the start of the next one.
    pub(crate) fn holding(&self, at: Position) -> Option<(Position, Option<Position>)> {
        let list = self.list();
        let after = list.segments.partition_point(|segment| segment.start <= at).max(1);
        let segment = list.segments.get(after - 1)?;
        Some((segment.start, list.segments.get(after).map(|next| next.start)))
    }
}

/// Removes the segments that lie entirely below `before`, oldest first and each durably before the next, so that no
/// crash leaves a gap.
///
/// # Errors
/// A removal failed. The error is final and ends the log.
pub(crate) fn remove_released<D: Disk>(
    disk: &D,
    segments: &Segments,
    before: Position,
) -> Result<(), Arc<str>> {
    while remove_oldest(disk, segments, before)? {}
    Ok(())
}

/// Removes the oldest segment, durably, if it lies entirely below `before`. Returns whether it did.
///
/// # Errors
/// As [`remove_released`].
pub(crate) fn remove_oldest<D: Disk>(
    disk: &D,
    segments: &Segments,
    before: Position,
) -> Result<bool, Arc<str>> {
    let unremovable = |error: io::Error| -> Arc<str> {
        format!("{}: remove released segments: {error}", segments.dir().display()).into()
    };
    let _removing = segments.removing.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(segment) = segments.releasable(before) else { return Ok(false) };
    match disk.remove(&segments.path(segment.start)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unremovable(error)),
        _ => {}
    }
    segments.forget(segment.start);
    disk.sync_dir(segments.dir()).map_err(unremovable)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn segments(list: Vec<Segment>) -> Segments {
        Segments::new(Path::new("/log"), 0, list, Position::ZERO)
    }

    /// What the totals stand for, summed anew.
    fn summed(segments: &Segments) -> (u64, u64) {
        let (list, spare) = (segments.all(), segments.spare());
        let ends = list.iter().skip(1).map(|next| next.start);
        let below = list.iter().zip(ends).take_while(|(_, end)| *end <= spare);
        let spare_bytes = below.map(|(segment, _)| segment.file_bytes).sum();
        (list.iter().map(|segment| segment.file_bytes).sum(), spare_bytes)
    }

    #[test]
    fn the_totals_are_those_of_the_list() {
        let at = |n: u64| Segment { start: Position::new(64 * n), file_bytes: 10 };
        let mut random = 1_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for first in 1..50 {
            let segments = segments((0..first % 4 + 1).map(at).collect());
            let mut next = first % 4 + 1;
            for step in 0..200 {
                match draw(4) {
                    0 => {
                        segments.push(at(next));
                        next += 1;
                    }
                    1 => segments.set_last_bytes(draw(100)),
                    2 => segments.raise_spare(Position::new(draw(64 * next + 64))),
                    // Also beyond what is spare, as a release does.
                    _ => {
                        if let Some(oldest) = segments.releasable(Position::new(draw(64 * next + 64))) {
                            segments.forget(oldest.start);
                        }
                    }
                }
                assert_eq!((segments.bytes(), segments.spare_bytes()), summed(&segments), "{first}, {step}");
            }
        }
    }

    #[test]
    fn totals_are_told_without_a_look_at_the_list() {
        let segments = Arc::new(segments(vec![Segment { start: Position::ZERO, file_bytes: 10 }]));
        let list = segments.list();
        let (told, totals) = mpsc::sync_channel(1);
        let asked = Arc::clone(&segments);
        let asking = std::thread::spawn(move || told.send((asked.bytes(), asked.spare_bytes())));
        // Far longer than it takes: with a look it would never come while the list is held.
        let totals = totals.recv_timeout(Duration::from_secs(20));
        drop(list);
        asking.join().unwrap().unwrap();
        assert_eq!(totals, Ok((10, 0)));
    }
}
