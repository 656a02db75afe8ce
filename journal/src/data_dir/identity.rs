//! The file `identity` of a data folder, and the names in it.

use std::io;
use std::path::Path;

use super::error::DataDirError;
use crate::atomic_file::{AtomicFileError, read_atomic};
use crate::fs::{Disk, FileStatus, RealDisk};

/// Format of the data folders that this program writes. Raise it with anything that the version before would misread.
pub const FORMAT_VERSION: u32 = 4;
/// The oldest format that this program reads.
pub(super) const FORMAT_OLDEST: u32 = 2;

pub(super) const IDENTITY: &str = "identity";
/// Key of the format in the identity.
pub(super) const FORMAT: &str = "format";
pub(super) const LOCK: &str = "lock";
/// Key of the owner in the identity.
pub(super) const OWNER: &str = "owner";

pub(super) fn unfit_value(path: &Path) -> DataDirError {
    DataDirError::refused(path, "a key or value holds a line break or `=`")
}

/// The bytes of a folder's identity; `None` if it has none.
pub(super) fn read_identity(path: &Path) -> Result<Option<Vec<u8>>, DataDirError> {
    match read_atomic(&RealDisk, &path.join(IDENTITY)) {
        Ok(bytes) => Ok(bytes),
        Err(AtomicFileError::Io { path, source }) => Err(DataDirError::Io { path, source }),
        Err(error) => Err(DataDirError::refused(path, format!("{error}: restore it from a copy"))),
    }
}

pub(super) fn identity_status(path: &Path) -> Result<FileStatus, DataDirError> {
    let file = path.join(IDENTITY);
    let status = RealDisk.status(&file).map_err(DataDirError::io(&file))?;
    status.ok_or_else(|| DataDirError::io(&file)(io::ErrorKind::NotFound.into()))
}

/// Whether a key and its value fit on a line.
pub(super) fn fits(key: &str, value: &str) -> bool {
    !key.contains(['=', '\n']) && !value.contains('\n')
}

pub(super) fn new_identity(
    disk: &RealDisk,
    kind: &str,
    now_ms: u64,
    extras: &[(&str, &str)],
) -> Option<String> {
    let epoch = (disk.random_u64() >> 1).max(1);
    let mut text = format!("{FORMAT}={FORMAT_VERSION}\nkind={kind}\nepoch={epoch}\ncreated_ms={now_ms}\n");
    for (key, value) in extras {
        if !fits(key, value) {
            return None;
        }
        text.push_str(&format!("{key}={value}\n"));
    }
    Some(text)
}
