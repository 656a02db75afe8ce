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
    list: Mutex<Vec<Segment>>,
    newest: Mutex<Option<Newest>>,
    durable: AtomicU64,
    /// Segments that lie entirely below may be removed when space is short.
    spare: AtomicU64,
    /// Held while a segment is removed, so that each removal is durable before the next.
    removing: Mutex<()>,
}

/// Identity of the file being appended to.
#[derive(Copy, Clone)]
struct Newest {
    start: Position,
    id: (u64, u64),
}

impl Segments {
    pub(crate) fn new(dir: &Path, salt: u64, list: Vec<Segment>, durable: Position) -> Self {
        let (list, newest, removing) = (Mutex::new(list), Mutex::new(None), Mutex::new(()));
        let (durable, spare) = (AtomicU64::new(durable.get()), AtomicU64::new(0));
        Self { dir: dir.to_owned(), salt, list, newest, durable, spare, removing }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Segment>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
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
    }

    /// All segments, oldest first.
    pub(crate) fn all(&self) -> Vec<Segment> {
        self.list().clone()
    }

    /// Bytes of the segments that lie entirely below [`Self::spare`].
    pub(crate) fn spare_bytes(&self) -> u64 {
        let (list, spare) = (self.list(), self.spare());
        let ends = list.iter().skip(1).map(|next| next.start);
        list.iter()
            .zip(ends)
            .take_while(|(_, end)| *end <= spare)
            .map(|(segment, _)| segment.file_bytes)
            .sum()
    }

    pub(crate) fn start(&self) -> Position {
        self.list().first().map_or(Position::ZERO, |segment| segment.start)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list().iter().map(|segment| segment.file_bytes).sum()
    }

    pub(crate) fn push(&self, segment: Segment) {
        self.list().push(segment);
    }

    pub(crate) fn set_last_bytes(&self, file_bytes: u64) {
        if let Some(last) = self.list().last_mut() {
            last.file_bytes = file_bytes;
        }
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
        let list = self.list().clone();
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = list.iter().skip(1);
        for segment in &list {
            let next = next.next();
            let id = newest.filter(|newest| newest.start == segment.start).map(|newest| newest.id);
            let checked = check_path(disk, &self.path(segment.start), id, segment.file_bytes);
            if checked.is_err() && next.is_none_or(|next| next.start > released().max(self.spare())) {
                return checked;
            }
        }
        Ok(())
    }

    /// The oldest segment, if it lies entirely below `before` and is not the last.
    fn releasable(&self, before: Position) -> Option<Segment> {
        match self.list().as_slice() {
            [oldest, next, ..] if next.start <= before => Some(*oldest),
            _ => None,
        }
    }

    /// Forgets a segment, so that no reader opens it again.
    fn forget(&self, start: Position) {
        self.list().retain(|segment| segment.start != start);
    }

    /// The segment that holds a position (the oldest one for positions before it), and the start of the next one.
    pub(crate) fn holding(&self, at: Position) -> Option<(Position, Option<Position>)> {
        let list = self.list();
        let after = list.partition_point(|segment| segment.start <= at).max(1);
        let segment = list.get(after - 1)?;
        Some((segment.start, list.get(after).map(|next| next.start)))
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
