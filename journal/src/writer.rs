//! The disk side of a log: writes blocks, reserves space ahead, starts segments.
//!
//! Invariants: one block is in flight; `tail` is durable; a segment is started only when everything before its start is
//! durable; nothing here is called again after it returned [`WriteError::Failed`].
//!
//! The first write to reserved space makes the file system mark it as written, and the sync waits for that metadata
//! too. So zeros are written ahead, for some hundred commits at once: the syncs of small blocks then wait only for the
//! block.

use std::io;
use std::sync::Arc;

use crate::config::{LogConfig, PAGE, round_up_to_page};
use crate::error::FullReason;
use crate::format::{SEGMENT_HEADER, encode_segment_header};
use crate::fs::{Disk, DiskFile, is_no_space, write_zeros};
use crate::pending::Block;
use crate::position::Position;
use crate::presence::{PresenceError, check_open};
use crate::scan::offset;
use crate::segments::{Segment, Segments, remove_oldest};

/// A segment with less than 1/16 of its size left is closed at the next commit.
const NEARLY_FULL: u64 = 16;
/// Bytes of zeros written ahead per step; the next step is due when less than half of them is left.
const AHEAD: u64 = 128 << 10;
/// Largest block for which zeros are written ahead: with few syncs per step it would cost more than it saves.
const AHEAD_BLOCK_MAX: usize = 32 << 10;

pub(crate) struct Writer<D: Disk> {
    disk: Arc<D>,
    pub(crate) config: LogConfig,
    pub(crate) segments: Arc<Segments>,
    file: D::File,
    /// Start of the segment being written.
    start: Position,
    /// Length of its file, reserved space included.
    file_bytes: u64,
    /// The file was written before up to this offset, partly as zeros; `None` if writing ahead is of no use.
    written_bytes: Option<u64>,
    /// End of the synced blocks.
    tail: Position,
    /// True once a block was written.
    wrote: bool,
}

pub(crate) enum WriteError {
    /// No space; nothing was synced; the write can be retried.
    NoSpace(Arc<str>),
    /// A write or sync failed; it must not be retried.
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
        segments.set_newest(start, &file);
        let written_bytes = disk.overwrites_in_place(segments.dir()).then_some(0);
        Self { disk, config, segments, file, start, file_bytes, written_bytes, tail, wrote: false }
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

    /// End of the space reserved in this segment, in whole blocks.
    pub(crate) fn reserved(&self) -> Position {
        self.start.plus(self.file_bytes.saturating_sub(SEGMENT_HEADER))
    }

    /// Highest position that this segment may grow to.
    fn capacity_end(&self) -> Position {
        self.start.plus(self.config.segment_bytes.saturating_sub(SEGMENT_HEADER))
    }

    /// True if a block of `need` bytes at `base` should go to a new segment.
    pub(crate) fn should_roll(&self, base: Position, need: u64) -> bool {
        let wanted = need.max(self.config.segment_bytes / NEARLY_FULL);
        base > self.start && base.plus(wanted) > self.capacity_end()
    }

    /// True if a block of `need` bytes at `base` fits into this segment at all.
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
        self.check_place().map_err(|error| WriteError::Failed(error.to_string().into()))?;
        self.tail = block.end();
        self.wrote = true;
        self.segments.set_durable(self.tail);
        Ok(())
    }

    /// Checks that the file still has its name and all its space: otherwise synced bytes would not survive.
    fn check_place(&self) -> Result<(), PresenceError> {
        check_open(self.file.status(), self.file_bytes, || self.segments.path(self.start))
    }

    /// Called after a commit of `block_bytes`: writes zeros ahead, so that the next commits find written space.
    pub(crate) fn write_ahead(&mut self, block_bytes: usize) {
        let Some(written) = self.written_bytes.filter(|_| block_bytes <= AHEAD_BLOCK_MAX) else { return };
        let used = round_up_to_page(offset(self.start, self.tail));
        if written >= used + AHEAD / 2 {
            return;
        }
        let from = written.max(used);
        let to = (from + AHEAD).min(self.file_bytes);
        if from >= to {
            return;
        }
        self.written_bytes = match write_zeros(&self.file, from, to - from) {
            Ok(()) => Some(to),
            // Nothing is lost: the space is still reserved, and the next commit reports a failing disk.
            Err(error) => {
                let path = self.segments.path(self.start);
                tracing::warn!(%error, path = %path.display(), "cannot write zeros ahead; syncs take longer");
                None
            }
        };
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

    /// Removes the oldest spare segment ([`crate::GroupLog::set_spare`]). Returns whether there was one.
    pub(crate) fn remove_spare(&self) -> Result<bool, Arc<str>> {
        remove_oldest(&*self.disk, &self.segments, self.segments.spare())
    }

    /// Reserves space for `need` bytes at `base`, and more ahead if available. `None`: done, see [`Self::reserved`].
    /// An error means that the disk failed for another reason than being full; it is final.
    pub(crate) fn reserve(&mut self, base: Position, need: u64) -> Result<Option<FullReason>, Arc<str>> {
        let used = offset(self.start, base);
        let most = self.config.segment_bytes.max(round_up_to_page(used.saturating_add(need)));
        let needed = used.saturating_add(need);
        let ahead = round_up_to_page(used.saturating_add(self.config.reserve_bytes.max(need))).min(most);
        let low = used.saturating_add(need.max(self.config.reserve_bytes / 2)).min(most);
        if self.file_bytes >= low {
            return Ok(None);
        }
        let mut why = None;
        for target in [ahead, round_up_to_page(needed)] {
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
        // Always leave room for the header of one more segment.
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
            // Part of the space may have been allocated.
            if let Err(error) = self.file.set_len(self.file_bytes) {
                tracing::warn!(%error, "cannot free partially reserved disk space");
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

    /// True if this segment holds anything: only then can a new one follow.
    pub(crate) fn can_roll(&self) -> bool {
        self.tail > self.start
    }

    /// True if a full log should start a new segment at `base`, so that this one can be released. Never for a segment
    /// that uses only its first page, so that repeated attempts do not fill the disk.
    pub(crate) fn should_roll_full(&self, base: Position) -> bool {
        offset(self.start, base) > PAGE
    }

    /// Closes the segment and starts the next at `at` (aligned, at or above the tail; everything before it is
    /// durable). Without space nothing changes, except that reserved space was freed.
    pub(crate) fn roll(&mut self, at: Position) -> Result<(), WriteError> {
        let used = offset(self.start, self.tail);
        let reserved = self.file_bytes;
        if reserved > used {
            // Before truncating: a concurrent check must never find the file shorter than recorded.
            self.set_file_bytes(used);
            if let Err(error) = self.file.set_len(used) {
                // Zeros after the last block are not damage.
                tracing::warn!(%error, "cannot free reserved disk space");
                self.set_file_bytes(reserved);
            }
        }
        let file = create_segment(&*self.disk, &self.segments, at).map_err(|error| {
            self.write_error(&format!("begin segment {}", self.segments.path(at).display()), &error)
        })?;
        self.file = file;
        self.start = at;
        self.tail = at;
        self.file_bytes = PAGE;
        self.written_bytes = self.written_bytes.map(|_| 0);
        self.segments.set_newest(at, &self.file);
        self.segments.push(Segment { start: at, file_bytes: PAGE });
        self.segments.set_durable(at);
        Ok(())
    }
}

/// Creates the file of a segment, durably. Replaces an existing file of that name: it is left from an attempt that ran
/// out of space and holds nothing that was ever durable.
pub(crate) fn create_segment<D: Disk>(disk: &D, segments: &Segments, at: Position) -> io::Result<D::File> {
    let path = segments.path(at);
    if disk.len(&path)?.is_some() {
        disk.remove(&path)?;
    }
    let file = disk.create_new(&path)?;
    let header = encode_segment_header(at, segments.salt);
    // Allocate first: only this step may fail for lack of space.
    if let Err(error) = file.allocate(0, PAGE).and_then(|()| file.write_all_at(&header, 0)) {
        drop(file);
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(%error, path = %path.display(), "cannot remove an unfinished segment");
        }
        return Err(error);
    }
    let synced = file.sync_data().and_then(|()| disk.sync_dir(segments.dir()));
    // A sync that fails for lack of space is still a failed sync.
    synced.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(file)
}
