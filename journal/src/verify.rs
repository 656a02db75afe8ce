//! Read-only check of all files of a log.

use std::path::{Path, PathBuf};

use crate::damage::{Damage, DamageReason, Recovery};
use crate::error::OpenError;
use crate::fs::Disk;
use crate::open::{find_salt, inspect_last, list_segments, read_header};
use crate::position::Position;
use crate::scan::Scanner;
use crate::segments::{Segment, Segments};
use crate::tail::scan_damage;

/// Contents of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its first position.
    pub start: Position,
    /// Its end: the start of the next segment, or the position of the next append.
    pub end: Position,
    /// Bytes of the file, reserved space included.
    pub file_bytes: u64,
    /// Good records.
    pub records: u64,
    /// Bytes of the range `start..end` that are not damaged.
    pub good_bytes: u64,
    /// Damaged ranges, at most [`Recovery::DAMAGE_MAX`].
    pub damage: Vec<Damage>,
    /// Damaged ranges beyond those listed.
    pub damage_unlisted: u64,
    /// Bytes after the end that the next opening cuts off. Only the last segment can have some.
    pub torn_tail_bytes: u64,
}

/// Contents of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// One for each segment, oldest first; empty for a folder without a log.
    pub segments: Vec<SegmentReport>,
}

impl VerifyReport {
    /// True if nothing is damaged. (A torn tail is not damage: nothing in it was acknowledged.)
    pub fn is_clean(&self) -> bool {
        self.segments.iter().all(|segment| segment.damage.is_empty())
    }

    /// Number of good records.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }
}

/// Reads the whole log in `dir` and changes nothing. The log should not be in use: a write in progress looks like a
/// torn tail.
///
/// # Errors
/// As opening a log.
pub fn verify<D: Disk>(disk: &D, dir: &Path) -> Result<VerifyReport, OpenError> {
    let list = list_segments(disk, dir)?;
    let Some(last) = list.last().copied() else { return Ok(VerifyReport::default()) };
    let Some(salt) = find_salt(disk, dir, &list)? else {
        return Err(OpenError::Unreadable { path: dir.join(crate::format::segment_name(last.start)) });
    };
    let segments = Segments::new(dir, salt, list.clone(), last.start);
    let mut report = VerifyReport::default();
    for (index, segment) in list.iter().enumerate() {
        let next = list.get(index + 1).map(|next| next.start);
        report.segments.push(verify_segment(disk, &segments, *segment, next)?);
    }
    Ok(report)
}

fn verify_segment<D: Disk>(
    disk: &D,
    segments: &Segments,
    segment: Segment,
    next: Option<Position>,
) -> Result<SegmentReport, OpenError> {
    let path = segments.path(segment.start);
    let mut found = Recovery::default();
    let mut bad_bytes = 0;
    let mut note = |damage: Damage| {
        bad_bytes += damage.to.since(damage.from);
        found.note(damage);
    };
    let (end, records, torn_tail_bytes) = if let Some(end) = next {
        let file = disk.open_read(&path).map_err(OpenError::io(&path))?;
        let whole = read_header(&file, &path, segment.start)?.is_some_and(|(_, whole)| whole);
        let mut scanner = Scanner::new(file, path.clone(), segments.salt, segment.start, end);
        if !whole {
            note(scanner.damage(segment.start, segment.start, Some(0), DamageReason::SegmentHeader));
        }
        let records = scan_damage(&mut scanner, note).map_err(OpenError::io(&path))?;
        (end, records, 0)
    } else {
        let last = inspect_last(disk, segments, segment, note)?;
        let in_block = last.tail.rewrite.map_or(0, |(_, block)| u64::from(block.records));
        (last.tail.end, last.records + in_block, last.tail.torn_bytes)
    };
    Ok(SegmentReport {
        path,
        start: segment.start,
        end,
        file_bytes: segment.file_bytes,
        records,
        good_bytes: end.since(segment.start).saturating_sub(bad_bytes),
        damage: found.damage,
        damage_unlisted: found.damage_unlisted,
        torn_tail_bytes,
    })
}
