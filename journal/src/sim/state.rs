//! What is on the simulated disk, and who may still use it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inode::Inode;
use crate::fs::FileStatus;

/// The run of a machine that uses the disk: after a crash, older ones fail.
#[derive(Clone)]
pub(super) struct Machine {
    shared: Arc<Mutex<State>>,
    life: u64,
}

impl Machine {
    pub(super) fn new(state: State) -> Self {
        Self { shared: Arc::new(Mutex::new(state)), life: 0 }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if this handle's machine is still running.
    pub(super) fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("simulated: the machine crashed"))
        }
    }

    /// Starts again: everything else that used the disk fails from now on.
    pub(super) fn restart(&mut self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.life += 1;
        self.life = state.life;
        state
    }
}

/// The disk.
pub(super) struct State {
    pub(super) random: u64,
    pub(super) sector: u64,
    /// Current run of the machine; files opened in an earlier run fail.
    pub(super) life: u64,
    pub(super) files: BTreeMap<u64, Inode>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) changes: Vec<NameChange>,
    pub(super) quota: Option<u64>,
    pub(super) fail_write: Option<u32>,
    pub(super) fail_sync: Option<u32>,
    pub(super) refuse_opens: bool,
    pub(super) refuse_creates: Option<u32>,
    pub(super) ignore_syncs: bool,
    pub(super) copy_on_write: bool,
    pub(super) hold_removals: bool,
    pub(super) panic_at: Option<&'static str>,
    pub(super) before_status: Option<Box<dyn FnOnce() + Send>>,
    pub(super) syncs: u64,
    pub(super) written: u64,
}

pub(super) enum NameChange {
    Put(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameChange {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Rename(path, ..) => path,
        }
    }

    pub(super) fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
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

pub(super) fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "simulated: no space")
}

pub(super) fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// An empty disk.
    pub(super) fn new(seed: u64) -> Self {
        let mut state = Self {
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
            refuse_opens: false,
            refuse_creates: None,
            panic_at: None,
            before_status: None,
            syncs: 0,
            written: 0,
        };
        if state.coin() {
            state.sector = 4096;
        }
        state
    }

    /// SplitMix64.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.random() & 1 == 0
    }

    pub(super) fn status(&self, inode: u64) -> Option<FileStatus> {
        let len = self.files.get(&inode)?.now.len() as u64;
        let links = self.names.values().filter(|named| **named == inode).count() as u64;
        Some(FileStatus { id: (0, inode), links, len })
    }

    pub(super) fn used(&self) -> u64 {
        let bytes = |inode| self.files.get(inode).map_or(0, |file: &Inode| file.now.len() as u64);
        self.names.values().map(|inode| crate::config::round_up_to_page(bytes(inode))).sum()
    }

    pub(super) fn check_space(&self, grow: u64) -> io::Result<()> {
        match self.quota {
            Some(quota) if self.used().saturating_add(crate::config::round_up_to_page(grow)) > quota => {
                Err(no_space())
            }
            _ => Ok(()),
        }
    }

    /// Whether a file may not be created now; stays so.
    pub(super) fn create_is_refused(&mut self) -> bool {
        self.refuse_creates.as_mut().is_some_and(|left| match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                false
            }
            None => true,
        })
    }

    pub(super) fn panics_at(&mut self, call: &'static str) -> bool {
        self.panic_at.take_if(|at| *at == call).is_some()
    }

    pub(super) fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        countdown(&mut self.fail_sync)
    }
}

pub(super) fn countdown(left: &mut Option<u32>) -> bool {
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
