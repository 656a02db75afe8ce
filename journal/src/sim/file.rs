//! Open files of the simulated disk.

use std::io;

use super::inode::Inode;
use super::state::{Machine, State, countdown, missing};
use crate::fs::{DiskFile, FileStatus};

/// An open file of a [`super::SimDisk`].
pub struct SimFile {
    machine: Machine,
    inode: u64,
}

impl SimFile {
    pub(super) const fn new(machine: Machine, inode: u64) -> Self {
        Self { machine, inode }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State, &mut Inode) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.machine.running()?;
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
        self.machine.running()?.status(self.inode).ok_or_else(missing)
    }
}
