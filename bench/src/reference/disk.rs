//! The disk alone: an append of 4 KiB, made durable.

use std::{fs::File, io::Write as _, path::Path, time::Instant};

/// Bytes per append.
const APPEND: usize = 4 << 10;

/// Seconds of each of `count` appends of 4 KiB, each followed by `fdatasync`, in a folder.
///
/// # Errors
/// The system's error.
pub(crate) fn syncs(folder: &Path, count: usize) -> anyhow::Result<Vec<f64>> {
    let path = folder.join("appends");
    let mut file = File::options().create(true).append(true).open(&path)?;
    let block = [0x5a_u8; APPEND];
    let mut once = || -> anyhow::Result<f64> {
        let started = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        Ok(started.elapsed().as_secs_f64())
    };
    let seconds = (0..count).map(|_| once()).collect();
    std::fs::remove_file(path)?;
    seconds
}
