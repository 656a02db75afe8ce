//! A log with one owner. Synchronous: `append` fills a buffer, `commit` writes and syncs it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::LogConfig;
use crate::damage::Recovery;
use crate::error::{AppendError, FullReason, OpenError, SyncError};
use crate::format::{ALIGN, BLOCK_HEADER, BlockHeader, align_up, encode_block_header};
use crate::fs::{Disk, RealDisk};
use crate::open;
use crate::pending::{Block, Pending, Refusal};
use crate::position::Position;
use crate::reader::Reader;
use crate::segments::remove_released;
use crate::writer::{WriteError, Writer};

/// Pause between attempts to reserve space.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// A segmented, checksummed, append-only log.
///
/// A record at position `p` is durable when `p < durable()`. An append is refused before anything changes, or it can be
/// written: space is reserved ahead. Dropping a log without [`Log::close`] loses uncommitted records.
pub struct Log<D: Disk = RealDisk> {
    writer: Writer<D>,
    pending: Pending,
    /// A completed block that did not fit on the disk; it is written first.
    unwritten: Option<Block>,
    spare: Vec<u8>,
    poisoned: Option<Arc<str>>,
    tried: Option<Instant>,
    /// Records below may be removed, including those of the segment being written.
    released: Position,
}

impl<D: Disk> Log<D> {
    /// Opens the log in the folder `dir`, or creates it. Reads only the last segment. Takes no lock: see
    /// [`crate::DataDir`].
    ///
    /// # Errors
    /// Invalid bounds, a failed read or write, a newer format, or no segment with a readable header.
    pub fn open(disk: Arc<D>, dir: &Path, config: LogConfig) -> Result<(Self, Recovery), OpenError> {
        let (mut writer, recovery) = open::open(disk, dir, config)?;
        let config = &writer.config;
        let (record_max, buffer_max) = (config.record_bytes_max, config.buffer_bytes_max);
        let mut pending = Pending::new(writer.segments.salt, record_max, buffer_max, writer.tail());
        // Missing space is reported by the first append.
        let failed = |why: Arc<str>| OpenError::io(dir)(std::io::Error::other(why.to_string()));
        writer.reserve(writer.tail(), 0).map_err(failed)?;
        pending.set_limit(writer.reserved());
        let (unwritten, poisoned, tried) = (None, None, None);
        let (spare, released) = (Vec::new(), Position::ZERO);
        Ok((Self { writer, pending, unwritten, spare, poisoned, tried, released }, recovery))
    }

    /// Oldest position kept: the start of the oldest segment.
    pub fn start(&self) -> Position {
        self.writer.segments.start()
    }

    /// End of the log: all records appended so far lie below, all later ones at or above.
    pub fn end(&self) -> Position {
        self.pending.end()
    }

    /// Every record below is durable.
    pub fn durable(&self) -> Position {
        self.writer.segments.durable()
    }

    /// Bytes on disk, reserved space included.
    pub fn bytes(&self) -> u64 {
        self.writer.segments.bytes()
    }

    /// Adds a record to the buffer; returns its position.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing changed then. After `BufferFull`, call [`Log::commit`].
    pub fn append(&mut self, record: &[u8]) -> Result<Position, AppendError> {
        let need = match self.pending.append(record) {
            Ok(at) => return Ok(at),
            Err(Refusal::Final(error)) => return Err(error),
            Err(Refusal::NoRoom(need)) => need,
        };
        self.make_room(need)?;
        self.pending.append(record).map_err(|refusal| match refusal {
            Refusal::Final(error) => error,
            Refusal::NoRoom(_) => AppendError::BufferFull,
        })
    }

    fn make_room(&mut self, need: u64) -> Result<(), AppendError> {
        if let (Some(full), Some(tried)) = (self.pending.full(), self.tried)
            && tried.elapsed() < RETRY
        {
            return Err(AppendError::Full(full.clone()));
        }
        let base = self.pending.base();
        let idle = self.pending.is_empty() && self.unwritten.is_none();
        if !idle && !self.writer.fits(base, need) {
            return Err(AppendError::BufferFull);
        }
        let mut full = None;
        if !self.writer.fits(base, need) && self.writer.can_roll() {
            full = self.roll(base).map_err(AppendError::Poisoned)?;
        }
        if full.is_none() {
            full = self.reserve(base, need).map_err(AppendError::Poisoned)?;
        }
        if full.is_some() && idle && self.writer.should_roll_full(base) {
            full = self.roll(base).map_err(AppendError::Poisoned)?;
            if full.is_none() {
                full = self.reserve(base, need).map_err(AppendError::Poisoned)?;
            }
        }
        self.tried = full.is_some().then(Instant::now);
        self.pending.set_full(full.clone());
        self.pending.set_limit(self.writer.reserved());
        full.map_or(Ok(()), |full| Err(AppendError::Full(full)))
    }

    fn reserve(&mut self, base: Position, need: u64) -> Result<Option<FullReason>, Arc<str>> {
        self.writer.reserve(base, need).map_err(|why| self.poison(why))
    }

    fn roll(&mut self, at: Position) -> Result<Option<FullReason>, Arc<str>> {
        match self.writer.roll(at) {
            Ok(()) => self.remove_released().map(|()| None),
            Err(WriteError::NoSpace(why)) => Ok(Some(FullReason::Disk(why))),
            Err(WriteError::Failed(why)) => Err(self.poison(why)),
        }
    }

    fn poison(&mut self, why: Arc<str>) -> Arc<str> {
        self.pending.poison(Arc::clone(&why));
        self.poisoned = Some(Arc::clone(&why));
        why
    }

    /// Writes and syncs all appended records; returns the new durable end.
    ///
    /// # Errors
    /// [`SyncError::Poisoned`] is final; [`SyncError::Full`] may pass.
    pub fn commit(&mut self) -> Result<Position, SyncError> {
        if let Some(why) = &self.poisoned {
            return Err(SyncError::Poisoned(Arc::clone(why)));
        }
        let mut wrote = false;
        while let Some(block) = self.unwritten.take().or_else(|| {
            let spare = std::mem::take(&mut self.spare);
            self.pending.take(spare)
        }) {
            match self.writer.commit(&block) {
                Ok(()) => self.spare = block.bytes,
                Err(WriteError::NoSpace(why)) => {
                    self.unwritten = Some(block);
                    return Err(SyncError::Full(why));
                }
                Err(WriteError::Failed(why)) => return Err(SyncError::Poisoned(self.poison(why))),
            }
            wrote = true;
        }
        let durable = self.durable();
        if wrote {
            self.prepare().map_err(SyncError::Poisoned)?;
        }
        Ok(durable)
    }

    /// Closes a nearly full segment and reserves ahead. If there is no space now, an append tries again.
    fn prepare(&mut self) -> Result<(), Arc<str>> {
        let base = self.pending.base();
        if self.writer.should_roll(base, 0)
            || (self.pending.full().is_some() && self.writer.should_roll_full(base))
        {
            self.roll(base)?;
        }
        self.reserve(base, 0)?;
        self.pending.set_limit(self.writer.reserved());
        Ok(())
    }

    /// Removes the segments that lie entirely below `before`.
    ///
    /// # Errors
    /// A removal failed; this poisons the log.
    pub fn release(&mut self, before: Position) -> Result<(), SyncError> {
        if let Some(why) = &self.poisoned {
            return Err(SyncError::Poisoned(Arc::clone(why)));
        }
        self.released = self.released.max(before);
        self.remove_released().map_err(SyncError::Poisoned)?;
        self.tried = None;
        Ok(())
    }

    fn remove_released(&mut self) -> Result<(), Arc<str>> {
        remove_released(&**self.writer.disk(), &self.writer.segments, self.released)
            .map_err(|why| self.poison(why))
    }

    /// Commits, then, if the log ends before `position`, continues at `position` or the next possible one above. For
    /// owners that know that the log has lost positions: those are not used a second time, and readers report the gap.
    ///
    /// # Errors
    /// As [`Log::commit`].
    pub fn advance_to(&mut self, position: Position) -> Result<(), SyncError> {
        self.commit()?;
        if position <= self.end() {
            return Ok(());
        }
        let at = Position::new(align_up(position.get()) / ALIGN * ALIGN);
        match self.roll(at).map_err(SyncError::Poisoned)? {
            None => {
                self.pending.set_base(at);
                self.prepare().map_err(SyncError::Poisoned)
            }
            Some(why) => {
                self.pending.set_limit(self.writer.reserved());
                Err(SyncError::Full(why.to_string().into()))
            }
        }
    }

    /// Streams the records from `from` (or the start, if that is later) up to the current durable position.
    pub fn read(&self, from: Position) -> Reader<D> {
        Reader::new(Arc::clone(self.writer.disk()), Arc::clone(&self.writer.segments), from)
    }

    /// Commits the rest and closes in order: a seal tells the next opening that the last commit completed.
    ///
    /// # Errors
    /// As [`Log::commit`].
    pub fn close(mut self) -> Result<Position, SyncError> {
        self.commit()?;
        self.writer.seal().map_err(|error| match error {
            WriteError::NoSpace(why) => SyncError::Full(why),
            WriteError::Failed(why) => SyncError::Poisoned(why),
        })?;
        Ok(self.writer.tail())
    }

    /// The parts, for a shared log: writer, pending block, a completed block that did not fit on the disk, and why the
    /// log is poisoned.
    pub(crate) fn into_parts(self) -> (Writer<D>, Pending, Option<Block>, Option<Arc<str>>) {
        (self.writer, self.pending, self.unwritten, self.poisoned)
    }
}

impl<D: Disk> Writer<D> {
    /// Writes an empty block after the last one, if this `Writer` wrote a block and there is space.
    pub(crate) fn seal(&mut self) -> Result<(), WriteError> {
        let at = self.tail();
        if !self.wrote() || at.plus(BLOCK_HEADER) > self.reserved() {
            return Ok(());
        }
        let header = BlockHeader { hole: false, length: 0, records: 0 };
        let bytes = encode_block_header(self.segments.salt, at, header).to_vec();
        self.commit(&Block { at, bytes })
    }
}
