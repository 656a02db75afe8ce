//! Opens a log: finds its segments and its end, and repairs what a crash left there.
//!
//! Reads only the last segment. Its tail is repaired in this order: truncate and sync, rewrite the last block and
//! sync, sync the folder. Each step leaves a log that opens to the same records.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::{LogConfig, PAGE};
use crate::damage::{Damage, DamageReason, Recovery};
use crate::error::OpenError;
use crate::format::{
    BLOCK_HEADER, BlockHeader, SEGMENT_HEADER, SegmentHeader, VERSION, decode_segment_header,
    encode_block_header, encode_segment_header, segment_start,
};
use crate::fs::{Disk, DiskFile};
use crate::position::Position;
use crate::read_buffer::{READ_BUFFER_BYTES, ReadBuffer};
use crate::scan::{Scanner, offset};
use crate::segments::{Segment, Segments};
use crate::tail::{Tail, find_tail, scan_damage};
use crate::writer::{Writer, create_segment};

/// A folder's segment files, oldest first.
pub(crate) fn list_segments<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<Segment>, OpenError> {
    let names = disk.list(dir).map_err(OpenError::io(dir))?;
    let mut segments = Vec::new();
    for name in names {
        let Some(start) = segment_start(&name) else { continue };
        let path = dir.join(name);
        let file_bytes = disk.len(&path).map_err(OpenError::io(&path))?.unwrap_or(0);
        segments.push(Segment { start, file_bytes });
    }
    segments.sort_by_key(|segment| segment.start);
    Ok(segments)
}

/// A segment's header, and whether both copies are intact and carry the segment's start.
pub(crate) fn read_header<F: DiskFile>(
    file: &F,
    path: &Path,
    start: Position,
) -> Result<Option<(SegmentHeader, bool)>, OpenError> {
    let mut bytes = [0; SEGMENT_HEADER as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OpenError::io(path)(error)),
        }
    }
    let Some((header, both)) = bytes.get(..filled).and_then(decode_segment_header) else { return Ok(None) };
    if header.version > VERSION {
        let (path, version, known) = (path.to_owned(), header.version, VERSION);
        return Err(OpenError::Version { path, version, known });
    }
    Ok(Some((header, both && header.start == start)))
}

/// The log's salt, from the newest segment with an intact header.
pub(crate) fn find_salt<D: Disk>(
    disk: &D,
    dir: &Path,
    segments: &[Segment],
) -> Result<Option<u64>, OpenError> {
    for segment in segments.iter().rev() {
        let path = dir.join(crate::format::segment_name(segment.start));
        let file = disk.open_read(&path).map_err(OpenError::io(&path))?;
        if let Some((header, _)) = read_header(&file, &path, segment.start)? {
            return Ok(Some(header.salt));
        }
    }
    Ok(None)
}

/// Opens the log in `dir`, or creates it.
pub(crate) fn open<D: Disk>(
    disk: Arc<D>,
    dir: &Path,
    config: LogConfig,
) -> Result<(Writer<D>, Recovery), OpenError> {
    let config = config.checked()?;
    disk.create_dir_all(dir).map_err(OpenError::io(dir))?;
    let list = list_segments(&*disk, dir)?;
    let Some(last) = list.last().copied() else {
        return create(disk, dir, config, Position::ZERO);
    };
    let Some(salt) = find_salt(&*disk, dir, &list)? else {
        let path = dir.join(crate::format::segment_name(last.start));
        // If a crash interrupted the segment's creation, the file is empty or zeros; anything else was a log.
        let file = disk.open_read(&path).map_err(OpenError::io(&path))?;
        if list.len() == 1 && only_zeros(file).map_err(OpenError::io(&path))? {
            return create(disk, dir, config, last.start);
        }
        return Err(OpenError::Unreadable { path });
    };
    let mut recovery = Recovery { start: list.first().unwrap_or(&last).start, ..Recovery::default() };
    let segments = Arc::new(Segments::new(dir, salt, list, last.start));
    let path = segments.path(last.start);
    let (file, file_bytes) =
        open_last(&*disk, &segments, last, &mut recovery).map_err(|error| match error {
            OpenError::Io { source, .. } => OpenError::Io { path, source },
            other => other,
        })?;
    segments.set_last_bytes(file_bytes);
    segments.set_durable(recovery.end);
    Ok((Writer::new(disk, config, segments, file, last.start, file_bytes), recovery))
}

fn create<D: Disk>(
    disk: Arc<D>,
    dir: &Path,
    config: LogConfig,
    start: Position,
) -> Result<(Writer<D>, Recovery), OpenError> {
    let list = vec![Segment { start, file_bytes: PAGE }];
    let salt = config.salt.unwrap_or_else(|| disk.random_u64());
    let segments = Arc::new(Segments::new(dir, salt, list, start));
    let file = create_segment(&*disk, &segments, start).map_err(OpenError::io(segments.path(start)))?;
    let recovery = Recovery { start, end: start, ..Recovery::default() };
    Ok((Writer::new(disk, config, segments, file, start, PAGE), recovery))
}

fn only_zeros<F: DiskFile>(file: F) -> io::Result<bool> {
    let mut buffer = ReadBuffer::new(file, u64::MAX);
    let mut at = 0;
    loop {
        let bytes = buffer.get(at, READ_BUFFER_BYTES)?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
}

/// Result of reading the last segment.
pub(crate) struct Last {
    pub(crate) tail: Tail,
    /// Number of good records before the last block.
    pub(crate) records: u64,
}

/// Reads the last segment: its end, and the damage before it.
pub(crate) fn inspect_last<D: Disk>(
    disk: &D,
    segments: &Segments,
    last: Segment,
    mut note: impl FnMut(Damage),
) -> Result<Last, OpenError> {
    let path = segments.path(last.start);
    let open = || disk.open_read(&path).map_err(OpenError::io(&path));
    let file = open()?;
    let header_whole = read_header(&file, &path, last.start)?.is_some_and(|(_, whole)| whole);
    let file_end = last.start.plus(last.file_bytes.saturating_sub(SEGMENT_HEADER));
    let mut scanner = Scanner::new(file, path.clone(), segments.salt, last.start, file_end);
    let tail = find_tail(&mut scanner).map_err(OpenError::io(&path))?;
    if !header_whole && (tail.end > last.start || tail.torn_bytes > 0) {
        note(scanner.damage(last.start, last.start, Some(0), DamageReason::SegmentHeader));
    }
    let proven = tail.rewrite.map_or(tail.end, |(block, _)| block);
    let mut scanner = Scanner::new(open()?, path.clone(), segments.salt, last.start, proven);
    let records = scan_damage(&mut scanner, note).map_err(OpenError::io(&path))?;
    Ok(Last { tail, records })
}

fn open_last<D: Disk>(
    disk: &D,
    segments: &Segments,
    last: Segment,
    recovery: &mut Recovery,
) -> Result<(D::File, u64), OpenError> {
    let path = segments.path(last.start);
    let found = inspect_last(disk, segments, last, |damage| recovery.note(damage))?;
    recovery.end = found.tail.end;
    recovery.torn_tail_bytes = found.tail.torn_bytes;
    let file = disk.open(&path).map_err(OpenError::io(&path))?;
    let mend = || -> io::Result<u64> {
        let length = repair_tail(&file, segments.salt, last, &found)?;
        disk.sync_dir(segments.dir())?;
        Ok(length)
    };
    let length = mend().map_err(OpenError::io(&path))?;
    Ok((file, length))
}

/// Makes the segment end with its last good block, durably; returns the length of the file.
fn repair_tail<F: DiskFile>(file: &F, salt: u64, last: Segment, found: &Last) -> io::Result<u64> {
    let end = offset(last.start, found.tail.end);
    let mut length = last.file_bytes;
    if found.tail.torn_bytes > 0 || length < end {
        file.set_len(end)?;
        file.sync_all()?;
        length = end;
    }
    // Even if it looks intact: after a failed sync, only the cache may hold it.
    file.write_all_at(&encode_segment_header(last.start, salt), 0)?;
    if let Some((block, header)) = found.tail.rewrite {
        rewrite_block(file, salt, last.start, block, header)?;
    }
    file.sync_data()?;
    // A copied file may have lost its reservation.
    if length > end && file.allocate(end, length - end).is_err() {
        file.set_len(end)?;
        length = end;
    }
    Ok(length)
}

/// Rewrites a block in place, so that the next sync certainly makes all of it durable.
fn rewrite_block<F: DiskFile>(
    file: &F,
    salt: u64,
    start: Position,
    block: Position,
    header: BlockHeader,
) -> io::Result<()> {
    file.write_all_at(&encode_block_header(salt, block, header), offset(start, block))?;
    if header.hole {
        return Ok(());
    }
    let mut at = offset(start, block) + BLOCK_HEADER;
    let records_end = at + u64::from(header.length);
    let mut chunk = vec![0; READ_BUFFER_BYTES];
    while at < records_end {
        let want = (records_end - at).min(READ_BUFFER_BYTES as u64) as usize;
        let part = chunk.get_mut(..want).unwrap_or_default();
        let n = file.read_at(part, at)?;
        let Some(part) = part.get(..n).filter(|part| !part.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        file.write_all_at(part, at)?;
        at += n as u64;
    }
    let padding = header.total() - BLOCK_HEADER - u64::from(header.length);
    file.write_all_at([0; 16].get(..padding as usize).unwrap_or_default(), records_end)
}
