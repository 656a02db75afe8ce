//! The tree in sled: the only file that uses sled.
//!
//! sled 0.34's `flush` does not sync on Linux, so a commit consists of one batch on one tree, `flush`, `fdatasync` on
//! our own handle of its file, and `fsync` of its folder. Two limits keep committed data within that file: values of
//! hardly more than 64 KiB, and segments of 8 MiB. sled writes anything longer than a quarter of a segment to a file
//! of its own under `blobs/`, which it never syncs. That applies to values and to whole leaves, which it rewrites
//! after ten changes: up to twenty values. sled panics where it should return errors; panics are caught here and
//! returned as errors.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use catchment_journal::{PresenceError, check_in_place};

use crate::store::tree::{KeyRange, Tree, Visited, WriteBatch};

/// Size of sled's segments: a leaf of twenty of our largest blocks is shorter than a quarter of it.
pub(in crate::store) const SEGMENT_BYTES: usize = 8 << 20;
/// How long an earlier handle of this process may take to release sled's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which sled cleans and syncs in the background; must never be switched off.
const BACKGROUND_MS: u64 = 500;

/// A sled database in a folder of its own.
#[derive(Debug)]
pub(in crate::store) struct SledTree {
    db: sled::Db,
    file: File,
    folder: PathBuf,
}

impl SledTree {
    /// Opens the tree in a folder, or creates it.
    ///
    /// # Errors
    /// Error of sled or the system.
    pub(in crate::store) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(folder)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(BACKGROUND_MS));
        let db = open_unlocked(&config)?;
        let path = folder.join("db");
        let file = File::options().read(true).write(true).open(&path).map_err(|e| io(&path, &e))?;
        let tree = Self { db, file, folder: folder.to_owned() };
        tree.sync()?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        Ok(tree)
    }

    fn sync(&self) -> Result<(), String> {
        // No blob is expected (see above); if there is one, it may hold committed data.
        let blobs = self.folder.join("blobs");
        for entry in std::fs::read_dir(&blobs).map_err(|e| io(&blobs, &e))? {
            let path = entry.map_err(|e| io(&blobs, &e))?.path();
            match File::open(&path).and_then(|file| file.sync_all()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&path, &error)),
                _ => {}
            }
        }
        self.file.sync_data().map_err(|e| io(&self.folder.join("db"), &e))?;
        sync_folder(&blobs)?;
        sync_folder(&self.folder)
    }
}

impl Tree for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(guarded(|| self.db.get(key))?.map(|value| value.to_vec()))
    }

    fn scan(&self, range: KeyRange, visit: &mut dyn FnMut(&[u8], &[u8]) -> Visited) -> Result<(), String> {
        let mut entries = guarded(|| Ok(self.db.range(range)))?;
        while let Some((key, value)) = guarded(|| entries.next().transpose())? {
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, writes: WriteBatch) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes.entries() {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        guarded(|| self.db.apply_batch(batch))?;
        guarded(|| self.db.flush())?;
        self.sync()?;
        // Data synced into a file that is gone is not durable.
        self.check_file().map_err(|error| error.to_string())
    }

    fn check_file(&self) -> Result<(), PresenceError> {
        check_in_place(&self.folder.join("db"), &self.file)
    }
}

/// Calls sled; turns a panic into an error.
fn guarded<T>(what: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(result) => result.map_err(|e| format!("sled: {e}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(format!("sled panicked: {text}"))
        }
    }
}

/// Opens sled's database. We hold the data folder's own lock, so sled's lock can only be held by an earlier handle of
/// this process: sled releases it on a thread of its own, a moment after the handle was dropped.
fn open_unlocked(config: &sled::Config) -> Result<sled::Db, String> {
    let started = Instant::now();
    loop {
        match guarded(|| config.open()) {
            Err(error) if error.contains("could not acquire lock") && started.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn io(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn sync_folder(path: &Path) -> Result<(), String> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| io(path, &e))
}
