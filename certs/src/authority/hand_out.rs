//! How many certificates are handed out at once: staged, made durable, recorded in the ledger, and only then published.
//!
//! Several threads stage a slice at a time, and while the next slice is staged, a sync of the file system makes the one
//! before durable; then one write and sync of the ledger records all certificates; then the files appear, again by
//! several threads. Killed at any point, the next run finishes what is staged and in the ledger, and makes the rest again:
//! no row ever has two valid certificates. The caller holds the authority's lock.

use std::{
    path::Path,
    thread::{self, ScopedJoinHandle},
};

use super::{AuthorityError, Entry, Issued, Ledger};
use crate::files::{self, FileError};

/// Rows per group: enough to share syncs, few enough to let others take the lock in between and to move the progress
/// bar.
pub(super) const GROUP: usize = if cfg!(test) { 64 } else { 2048 };

/// Rows staged between two syncs of the file system.
const SLICE: usize = if cfg!(test) { 24 } else { 512 };

/// Most threads that make certificates.
const THREADS_MAX: usize = 16;

/// Threads that publish. They wait for the disk, not for a processor: a rename that replaces a file frees that file's
/// blocks, which some file systems let the caller wait for.
const PUBLISHERS: usize = 16;

/// A certificate whose files are written under temporary names.
pub(super) trait Staged: Send {
    /// The line of the ledger.
    fn entry(&self) -> &Issued;

    /// Lets the files appear. Files and ledger are durable before; the caller syncs afterwards.
    fn publish(self) -> Result<Issued, AuthorityError>;

    /// Removes the staged files.
    fn discard(self);
}

/// Hands out a certificate for each item; see the module. The ledger's lines, in the items' order.
pub(super) fn hand_out<T: Sync, S: Staged>(
    dir: &Path,
    ledger: &mut Ledger,
    items: &[T],
    stage: impl Fn(&T) -> Result<S, AuthorityError> + Sync,
    note: &mut dyn FnMut(String),
) -> Result<Vec<Issued>, AuthorityError> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let (staged, synced) = staged_and_synced(dir, items, stage);
    let staged = all_or_none(staged)?;
    let entries: Vec<Entry> = staged.iter().map(|one| Entry::Issued(one.entry().clone())).collect();
    // After an error, whether disk and ledger have them is not known: the next run finds out.
    synced?;
    ledger.append(&entries, note)?;
    on_threads(staged, PUBLISHERS, &S::publish).into_iter().collect()
}

/// Stages all items, a slice at a time, while the slice before is made durable. The results in the items' order, and
/// whether all is durable.
fn staged_and_synced<T: Sync, R: Send>(
    dir: &Path,
    items: &[T],
    stage: impl Fn(&T) -> R + Sync,
) -> (Vec<R>, Result<(), FileError>) {
    thread::scope(|scope| {
        let mut staged = Vec::with_capacity(items.len());
        let mut synced = Ok(());
        let mut syncing: Option<ScopedJoinHandle<'_, _>> = None;
        for slice in items.chunks(SLICE) {
            staged.extend(in_parallel(slice, &stage));
            let before = syncing.replace(scope.spawn(|| files::sync_file_system(dir)));
            synced = synced.and(before.map_or(Ok(()), joined));
        }
        (staged, synced.and(syncing.map_or(Ok(()), joined)))
    })
}

/// All results, or the first error, after removing what was staged.
fn all_or_none<S: Staged>(staged: Vec<Result<S, AuthorityError>>) -> Result<Vec<S>, AuthorityError> {
    if staged.iter().all(Result::is_ok) {
        return staged.into_iter().collect();
    }
    let mut first = None;
    for one in staged {
        match one {
            Ok(one) => one.discard(),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or_else(|| Ok(Vec::new()), Err)
}

/// Applies `work` to all items on all cores; results in the items' order.
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    on_threads(items.iter().collect(), threads, &work)
}

/// Applies `work` to all items on so many threads, each a share; results in the items' order.
fn on_threads<T: Send, R: Send>(items: Vec<T>, threads: usize, work: &(impl Fn(T) -> R + Sync)) -> Vec<R> {
    let share = items.len().div_ceil(threads).max(1);
    let mut items = items.into_iter();
    let mut shares = Vec::with_capacity(threads);
    loop {
        let next: Vec<T> = items.by_ref().take(share).collect();
        if next.is_empty() {
            break;
        }
        shares.push(next);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(work).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(joined).collect()
    })
}

/// The result of a thread; if it panicked, the panic continues here.
fn joined<R>(thread: ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
