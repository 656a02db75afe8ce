//! A simulated disk in memory with the faults of real ones, driven by a seed.
//!
//! At a [`SimDisk::crash`], each unsynced sector is lost or kept, and so is each change of a name whose folder is not
//! synced. A failed sync leaves pages that count as clean but are not on disk, as on Linux: a second sync succeeds and
//! keeps nothing of them. Folders exist implicitly.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::fs::{Disk, FileStatus};

mod file;
use file::Inode;
pub use file::SimFile;

/// The simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
    /// The run of the machine that this handle belongs to: after a crash, older handles fail.
    life: u64,
}

/// A copy of the files of a [`SimDisk`].
#[derive(Clone)]
pub struct SimCopy(BTreeMap<PathBuf, Vec<u8>>);

struct State {
    random: u64,
    sector: u64,
    /// Current run of the machine; files opened in an earlier run fail.
    life: u64,
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    changes: Vec<NameChange>,
    quota: Option<u64>,
    fail_write: Option<u32>,
    fail_sync: Option<u32>,
    ignore_syncs: bool,
    copy_on_write: bool,
    hold_removals: bool,
    panic_at: Option<&'static str>,
    syncs: u64,
    written: u64,
}

enum NameChange {
    Put(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Rename(path, ..) => path,
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Put(path, inode) => drop(names.insert(path, inode)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}

fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "simulated: no space")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.random() & 1 == 0
    }

    fn status(&self, inode: u64) -> Option<FileStatus> {
        let len = self.files.get(&inode)?.now.len() as u64;
        let links = self.names.values().filter(|named| **named == inode).count() as u64;
        Some(FileStatus { id: (0, inode), links, len })
    }

    fn used(&self) -> u64 {
        let bytes = |inode| self.files.get(inode).map_or(0, |file: &Inode| file.now.len() as u64);
        self.names.values().map(|inode| crate::config::round_up_to_page(bytes(inode))).sum()
    }

    fn check_space(&self, grow: u64) -> io::Result<()> {
        match self.quota {
            Some(quota) if self.used().saturating_add(crate::config::round_up_to_page(grow)) > quota => {
                Err(no_space())
            }
            _ => Ok(()),
        }
    }

    fn panics_at(&mut self, call: &'static str) -> bool {
        self.panic_at.take_if(|at| *at == call).is_some()
    }

    fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        countdown(&mut self.fail_sync)
    }
}

fn countdown(left: &mut Option<u32>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl SimDisk {
    /// An empty disk; the seed decides what crashes keep.
    pub fn new(seed: u64) -> Self {
        let mut state = State {
            random: seed,
            sector: 512,
            life: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            quota: None,
            fail_write: None,
            fail_sync: None,
            ignore_syncs: false,
            copy_on_write: false,
            hold_removals: false,
            panic_at: None,
            syncs: 0,
            written: 0,
        };
        if state.coin() {
            state.sector = 4096;
        }
        Self { shared: Arc::new(Mutex::new(state)), life: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if this handle's machine is still running.
    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("simulated: the machine crashed"))
        }
    }

    /// Power loss: the disk takes a state that it might have afterwards. This handle continues as the restarted
    /// machine; open files and all other handles fail from now on.
    pub fn crash(&mut self) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.life += 1;
        self.life = state.life;
        for change in std::mem::take(&mut state.changes) {
            if state.coin() {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        let kept: BTreeSet<u64> = state.names.values().copied().collect();
        let mut files = std::mem::take(&mut state.files);
        files.retain(|inode, _| kept.contains(inode));
        for file in files.values_mut() {
            file.crash(&mut state);
        }
        state.files = files;
        (state.fail_sync, state.fail_write) = (None, None);
    }

    /// A copy of the current contents of all files.
    pub fn copy(&self) -> SimCopy {
        let state = self.state();
        let bytes = |inode| state.files.get(inode).map(|file: &Inode| file.now.clone()).unwrap_or_default();
        SimCopy(state.names.iter().map(|(path, inode)| (path.clone(), bytes(inode))).collect())
    }

    /// Replaces all files with a copy, durably. As after [`Self::crash`], open files and all other handles fail from
    /// now on.
    pub fn put_back(&mut self, copy: &SimCopy) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.life += 1;
        self.life = state.life;
        state.changes.clear();
        state.files.clear();
        state.names.clear();
        for (path, bytes) in &copy.0 {
            let inode = state.random();
            state.files.insert(inode, Inode::whole(bytes.clone()));
            state.names.insert(path.clone(), inode);
        }
        state.durable_names = state.names.clone();
        (state.fail_sync, state.fail_write) = (None, None);
    }

    /// Maximum total size of all files in bytes; `None`: unlimited.
    pub fn set_quota(&self, quota: Option<u64>) {
        self.state().quota = quota;
    }

    /// Makes a sync fail after `successes` more successful ones.
    pub fn fail_sync_after(&self, successes: u32) {
        self.state().fail_sync = Some(successes);
    }

    /// Makes a write fail half-way after `successes` more successful ones.
    pub fn fail_write_after(&self, successes: u32) {
        self.state().fail_write = Some(successes);
    }

    /// Makes syncs report success and do nothing: shows that a test would notice a forgotten sync.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.state().ignore_syncs = ignore;
    }

    /// Simulates a copy-on-write file system: every write takes new space, so a reservation does not help.
    pub fn set_copy_on_write(&self, copy_on_write: bool) {
        self.state().copy_on_write = copy_on_write;
    }

    /// While set, removing a file blocks.
    pub fn hold_removals(&self, hold: bool) {
        self.state().hold_removals = hold;
    }

    /// Panics at the next call of this kind, `remove` or `sync`: simulates a defect in the caller.
    pub fn panic_at(&self, call: &'static str) {
        self.state().panic_at = Some(call);
    }

    fn panic_if(&self, call: &'static str) {
        let due = self.state().panics_at(call);
        assert!(!due, "simulated: a defect at {call}");
    }

    /// Syncs requested so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.state().written
    }

    /// All files with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let length = |inode| state.files.get(inode).map_or(0, |file: &Inode| file.now.len() as u64);
        state.names.iter().map(|(path, inode)| (path.clone(), length(inode))).collect()
    }

    /// Damages one byte on the disk and in every cache; false if there is no such byte.
    pub fn flip(&self, path: &Path, offset: u64) -> bool {
        let mut state = self.state();
        let Some(inode) = state.names.get(path).copied() else { return false };
        let Some(file) = state.files.get_mut(&inode) else { return false };
        let mut flipped = false;
        for bytes in [&mut file.now, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 0x40;
                flipped = true;
            }
        }
        flipped
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create_new(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.running()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.check_space(1)?;
        let inode = state.random();
        state.files.insert(inode, Inode::default());
        state.names.insert(path.to_owned(), inode);
        state.changes.push(NameChange::Put(path.to_owned(), inode));
        Ok(SimFile::new(self, inode))
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let state = self.running()?;
        let inode = *state.names.get(path).ok_or_else(missing)?;
        Ok(SimFile::new(self, inode))
    }

    fn open_read(&self, path: &Path) -> io::Result<SimFile> {
        self.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.running()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.running()?;
        let length = |inode| state.files.get(inode).map(|file: &Inode| file.now.len() as u64);
        Ok(state.names.get(path).and_then(length))
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        let state = self.running()?;
        Ok(state.names.get(path).and_then(|inode| state.status(*inode)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.panic_if("remove");
        while self.state().hold_removals {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut state = self.running()?;
        state.names.remove(path).ok_or_else(missing)?;
        state.changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        let inode = state.names.remove(from).ok_or_else(missing)?;
        state.names.insert(to.to_owned(), inode);
        state.changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.running().map(drop)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        if state.sync_fails() {
            return Err(io::Error::other("simulated: sync of a folder failed"));
        }
        if state.ignore_syncs {
            return Ok(());
        }
        for change in std::mem::take(&mut state.changes) {
            if change.path().parent() == Some(dir) {
                change.apply(&mut state.durable_names);
            } else {
                state.changes.push(change);
            }
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.running()?;
        Ok(state.quota.map_or(u64::MAX, |quota| quota.saturating_sub(state.used())))
    }

    fn overwrites_in_place(&self, _dir: &Path) -> bool {
        !self.state().copy_on_write
    }

    fn random_u64(&self) -> u64 {
        self.state().random()
    }
}
