//! The file `packed` of the data folder: the journal position up to which the blocks were complete when the journal
//! was last released.
//!
//! The authoritative position is in sled, with the blocks. This copy outside of sled is written before a release, so
//! that a start notices if sled comes back without blocks that exist nowhere else any more.

use std::{io, path::Path};

use catchment_journal::{AtomicFileError, Disk, Position, read_atomic, write_atomic};

/// Its name.
pub(in crate::store) const FILE: &str = "packed";

/// Writes the position, durably.
pub(in crate::store) fn write<D: Disk>(disk: &D, folder: &Path, position: Position) -> io::Result<()> {
    write_atomic(disk, &folder.join(FILE), &position.get().to_be_bytes())
}

/// The position up to which the journal was released: as noted, or, without a note, where the journal starts.
pub(in crate::store) fn released<D: Disk>(
    disk: &D,
    folder: &Path,
    journal: Option<Position>,
) -> Result<Position, AtomicFileError> {
    Ok(read(disk, folder)?.or(journal).unwrap_or(Position::ZERO))
}

/// Reads the position; `None` if the journal was never released.
pub(in crate::store) fn read<D: Disk>(disk: &D, folder: &Path) -> Result<Option<Position>, AtomicFileError> {
    let path = folder.join(FILE);
    let Some(bytes) = read_atomic(disk, &path)? else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| AtomicFileError::Damaged { path })?;
    Ok(Some(Position::new(u64::from_be_bytes(bytes))))
}
