//! The tree of simulations: in memory, atomic and durable with each commit; it fails on demand.
//!
//! Handles share their content. [`MemoryTree::crash`] simulates a power loss: the handle it is called on continues as
//! the restarted machine, and all other handles become unusable.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::store::{
    embedded::locks::lock,
    tree::{KeyRange, Tree, Visited, WriteBatch},
};

/// An ordered map in memory that outlives the store that uses it. Clones are handles of the same map.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    shared: Arc<Mutex<Shared>>,
    /// The machine that this handle belongs to.
    life: u64,
}

/// A copy of the content of a [`MemoryTree`]; the default is an empty one.
#[derive(Clone, Debug, Default)]
pub struct MemoryTreeCopy(BTreeMap<Vec<u8>, Vec<u8>>);

#[derive(Debug, Default)]
struct Shared {
    content: BTreeMap<Vec<u8>, Vec<u8>>,
    life: u64,
    commits: u64,
    fail: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    after: u64,
    applied: bool,
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Power loss: the content stays as the last commit left it.
    pub fn crash(&mut self) {
        let mut shared = lock(&self.shared);
        shared.life += 1;
        shared.fail = None;
        self.life = shared.life;
    }

    /// A copy of the content.
    pub fn copy(&self) -> MemoryTreeCopy {
        MemoryTreeCopy(lock(&self.shared).content.clone())
    }

    /// Replaces the content with a copy. As after [`Self::crash`], all other handles become unusable.
    pub fn put_back(&mut self, copy: &MemoryTreeCopy) {
        self.crash();
        lock(&self.shared).content.clone_from(&copy.0);
    }

    /// Lets the commit after `successes` further ones fail, and everything after it until a crash. With `applied` the
    /// changes of that commit are kept (the machine lost power after its sync, before the store learnt of it),
    /// otherwise not.
    pub fn fail_commit_after(&self, successes: u64, applied: bool) {
        let mut shared = lock(&self.shared);
        let after = shared.commits.saturating_add(successes);
        shared.fail = Some(Failure { after, applied });
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        lock(&self.shared).commits
    }

    fn running(&self) -> Result<MutexGuard<'_, Shared>, String> {
        let shared = lock(&self.shared);
        if shared.life == self.life { Ok(shared) } else { Err("simulated: the machine crashed".to_owned()) }
    }
}

impl Tree for MemoryTree {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.running()?.content.get(key).cloned())
    }

    fn scan(&self, range: KeyRange, visit: &mut dyn FnMut(&[u8], &[u8]) -> Visited) -> Result<(), String> {
        for (key, value) in self.running()?.content.range(range) {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, writes: WriteBatch) -> Result<(), String> {
        let mut shared = self.running()?;
        let failure = shared.fail.filter(|failure| shared.commits >= failure.after);
        shared.commits += 1;
        if failure.is_none_or(|failure| failure.applied && shared.commits == failure.after + 1) {
            for (key, value) in writes.entries() {
                match value {
                    Some(value) => drop(shared.content.insert(key, value)),
                    None => drop(shared.content.remove(&key)),
                }
            }
        }
        failure.map_or(Ok(()), |_| Err("simulated: a commit failed".to_owned()))
    }
}
