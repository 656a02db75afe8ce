//! Sets the damaged parts of a log aside, so that it opens clean. Good records keep their positions.
//!
//! The bytes of each damaged range are copied to a synced file `FROM-TO.bad` beside the segments; then the range is
//! overwritten with a hole (see `format.rs`) of the same size. A crash in between leaves the range damaged as before,
//! or a hole: running it again is harmless.

use std::io;
use std::path::{Path, PathBuf};

use crate::damage::{Damage, DamageReason};
use crate::error::OpenError;
use crate::format::{
    BLOCK_HEADER, BlockHeader, RECORD_HEADER, align_up, encode_block_header, encode_hole_header,
    encode_segment_header, segment_name,
};
use crate::fs::{Disk, DiskFile};
use crate::open::{find_salt, inspect_last, list_segments, read_header};
use crate::position::Position;
use crate::scan::{Scanned, Scanner, offset};
use crate::segments::{Segment, Segments};

/// A hole's length is a multiple of a block's alignment and fits into 32 bits.
const HOLE_MAX: u64 = 1 << 30;

/// Result of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// Copies of the damaged parts.
    pub files: Vec<PathBuf>,
    /// Bytes of the log that were replaced with holes.
    pub bytes: u64,
    /// Segments whose header was rewritten.
    pub headers: u64,
}

/// Repairs the log in `dir`, which must not be open. Leaves a torn tail to the next opening. `known`: the salt by which the data
/// folder knows the log ([`FolderFacts::salt`](crate::FolderFacts::salt)), if it does; a log of which nothing can be read
/// continues under it, since the folder refuses another's.
///
/// # Errors
/// As opening a log; a partial repair is harmless.
pub fn quarantine<D: Disk>(disk: &D, dir: &Path, known: Option<u64>) -> Result<Quarantined, OpenError> {
    let list = list_segments(disk, dir)?;
    let mut done = Quarantined::default();
    let Some(last) = list.last().copied() else { return Ok(done) };
    let Some(salt) = find_salt(disk, dir, &list)? else {
        unreadable(disk, dir, (&list, last), known, &mut done).map_err(OpenError::io(dir))?;
        return Ok(done);
    };
    let segments = Segments::new(dir, salt, list.clone(), last.start);
    for (index, segment) in list.iter().enumerate() {
        let limit = match list.get(index + 1) {
            Some(next) => next.start,
            None => {
                let tail = inspect_last(disk, &segments, *segment, |_| {})?.tail;
                tail.rewrite.map_or(tail.end, |(block, _)| block)
            }
        };
        repair_segment(disk, &segments, segment.start, limit, &mut done)?;
    }
    disk.sync_dir(dir).map_err(OpenError::io(dir))?;
    Ok(done)
}

fn repair_segment<D: Disk>(
    disk: &D,
    segments: &Segments,
    start: Position,
    limit: Position,
    done: &mut Quarantined,
) -> Result<(), OpenError> {
    let path = segments.path(start);
    let file = disk.open_read(&path).map_err(OpenError::io(&path))?;
    let whole = read_header(&file, &path, start)?.is_some_and(|(_, whole)| whole);
    let mut repair = Repair { disk, segments, start, file: None, done };
    let mut scanner = Scanner::new(file, path.clone(), segments.salt, start, limit);
    let mut work = || -> io::Result<()> {
        if !whole {
            repair.write(0, &encode_segment_header(start, segments.salt))?;
            repair.done.headers += 1;
        }
        repair.scan(&mut scanner)?;
        repair.file.as_ref().map_or(Ok(()), D::File::sync_all)
    };
    work().map_err(OpenError::io(&path))
}

struct Repair<'a, D: Disk> {
    disk: &'a D,
    segments: &'a Segments,
    start: Position,
    /// Opened for writing at the first repair.
    file: Option<D::File>,
    done: &'a mut Quarantined,
}

impl<D: Disk> Repair<'_, D> {
    fn scan(&mut self, scanner: &mut Scanner<D::File>) -> io::Result<()> {
        let mut buf = Vec::new();
        loop {
            match scanner.next(&mut buf)? {
                Scanned::End => return Ok(()),
                Scanned::Record(_) => {}
                Scanned::Damage(damage) if damage.reason == DamageReason::Record => {
                    self.hole_record(&damage)?
                }
                Scanned::Damage(damage) => match scanner.headerless_end() {
                    None => self.hole_block(damage.from, damage.to)?,
                    Some(end) => self.headerless(scanner, damage, end, &mut buf)?,
                },
            }
        }
    }

    /// Repairs a block without a valid header that still holds records: writes a header, fills the gaps between its
    /// good records with holes, and adds a hole after the last.
    fn headerless(
        &mut self,
        scanner: &mut Scanner<D::File>,
        damage: Damage,
        end: Position,
        buf: &mut Vec<u8>,
    ) -> io::Result<()> {
        let block = damage.from;
        let inner = block.plus(BLOCK_HEADER);
        let gap = damage.to.since(inner);
        if gap != 0 && gap < RECORD_HEADER {
            // A gap this small cannot be a hole; it takes a forged checksum to get here.
            while scanner.at() < end {
                scanner.next(buf)?;
            }
            return self.hole_block(block, end);
        }
        let mut holes = Vec::new();
        if gap > 0 {
            holes.push(Damage { from: inner, ..damage.clone() });
        }
        let (mut good_end, mut records) = (damage.to, 0);
        while scanner.headerless_end() == Some(end) {
            match scanner.next_in_block(buf)? {
                Some(Scanned::Damage(inside)) => {
                    holes.push(inside);
                    continue;
                }
                Some(Scanned::Record(_)) => records += 1,
                // The end of the block: the rest is padding.
                _ if scanner.headerless_end().is_none() => break,
                // An older hole.
                _ => {}
            }
            good_end = scanner.at();
        }
        self.copy_aside(block, inner)?;
        for hole in holes.iter().filter(|hole| hole.to <= good_end) {
            self.hole_record(hole)?;
        }
        let length = good_end.since(inner);
        let header = BlockHeader { hole: false, length: length as u32, records };
        let block_end = block.plus(align_up(BLOCK_HEADER + length));
        if block_end < end {
            self.hole_block(block_end, end)?;
        }
        let salt = self.segments.salt;
        self.write(offset(self.start, block), &encode_block_header(salt, block, header))
    }

    fn hole_record(&mut self, damage: &Damage) -> io::Result<()> {
        let size = damage.to.since(damage.from);
        self.copy_aside(damage.from, damage.to)?;
        let Some(length) = size.checked_sub(RECORD_HEADER) else {
            return Err(io::Error::other("damaged part is smaller than a record"));
        };
        let mut bytes = encode_hole_header(self.segments.salt, damage.from, length as u32).to_vec();
        bytes.resize(size as usize, 0);
        self.done.bytes += size;
        self.write(offset(self.start, damage.from), &bytes)
    }

    fn hole_block(&mut self, from: Position, to: Position) -> io::Result<()> {
        self.copy_aside(from, to)?;
        self.done.bytes += to.since(from);
        let mut at = from;
        while at < to {
            let total = to.since(at).min(HOLE_MAX);
            let length = total.saturating_sub(BLOCK_HEADER) as u32;
            let header = BlockHeader { hole: true, length, records: 0 };
            self.write(offset(self.start, at), &encode_block_header(self.segments.salt, at, header))?;
            at = at.plus(total);
        }
        Ok(())
    }

    /// Copies the bytes of a range that the file still holds.
    fn copy_aside(&mut self, from: Position, to: Position) -> io::Result<()> {
        let path = self.segments.dir().join(format!("{:020}-{:020}.bad", from.get(), to.get()));
        let source = self.disk.open_read(&self.segments.path(self.start))?;
        copy(self.disk, &source, offset(self.start, from), offset(self.start, to), &path)?;
        self.disk.sync_dir(self.segments.dir())?;
        self.done.files.push(path);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(self.disk.open(&self.segments.path(self.start))?);
        }
        self.file.as_ref().map_or(Ok(()), |file| file.write_all_at(bytes, at))
    }
}

/// Copies the bytes `from..to` of a file, as far as they exist, to a new file. The contents are durable, the name is
/// not until the folder is synced.
fn copy<D: Disk>(disk: &D, source: &D::File, from: u64, to: u64, path: &Path) -> io::Result<()> {
    if disk.len(path)?.is_some() {
        disk.remove(path)?;
    }
    let file = disk.create_new(path)?;
    let mut chunk = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let want = (to - at).min(chunk.len() as u64) as usize;
        let n = source.read_at(chunk.get_mut(..want).unwrap_or_default(), at)?;
        if n == 0 {
            break;
        }
        file.write_all_at(chunk.get(..n).unwrap_or_default(), at - from)?;
        at += n as u64;
    }
    file.sync_all()
}

/// Without the salt nothing can be verified: sets all files aside and continues the log after them.
fn unreadable<D: Disk>(
    disk: &D,
    dir: &Path,
    (list, last): (&[Segment], Segment),
    known: Option<u64>,
    done: &mut Quarantined,
) -> io::Result<()> {
    let at = Position::new(align_up(last.start.get().saturating_add(last.file_bytes)));
    let segments = Segments::new(dir, known.unwrap_or_else(|| disk.random_u64()), Vec::new(), at);
    crate::writer::create_segment(disk, &segments, at)?;
    for segment in list {
        let name = segment_name(segment.start);
        let aside = dir.join(format!("{name}.bad"));
        disk.rename(&dir.join(name), &aside)?;
        done.files.push(aside);
        done.bytes += segment.file_bytes;
    }
    disk.sync_dir(dir)
}
