//! The disk side of a log: writes blocks, reserves space ahead, begins and releases segments.
//!
//! Invariants: one block is in flight; `tail` is durable; a segment is begun only when everything before its
//! start is durable; nothing here is called again after it returned [`WriteError::Failed`].

use std::io;
use std::sync::Arc;

use crate::config::{LogConfig, PAGE, page_up};
use crate::error::FullReason;
use crate::format::{SEGMENT_HEADER, encode_segment_header};
use crate::fs::{Disk, DiskFile, is_no_space};
use crate::pending::Block;
use crate::position::Position;
use crate::scan::offset;
use crate::segments::{Segment, Segments};

/// A segment with less room than this part of its size is closed at the next commit.
const NEARLY_FULL: u64 = 16;

pub(crate) struct Writer<D: Disk> {
    disk: Arc<D>,
    pub(crate) config: LogConfig,
    pub(crate) segments: Arc<Segments>,
    file: D::File,
    /// Start of the segment that is written.
    start: Position,
    /// Length of its file, reserved space included.
    file_bytes: u64,
    /// End of what is written and synced.
    tail: Position,
    /// True once a block was written.
    wrote: bool,
    /// What may be released, also of segments that are still to be closed.
    released: Position,
}

pub(crate) enum WriteError {
    /// No space; nothing was synced; can be tried again.
    NoSpace(Arc<str>),
    /// A write or sync failed: never again.
    Failed(Arc<str>),
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(
        disk: Arc<D>,
        config: LogConfig,
        segments: Arc<Segments>,
        file: D::File,
        start: Position,
        file_bytes: u64,
    ) -> Self {
        let tail = segments.durable();
        Self { disk, config, segments, file, start, file_bytes, tail, wrote: false, released: Position::ZERO }
    }

    pub(crate) fn disk(&self) -> &Arc<D> {
        &self.disk
    }

    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    pub(crate) fn tail(&self) -> Position {
        self.tail
    }

    /// End of the space that is reserved in this segment, in whole blocks.
    pub(crate) fn reserved(&self) -> Position {
        self.start.plus(self.file_bytes.saturating_sub(SEGMENT_HEADER))
    }

    /// Highest position that this segment may grow to.
    fn capacity_end(&self) -> Position {
        self.start.plus(self.config.segment_bytes.saturating_sub(SEGMENT_HEADER))
    }

    /// True if a block of `need` bytes at `base` must go to a new segment, or better does.
    pub(crate) fn should_roll(&self, base: Position, need: u64) -> bool {
        let wanted = need.max(self.config.segment_bytes / NEARLY_FULL);
        base > self.start && base.plus(wanted) > self.capacity_end()
    }

    /// True if it fits into this segment at all.
    pub(crate) fn fits(&self, base: Position, need: u64) -> bool {
        base.plus(need) <= self.capacity_end()
    }

    /// Writes a block at the tail and makes it durable.
    pub(crate) fn commit(&mut self, block: &Block) -> Result<(), WriteError> {
        debug_assert_eq!(block.at, self.tail);
        if let Err(error) = self.file.write_all_at(&block.bytes, offset(self.start, block.at)) {
            return Err(self.write_error("write", &error));
        }
        if let Err(error) = self.file.sync_data() {
            return Err(self.failed("sync", &error));
        }
        self.tail = block.end();
        self.wrote = true;
        self.segments.set_durable(self.tail);
        Ok(())
    }

    fn write_error(&self, what: &str, error: &io::Error) -> WriteError {
        match self.failed(what, error) {
            WriteError::Failed(why) if is_no_space(error) => WriteError::NoSpace(why),
            other => other,
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> WriteError {
        WriteError::Failed(format!("{}: {what}: {error}", self.segments.path(self.start).display()).into())
    }

    /// Reserves space so that a block at `base` can have `need` bytes, and some ahead if there is.
    /// `None`: done, see [`Self::reserved`]. An error, of a disk that fails otherwise than by being full, is final.
    pub(crate) fn reserve(&mut self, base: Position, need: u64) -> Result<Option<FullReason>, Arc<str>> {
        let used = offset(self.start, base);
        let most = self.config.segment_bytes.max(page_up(used.saturating_add(need)));
        let needed = used.saturating_add(need);
        let ahead = page_up(used.saturating_add(self.config.reserve_bytes.max(need))).min(most);
        let low = used.saturating_add(need.max(self.config.reserve_bytes / 2)).min(most);
        if self.file_bytes >= low {
            return Ok(None);
        }
        let mut why = None;
        for target in [ahead, page_up(needed)] {
            if target <= self.file_bytes {
                break;
            }
            why = self.grow(target)?;
            if why.is_none() {
                break;
            }
        }
        Ok(why.filter(|_| self.file_bytes < needed))
    }

    fn grow(&mut self, target: u64) -> Result<Option<FullReason>, Arc<str>> {
        let more = target - self.file_bytes;
        let bytes_max = self.config.bytes_max;
        // The header of one more segment always stays possible.
        if self.segments.bytes() + more + SEGMENT_HEADER > bytes_max {
            return Ok(Some(FullReason::LogBound { bytes_max }));
        }
        let free = match self.disk.free_bytes(self.segments.dir()) {
            Ok(free) => free,
            Err(error) => return self.full_or_failed("ask for free space", &error).map(Some),
        };
        if free < self.config.disk_free_min.saturating_add(more) {
            return Ok(Some(FullReason::DiskFree { free }));
        }
        if let Err(error) = self.file.allocate(self.file_bytes, more) {
            // Part of it may have been given.
            if let Err(error) = self.file.set_len(self.file_bytes) {
                tracing::warn!(%error, "cannot give back disk space that was reserved in part");
            }
            return self.full_or_failed("reserve space", &error).map(Some);
        }
        self.set_file_bytes(target);
        Ok(None)
    }

    fn full_or_failed(&self, what: &str, error: &io::Error) -> Result<FullReason, Arc<str>> {
        match self.write_error(what, error) {
            WriteError::NoSpace(why) => Ok(FullReason::Disk(why)),
            WriteError::Failed(why) => Err(why),
        }
    }

    fn set_file_bytes(&mut self, bytes: u64) {
        self.file_bytes = bytes;
        self.segments.set_last_bytes(bytes);
    }

    /// True if this segment holds anything: only then a new one can follow.
    pub(crate) fn can_roll(&self) -> bool {
        self.tail > self.start
    }

    /// True if a full log should begin a new segment at `base`, so that this one can be released. Never after
    /// the single page that a new one takes, so that repeating it does not eat up the disk.
    pub(crate) fn should_roll_full(&self, base: Position) -> bool {
        offset(self.start, base) > PAGE
    }

    /// Closes the segment and begins the next at `at` (aligned, at or above the tail; everything before it is
    /// durable). Without space nothing changes, except that reserved space was given back.
    pub(crate) fn roll(&mut self, at: Position) -> Result<(), WriteError> {
        let used = offset(self.start, self.tail);
        if self.file_bytes > used {
            match self.file.set_len(used) {
                Ok(()) => self.set_file_bytes(used),
                // Zeros behind the last block are no damage.
                Err(error) => tracing::warn!(%error, "cannot give back reserved disk space"),
            }
        }
        let file = create_segment(&*self.disk, &self.segments, at).map_err(|error| {
            self.write_error(&format!("begin segment {}", self.segments.path(at).display()), &error)
        })?;
        self.file = file;
        self.start = at;
        self.tail = at;
        self.file_bytes = PAGE;
        self.segments.push(Segment { start: at, file_bytes: PAGE });
        self.segments.set_durable(at);
        self.release(self.released)
    }

    /// Removes the segments that lie below `before` as a whole. The oldest goes first, and each durably before
    /// the next, so that no crash leaves a gap. An error is final.
    pub(crate) fn release(&mut self, before: Position) -> Result<(), WriteError> {
        self.released = self.released.max(before);
        self.remove_released().map_err(|error| self.failed("release segments before it", &error))
    }

    fn remove_released(&self) -> io::Result<()> {
        while let Some(segment) = self.segments.releasable(self.released) {
            match self.disk.remove(&self.segments.path(segment.start)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.segments.forget(segment.start);
            self.disk.sync_dir(self.segments.dir())?;
        }
        Ok(())
    }
}

/// Creates the file of a segment, durably. One of that name holds nothing that was ever durable: it is left
/// from an attempt without space, and replaced.
pub(crate) fn create_segment<D: Disk>(disk: &D, segments: &Segments, at: Position) -> io::Result<D::File> {
    let path = segments.path(at);
    if disk.len(&path)?.is_some() {
        disk.remove(&path)?;
    }
    let file = disk.create_new(&path)?;
    let header = encode_segment_header(at, segments.salt);
    // Space first: only that may fail for want of it.
    if let Err(error) = file.allocate(0, PAGE).and_then(|()| file.write_all_at(&header, 0)) {
        drop(file);
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(%error, path = %path.display(), "cannot remove an unfinished segment");
        }
        return Err(error);
    }
    let synced = file.sync_data().and_then(|()| disk.sync_dir(segments.dir()));
    // A sync that failed for want of space is a failed sync all the same.
    synced.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(file)
}
