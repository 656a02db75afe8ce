//! Files of the simulated disk: their current contents, and what a power loss keeps.

use std::collections::BTreeSet;
use std::io;

use super::{SimDisk, State, countdown, missing};
use crate::fs::{DiskFile, FileStatus};

#[derive(Default)]
pub(super) struct Inode {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    dirty: BTreeSet<u64>,
    length_dirty: bool,
}

impl Inode {
    /// A file whose content is durable.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), now: bytes, ..Self::default() }
    }

    pub(super) fn crash(&mut self, state: &mut State) {
        let length = match self.length_dirty && state.coin() {
            true => self.now.len(),
            false => self.durable.len(),
        };
        self.durable.resize(length, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if state.coin() {
                self.keep(sector, state.sector);
            }
        }
        self.length_dirty = false;
        self.now = self.durable.clone();
    }

    /// Copies a sector to the durable contents, as far as they reach.
    fn keep(&mut self, sector: u64, size: u64) {
        let from = ((sector * size) as usize).min(self.durable.len());
        let to = (from + size as usize).min(self.durable.len());
        for at in from..to {
            if let Some(byte) = self.durable.get_mut(at) {
                *byte = self.now.get(at).copied().unwrap_or(0);
            }
        }
    }

    fn touch(&mut self, from: u64, to: u64, size: u64) {
        self.dirty.extend(from / size..to.div_ceil(size));
    }

    fn resize(&mut self, length: u64, sector: u64) {
        let before = self.now.len() as u64;
        if length < before {
            self.touch(length, before, sector);
        }
        self.now.resize(length as usize, 0);
        self.length_dirty |= length != before;
    }
}

/// An open file of a [`SimDisk`].
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl SimFile {
    pub(super) fn new(disk: &SimDisk, inode: u64) -> Self {
        Self { disk: disk.clone(), inode }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State, &mut Inode) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.running()?;
        let mut file = state.files.remove(&self.inode).ok_or_else(missing)?;
        let result = use_it(&mut state, &mut file);
        state.files.insert(self.inode, file);
        result
    }

    /// Checks that the quota allows the file to grow to `end`.
    fn grow(state: &State, file: &Inode, end: u64) -> io::Result<()> {
        if end > file.now.len() as u64 { state.check_space(end) } else { Ok(()) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|_, file| {
            let rest = file.now.get(offset as usize..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            for (to, from) in buf.iter_mut().zip(rest) {
                *to = *from;
            }
            Ok(n)
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state, file| {
            if state.copy_on_write {
                state.check_space(file.now.len() as u64 + bytes.len() as u64)?;
            }
            let fails = countdown(&mut state.fail_write);
            let bytes = if fails { bytes.get(..bytes.len() / 2).unwrap_or_default() } else { bytes };
            let end = offset + bytes.len() as u64;
            Self::grow(state, file, end)?;
            state.written += bytes.len() as u64;
            if end > file.now.len() as u64 {
                file.resize(end, state.sector);
            }
            file.now.iter_mut().skip(offset as usize).zip(bytes).for_each(|(to, from)| *to = *from);
            file.touch(offset, end, state.sector);
            if fails { Err(io::Error::other("simulated: write failed")) } else { Ok(()) }
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.with(|state, file| {
            let end = offset + len;
            Self::grow(state, file, end)?;
            if end > file.now.len() as u64 {
                file.resize(end, state.sector);
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, file| {
            file.resize(len, state.sector);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, file| {
            assert!(!state.panics_at("sync"), "simulated: a defect at sync");
            if state.sync_fails() {
                // Some sectors reached the disk; all of them count as clean.
                for sector in std::mem::take(&mut file.dirty) {
                    if state.coin() {
                        file.keep(sector, state.sector);
                    }
                }
                return Err(io::Error::other("simulated: sync failed"));
            }
            if !state.ignore_syncs {
                file.durable.resize(file.now.len(), 0);
                file.length_dirty = false;
                for sector in std::mem::take(&mut file.dirty) {
                    file.keep(sector, state.sector);
                }
            }
            Ok(())
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn status(&self) -> io::Result<FileStatus> {
        self.disk.running()?.status(self.inode).ok_or_else(missing)
    }
}
