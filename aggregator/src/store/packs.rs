//! The sled side of the store: the only file that knows sled.
//!
//! sled 0.34's `flush` does not sync on Linux, so a commit is: one batch on one tree, `flush`, `fdatasync` on our
//! own handle of its file, `fsync` of its folder. Two more things keep what was committed within that file:
//! values of at most 64 KiB, and segments of 8 MiB. sled writes anything longer than a quarter of a segment to a
//! file of its own under `blobs/`, which it never syncs, and that means not only values but also whole leaves, which
//! it writes anew after ten changes: up to twenty values. sled panics where it should return errors; panics are
//! caught here and are errors.

use std::{
    collections::BTreeMap,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sled::{Batch, IVec};

use super::{
    catalog::{Catalog, Gateway, OriginState, Series},
    pack,
    records::{self, META, Meta, Stored},
    row::Row,
};

/// sled's segments: a leaf of twenty of our largest packs is shorter than a quarter of it.
const SEGMENT_BYTES: usize = 8 << 20;
/// How long an earlier handle of this process may take to let go of sled's lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// sled cleans and syncs in the background this often; it must never be switched off.
const BACKGROUND_MS: u64 = 500;

/// The packs and the catalog in sled.
#[derive(Debug)]
pub(super) struct Packs {
    db: sled::Db,
    file: File,
    folder: PathBuf,
}

/// A pack that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadPack {
    /// Its series.
    pub(super) series: u32,
    /// Its bucket.
    pub(super) bucket: i64,
    /// Its number within the bucket.
    pub(super) pack: u32,
    /// What is wrong.
    pub(super) reason: String,
}

impl std::fmt::Display for BadPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { series, bucket, pack, reason } = self;
        write!(f, "series {series}, bucket {bucket} (hours since 1970), pack {pack}: {reason}")
    }
}

/// The number of a pack within its bucket, and its rows or what is wrong with it.
pub(super) type NumberedPack = (u32, Result<Vec<Row>, BadPack>);

/// The last pack of a bucket.
#[derive(Debug)]
pub(super) struct LastPack {
    pub(super) number: u32,
    /// Its size in bytes and its rows; `None` if it is damaged.
    pub(super) rows: Option<(usize, Vec<Row>)>,
}

/// What is to become durable at once.
#[derive(Debug, Default)]
pub(super) struct Change {
    batch: Batch,
    bytes: usize,
}

impl Change {
    /// Sets a key.
    pub(super) fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.batch.insert(key, value);
    }

    /// Sets a record of the catalog.
    pub(super) fn record(&mut self, key: Vec<u8>, message: &impl prost::Message) {
        let value = records::seal(&key, message);
        self.insert(key, value);
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.batch.remove(key);
    }

    /// Bytes of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What was loaded of a sled tree.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) catalog: Catalog,
    pub(super) meta: Option<Meta>,
}

/// Runs something of sled; a panic in it is an error.
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

/// Opens sled's database. The data folder's own lock is held, so whoever still has sled's is an earlier handle of this
/// process: sled lets go of it on a thread of its own, a moment after the handle was dropped.
fn open_unlocked(config: &sled::Config) -> Result<sled::Db, String> {
    let started = Instant::now();
    loop {
        match guarded(|| config.open()) {
            Err(error) if error.contains("could not acquire lock") && started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

impl Packs {
    /// Opens the tree in a folder, or makes it.
    ///
    /// # Errors
    /// What sled or the system said.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(folder)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(BACKGROUND_MS));
        let db = open_unlocked(&config)?;
        let path = folder.join("db");
        let file = File::options().read(true).write(true).open(&path).map_err(|e| io(&path, &e))?;
        let packs = Self { db, file, folder: folder.to_owned() };
        packs.sync()?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        Ok(packs)
    }

    /// Applies a batch and makes it durable. After an error nothing may be released that it was to hold.
    ///
    /// # Errors
    /// What sled or the system said; never to be retried.
    pub(super) fn commit(&self, change: Change) -> Result<(), String> {
        guarded(|| self.db.apply_batch(change.batch))?;
        guarded(|| self.db.flush())?;
        self.sync()
    }

    fn sync(&self) -> Result<(), String> {
        // None are expected (see above); one that is there all the same may hold what was committed.
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

    /// Loads the catalog. Fails for any record that is damaged: without it partials would get a second name.
    ///
    /// # Errors
    /// Which record, and what is wrong with it.
    pub(super) fn load(&self) -> Result<Loaded, String> {
        let meta = match guarded(|| self.db.get(META))? {
            None => None,
            Some(value) => Some(restored::<Meta>(META, &value)?),
        };
        let mut gateways: Vec<Gateway> = Vec::new();
        self.each(&[records::GATEWAY], |key, value| dense(&mut gateways, key, restored(key, value)?))?;
        let mut origins: Vec<OriginState> = Vec::new();
        self.each(&[records::ORIGIN], |key, value| {
            let record = records::unseal(key, value).map_err(|e| damaged(key, e))?;
            let origin = records::restore_origin(record, &gateways);
            dense(&mut origins, key, origin.ok_or_else(|| damaged(key, "its gateway is not known"))?)
        })?;
        self.each(&[records::SHARDS], |key, value| {
            let origin = records::number_of(key).and_then(|number| origins.get_mut(number as usize));
            origin.ok_or_else(|| damaged(key, "its origin is not known"))?.shards = restored(key, value)?;
            Ok(())
        })?;
        let mut series = BTreeMap::new();
        self.each(&[records::SERIES], |key, value| {
            let number = records::number_of(key).ok_or_else(|| damaged(key, "its key is malformed"))?;
            let known: Series = restored(key, value)?;
            if known.gateway as usize >= gateways.len() {
                return Err(damaged(key, "its gateway is not known"));
            }
            series.insert(number, known);
            Ok(())
        })?;
        let next = meta.map_or(0, |meta: Meta| meta.next_series);
        Ok(Loaded { catalog: Catalog::restore(gateways, origins, series, next), meta })
    }

    /// The first bucket in [from, to] in which a series has a pack.
    ///
    /// # Errors
    /// What sled said.
    pub(super) fn first_bucket(&self, series: u32, from: i64, to: i64) -> Result<Option<i64>, String> {
        if from > to {
            return Ok(None);
        }
        let range = records::pack_key(series, from, 0)..=records::pack_key(series, to, u32::MAX);
        let first = guarded(|| self.db.range(range).next().transpose())?;
        Ok(first.and_then(|(key, _)| records::pack_of(&key)).map(|(_, bucket, _)| bucket))
    }

    /// The packs of a bucket, in order: number, and rows or what is wrong with it.
    ///
    /// # Errors
    /// What sled said.
    pub(super) fn bucket(&self, series: u32, bucket: i64) -> Result<Vec<NumberedPack>, String> {
        let mut packs = Vec::new();
        self.each(&records::bucket_key(series, bucket), |key, value| {
            let number = records::pack_of(key).map_or(u32::MAX, |(_, _, number)| number);
            packs.push((number, unpacked(key, value)));
            Ok(())
        })?;
        Ok(packs)
    }

    /// The number of the last pack of a bucket, and its size in bytes and rows unless it is damaged.
    ///
    /// # Errors
    /// What sled said.
    pub(super) fn last_pack(&self, series: u32, bucket: i64) -> Result<Option<LastPack>, String> {
        let mut range = self.db.scan_prefix(records::bucket_key(series, bucket));
        let Some((key, value)) = guarded(|| range.next_back().transpose())? else { return Ok(None) };
        let number = records::pack_of(&key).map_or(u32::MAX, |(_, _, number)| number);
        Ok(Some(LastPack { number, rows: unpacked(&key, &value).ok().map(|rows| (value.len(), rows)) }))
    }

    /// Visits every pack of the store: its series, bucket and number, its rows or what is wrong with it.
    ///
    /// # Errors
    /// What sled said, at which it ended.
    pub(super) fn every_pack(&self, mut visit: impl FnMut(Result<usize, BadPack>)) -> Result<(), String> {
        self.each(&[records::PACK], |key, value| {
            visit(unpacked(key, value).map(|rows| rows.len()));
            Ok(())
        })
    }

    fn each(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &IVec) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut range = self.db.scan_prefix(prefix);
        while let Some((key, value)) = guarded(|| range.next().transpose())? {
            visit(&key, &value)?;
        }
        Ok(())
    }
}

/// The rows of a pack.
fn unpacked(key: &[u8], value: &[u8]) -> Result<Vec<Row>, BadPack> {
    let (series, bucket, number) = records::pack_of(key).unwrap_or((u32::MAX, i64::MAX, u32::MAX));
    let bad = |reason: String| BadPack { series, bucket, pack: number, reason };
    let rows = pack::decode(&Bytes::copy_from_slice(value)).map_err(|e| bad(e.to_string()))?;
    if rows.iter().any(|row| row.name.bucket() != bucket) {
        return Err(bad("it holds windows of another bucket".to_owned()));
    }
    Ok(rows)
}

fn restored<T: Stored>(key: &[u8], value: &[u8]) -> Result<T, String> {
    let record = records::unseal(key, value).map_err(|e| damaged(key, e))?;
    T::restore(record).ok_or_else(|| damaged(key, "its content breaks a rule"))
}

/// Appends a record that must have the next number.
fn dense<T>(all: &mut Vec<T>, key: &[u8], next: T) -> Result<(), String> {
    if records::number_of(key) != u32::try_from(all.len()).ok() {
        return Err(damaged(key, "a record before it is missing"));
    }
    all.push(next);
    Ok(())
}

fn damaged(key: &[u8], reason: &str) -> String {
    let kind = key.first().map_or('?', |kind| char::from(*kind));
    let number = records::number_of(key).map_or(String::new(), |number| format!(" {number}"));
    format!("the catalog is damaged: record {kind}{number}: {reason}")
}

fn io(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn sync_folder(path: &Path) -> Result<(), String> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| io(path, &e))
}
