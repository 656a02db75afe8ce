//! A copy of the newest segments of sled's file, kept while sled opens it.
//!
//! sled takes everything after a damaged byte in these segments for the torn end of its log and overwrites it. A
//! start that is refused therefore leaves the copy, for a repair; a successful start removes it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use catchment_journal::{Disk, RealDisk};

use crate::store::tree::sled_tree::SEGMENT_BYTES;

/// Number of segments copied: more than sled writes before it knows that they are stable.
const SEGMENTS: usize = 5;
/// No copy is made if it would leave less than this free.
const FREE_MIN: u64 = 64 << 20;
/// A segment's position in the log, stored at this offset with these bits inverted.
const LSN_OFFSET: u64 = 4;
const LSN_MASK: i64 = i64::MAX;

/// Path of the copy.
pub(in crate::store) fn path(data: &Path) -> PathBuf {
    data.join("sled.tail")
}

/// Makes the copy, unless an earlier attempt left one, there is no file yet, or there is no room.
///
/// # Errors
/// Reading or writing failed; there is no copy then.
pub(in crate::store) fn save(data: &Path, sled: &Path) -> io::Result<()> {
    let target = path(data);
    let db = match File::open(sled.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        db => db?,
    };
    let segments = db.metadata()?.len().div_ceil(SEGMENT_BYTES as u64);
    let room = (SEGMENTS * SEGMENT_BYTES) as u64 + FREE_MIN;
    if target.exists() || RealDisk.free_bytes(data)? < room {
        return Ok(());
    }
    let mut newest = Vec::new();
    for segment in 0..segments {
        let offset = segment * SEGMENT_BYTES as u64;
        let mut lsn = [0; 8];
        // The last segment may be shorter than that.
        let _ = db.read_at(&mut lsn, offset + LSN_OFFSET)?;
        newest.push((i64::from_le_bytes(lsn) ^ LSN_MASK, offset));
    }
    newest.sort_unstable_by(|a, b| b.cmp(a));
    let copied = copy(&db, newest.iter().take(SEGMENTS).map(|(_, offset)| *offset), &target);
    if copied.is_err() {
        let _ = fs::remove_file(&target);
    }
    copied
}

fn copy(db: &File, segments: impl Iterator<Item = u64>, target: &Path) -> io::Result<()> {
    let file = File::create(target)?;
    let mut buffer = vec![0; SEGMENT_BYTES];
    let mut at = 0;
    for offset in segments {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match db.read_at(rest, offset + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        file.write_all_at(buffer.get(..filled).unwrap_or_default(), at)?;
        at += filled as u64;
    }
    Ok(())
}

/// Removes the copy.
pub(in crate::store) fn remove(data: &Path) {
    match fs::remove_file(path(data)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %path(data).display(), %error, "an obsolete copy cannot be removed");
        }
        _ => {}
    }
}
