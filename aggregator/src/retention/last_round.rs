//! The file `retention` of the data folder: the time from which the last round counted ages, Unix milliseconds.
//!
//! Without it (a new folder, damage), the next round is not bounded by the one before.

use std::{io, path::Path};

use catchment_journal::{RealDisk, read_atomic, write_atomic};
use catchment_partial::Timestamp;

const FILE: &str = "retention";

/// Writes the time, durably.
pub(super) fn write(folder: &Path, time: Timestamp) -> io::Result<()> {
    write_atomic(&RealDisk, &folder.join(FILE), &time.as_millis().to_be_bytes())
}

/// Reads the time; `None` if there is none that can be read.
pub(super) fn read(folder: &Path) -> Option<Timestamp> {
    let path = folder.join(FILE);
    let bytes = read_atomic(&RealDisk, &path).unwrap_or_else(|error| {
        tracing::warn!(%error, "the time of the last round of retention cannot be read");
        None
    })?;
    let millis = i64::from_be_bytes(bytes.try_into().ok()?);
    Timestamp::from_millis(millis)
}
