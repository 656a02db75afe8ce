//! A simulated disk in memory with the faults of real ones, driven by a seed.
//!
//! At a [`SimDisk::crash`], each unsynced sector is lost or kept, and so is each change of a name whose folder is not
//! synced. A failed sync leaves pages that count as clean but are not on disk, as on Linux: a second sync succeeds and
//! keeps nothing of them. Folders exist implicitly.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fs::{Disk, FileStatus};

mod file;
mod inode;
mod state;

pub use file::SimFile;
use inode::Inode;
use state::{Machine, NameChange, State, missing};

/// The simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    machine: Machine,
}

/// A copy of the files of a [`SimDisk`]; the default is an empty disk.
#[derive(Clone, Default)]
pub struct SimCopy(BTreeMap<PathBuf, Vec<u8>>);

impl SimDisk {
    /// An empty disk; the seed decides what crashes keep.
    pub fn new(seed: u64) -> Self {
        Self { machine: Machine::new(State::new(seed)) }
    }

    /// Power loss: the disk takes a state that it might have afterwards. This handle continues as the restarted
    /// machine; open files and all other handles fail from now on.
    pub fn crash(&mut self) {
        let mut state = self.machine.restart();
        for change in std::mem::take(&mut state.changes) {
            if state.coin() {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        let kept: BTreeSet<u64> = state.names.values().copied().collect();
        let mut files = std::mem::take(&mut state.files);
        files.retain(|inode, _| kept.contains(inode));
        let sector_bytes = state.sector;
        for file in files.values_mut() {
            file.crash(sector_bytes, || state.coin());
        }
        state.files = files;
        (state.fail_sync, state.fail_write) = (None, None);
    }

    /// A copy of the current contents of all files.
    pub fn copy(&self) -> SimCopy {
        let state = self.machine.state();
        let bytes = |inode| state.files.get(inode).map(|file: &Inode| file.now.clone()).unwrap_or_default();
        SimCopy(state.names.iter().map(|(path, inode)| (path.clone(), bytes(inode))).collect())
    }

    /// Replaces all files with a copy, durably. As after [`Self::crash`], open files and all other handles fail from
    /// now on.
    pub fn put_back(&mut self, copy: &SimCopy) {
        let mut state = self.machine.restart();
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
        self.machine.state().quota = quota;
    }

    /// Makes a sync fail after `successes` more successful ones.
    pub fn fail_sync_after(&self, successes: u32) {
        self.machine.state().fail_sync = Some(successes);
    }

    /// Makes a write fail half-way after `successes` more successful ones.
    pub fn fail_write_after(&self, successes: u32) {
        self.machine.state().fail_write = Some(successes);
    }

    /// Refuses to open files for reading, as a system without descriptors left, until it is set back.
    pub fn refuse_opens(&self, refuse: bool) {
        self.machine.state().refuse_opens = refuse;
    }

    /// Refuses to create files after `successes` more, as a system without descriptors left, until it is set back (`None`).
    pub fn refuse_creates_after(&self, successes: Option<u32>) {
        self.machine.state().refuse_creates = successes;
    }

    /// Makes syncs report success and do nothing: shows that a test would notice a forgotten sync.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.machine.state().ignore_syncs = ignore;
    }

    /// Simulates a copy-on-write file system: every write takes new space, so a reservation does not help.
    pub fn set_copy_on_write(&self, copy_on_write: bool) {
        self.machine.state().copy_on_write = copy_on_write;
    }

    /// While set, removing a file blocks.
    pub fn hold_removals(&self, hold: bool) {
        self.machine.state().hold_removals = hold;
    }

    /// Panics at the next call of this kind, `remove` or `sync`: simulates a defect in the caller.
    pub fn panic_at(&self, call: &'static str) {
        self.machine.state().panic_at = Some(call);
    }

    fn panic_if(&self, call: &'static str) {
        let due = self.machine.state().panics_at(call);
        assert!(!due, "simulated: a defect at {call}");
    }

    /// Runs `what` at the next question for the status of a path, before the answer: what another thread does meanwhile.
    pub fn before_next_status(&self, what: impl FnOnce() + Send + 'static) {
        self.machine.state().before_status = Some(Box::new(what));
    }

    /// Syncs requested so far.
    pub fn syncs(&self) -> u64 {
        self.machine.state().syncs
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.machine.state().written
    }

    /// All files with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.machine.state();
        let length = |inode| state.files.get(inode).map_or(0, |file: &Inode| file.now.len() as u64);
        state.names.iter().map(|(path, inode)| (path.clone(), length(inode))).collect()
    }

    /// Damages one byte on the disk and in every cache; false if there is no such byte.
    pub fn flip(&self, path: &Path, offset: u64) -> bool {
        let mut state = self.machine.state();
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
        let mut state = self.machine.running()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.create_is_refused() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.check_space(1)?;
        let inode = state.random();
        state.files.insert(inode, Inode::default());
        state.names.insert(path.to_owned(), inode);
        state.changes.push(NameChange::Put(path.to_owned(), inode));
        Ok(SimFile::new(self.machine.clone(), inode))
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let state = self.machine.running()?;
        let inode = *state.names.get(path).ok_or_else(missing)?;
        Ok(SimFile::new(self.machine.clone(), inode))
    }

    fn open_read(&self, path: &Path) -> io::Result<SimFile> {
        if self.machine.running()?.refuse_opens {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.machine.running()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.machine.running()?;
        let length = |inode| state.files.get(inode).map(|file: &Inode| file.now.len() as u64);
        Ok(state.names.get(path).and_then(length))
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        let before = self.machine.running()?.before_status.take();
        // Without the lock: it uses the disk.
        if let Some(before) = before {
            before();
        }
        let state = self.machine.running()?;
        Ok(state.names.get(path).and_then(|inode| state.status(*inode)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.panic_if("remove");
        while self.machine.state().hold_removals {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut state = self.machine.running()?;
        state.names.remove(path).ok_or_else(missing)?;
        state.changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.machine.running()?;
        let inode = state.names.remove(from).ok_or_else(missing)?;
        state.names.insert(to.to_owned(), inode);
        state.changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.machine.running().map(drop)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.machine.running()?;
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
        let state = self.machine.running()?;
        Ok(state.quota.map_or(u64::MAX, |quota| quota.saturating_sub(state.used())))
    }

    fn overwrites_in_place(&self, _dir: &Path) -> bool {
        !self.machine.state().copy_on_write
    }

    fn random_u64(&self) -> u64 {
        self.machine.state().random()
    }
}
