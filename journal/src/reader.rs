//! Streams the records of a log, segment by segment, in bounded memory, while others append and release.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::damage::{Damage, DamageReason};
use crate::error::{OpenError, ReadError};
use crate::fs::{Disk, RealDisk};
use crate::open::read_header;
use crate::position::Position;
use crate::scan::{Scanned, Scanner};
use crate::segments::Segments;

/// The next item in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadEvent {
    /// A record at this position; its payload is in the buffer.
    Record(Position),
    /// A range that cannot be read. The records after it follow.
    Damage(Damage),
    /// Everything that was durable when the reader was created or extended has been read.
    End,
}

/// Reads records in order; keeps one file open and a buffer of 64 KiB.
pub struct Reader<D: Disk = RealDisk> {
    disk: Arc<D>,
    segments: Arc<Segments>,
    from: Position,
    limit: Position,
    /// Where to continue when no segment is open.
    at: Position,
    /// The open segment's start and scanner.
    open: Option<(Position, Scanner<D::File>)>,
    started: bool,
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(disk: Arc<D>, segments: Arc<Segments>, from: Position) -> Self {
        let limit = segments.durable();
        Self { disk, segments, from, limit, at: from, open: None, started: false }
    }

    /// The reader's position: everything below has been reported.
    pub fn position(&self) -> Position {
        self.open.as_ref().map_or(self.at, |(_, scanner)| scanner.at()).max(self.from)
    }

    /// Moves the end to the current durable position; reading continues where it was.
    pub fn extend(&mut self) {
        self.limit = self.segments.durable();
        let Some((start, scanner)) = &mut self.open else { return };
        match self.segments.holding(*start) {
            Some((found, next)) if found == *start => {
                scanner.set_limit(next.unwrap_or(self.limit).min(self.limit));
            }
            // Released: `next` decides where to continue.
            _ => self.leave(),
        }
    }

    fn leave(&mut self) {
        if let Some((_, scanner)) = self.open.take() {
            self.at = scanner.at();
        }
    }

    /// The next record (its payload replaces the contents of `buf`), damage, or the end.
    ///
    /// # Errors
    /// Reading failed, or the segment was released meanwhile. After `Released`, the next call continues at the
    /// log's start.
    pub fn next(&mut self, buf: &mut Vec<u8>) -> Result<ReadEvent, ReadError> {
        loop {
            let Some((start, scanner)) = &mut self.open else {
                if self.at >= self.limit {
                    return Ok(ReadEvent::End);
                }
                if let Some(damage) = self.enter()?.filter(|damage| damage.from >= self.from) {
                    return Ok(ReadEvent::Damage(damage));
                }
                continue;
            };
            let scanned = scanner.next(buf).map_err(|source| {
                let path = self.segments.path(*start);
                ReadError::Io { path, source }
            })?;
            match scanned {
                Scanned::Record(at) if at < self.from => {}
                Scanned::Record(at) => return Ok(ReadEvent::Record(at)),
                Scanned::Damage(damage) if damage.from < self.from && damage.to <= self.from => {}
                Scanned::Damage(damage) => return Ok(ReadEvent::Damage(damage)),
                Scanned::End if scanner.limit() >= self.limit => return Ok(ReadEvent::End),
                Scanned::End => self.leave(),
            }
        }
    }

    /// Opens the segment that holds `at`.
    fn enter(&mut self) -> Result<Option<Damage>, ReadError> {
        let Some((start, next)) = self.segments.holding(self.at) else {
            self.at = self.limit;
            return Ok(None);
        };
        if self.at < start {
            let at = std::mem::replace(&mut self.at, start);
            if std::mem::replace(&mut self.started, true) {
                return Err(ReadError::Released { at, start });
            }
        }
        self.started = true;
        let limit = next.unwrap_or(self.limit).min(self.limit);
        let path = self.segments.path(start);
        let file = match self.disk.open_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.segments.start() > start {
                    return Ok(None);
                }
                let from = std::mem::replace(&mut self.at, limit);
                return Ok(Some(missing(path, from, limit)));
            }
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let whole = read_header(&file, &path, start).map_err(header_error)?.is_some_and(|(_, whole)| whole);
        let mut scanner = Scanner::new(file, path.clone(), self.segments.salt, start, limit);
        let at = self.at;
        if at > start {
            scanner.skip_to(at).map_err(|source| ReadError::Io { path, source })?;
        }
        let damage = (!whole && at <= start)
            .then(|| scanner.damage(start, start, Some(0), DamageReason::SegmentHeader));
        self.open = Some((start, scanner));
        Ok(damage)
    }
}

fn missing(segment: PathBuf, from: Position, to: Position) -> Damage {
    Damage { from, to, segment, records_lost: None, reason: DamageReason::Missing }
}

fn header_error(error: OpenError) -> ReadError {
    match error {
        OpenError::Io { path, source } => ReadError::Io { path, source },
        other => ReadError::Io { path: PathBuf::new(), source: io::Error::other(other.to_string()) },
    }
}
