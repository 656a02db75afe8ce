//! Reads a log that is not open, without changing anything: the records that the next opening would find.

use std::path::Path;
use std::sync::Arc;

use crate::error::OpenError;
use crate::format::{BLOCK_HEADER, segment_name};
use crate::fs::Disk;
use crate::open::{find_salt, inspect_last, list_segments};
use crate::position::Position;
use crate::reader::Reader;
use crate::segments::Segments;

/// A log opened for reading only.
pub struct ReadOnlyLog<D: Disk> {
    disk: Arc<D>,
    segments: Arc<Segments>,
    /// Position at which the log would continue.
    pub end: Position,
    /// Bytes after the end that the next opening cuts off.
    pub torn_tail_bytes: u64,
}

impl<D: Disk> ReadOnlyLog<D> {
    /// Reads the log in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// As [`crate::Log::open`].
    pub fn open(disk: Arc<D>, dir: &Path) -> Result<Option<Self>, OpenError> {
        let list = list_segments(&*disk, dir)?;
        let Some(last) = list.last().copied() else { return Ok(None) };
        let Some(salt) = find_salt(&*disk, dir, &list)? else {
            return Err(OpenError::Unreadable { path: dir.join(segment_name(last.start)) });
        };
        let segments = Arc::new(Segments::new(dir, salt, list, last.start));
        let tail = inspect_last(&*disk, &segments, last, |_| {})?.tail;
        // Nothing is readable after the last good record of a block that was cut off.
        let readable = tail.rewrite.map_or(tail.end, |(block, header)| {
            block.plus(BLOCK_HEADER + u64::from(header.length)).min(tail.end)
        });
        segments.set_durable(readable);
        Ok(Some(Self { disk, segments, end: tail.end, torn_tail_bytes: tail.torn_bytes }))
    }

    /// Oldest position kept.
    pub fn start_position(&self) -> Position {
        self.segments.start()
    }

    /// Streams the records from a position.
    pub fn read(&self, from: Position) -> Reader<D> {
        Reader::new(Arc::clone(&self.disk), Arc::clone(&self.segments), from)
    }
}
