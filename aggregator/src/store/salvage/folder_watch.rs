//! Watches the data folder while the store is open.
//!
//! A removed or replaced folder still accepts writes and syncs through its open files. Each commit of the journal and
//! of the blocks checks the file that it writes; this watch finds the rest, even without commits: the folder itself,
//! its lock and identity, and every segment. If anything is gone, the store fails and acknowledges nothing more.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use catchment_journal::{Disk, Watchdog};
use catchment_settings::supervise::catch_thread;

use crate::store::embedded::inner::Inner;

/// Interval of the checks: the longest time in which batches may be acknowledged into a folder that was moved.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Checks the folder periodically, on a thread of its own.
///
/// # Errors
/// The thread cannot be started.
pub(in crate::store) fn watch<D: Disk>(inner: &Arc<Inner<D>>) -> io::Result<Watchdog> {
    let inner = Arc::clone(inner);
    Watchdog::start("store-folder", CHECK_EVERY, move || match catch_thread(|| check(&inner)) {
        Ok(Ok(())) => ControlFlow::Continue(()),
        Ok(Err(_)) => ControlFlow::Break(()),
        Err(panic) => {
            inner.fail(format!("the thread that watches the folder panicked: {panic}").into());
            ControlFlow::Break(())
        }
    })
}

/// Checks the folder now. Blocks on the disk.
///
/// # Errors
/// What is gone; the store has then failed.
pub(in crate::store) fn check<D: Disk>(inner: &Inner<D>) -> Result<(), Arc<str>> {
    if let Some(gone) = inner.folder_gone.get() {
        return Err(Arc::clone(gone));
    }
    let folder = inner.data_dir.as_ref().map_or(Ok(()), |folder| folder.check_in_place());
    let checked =
        folder.and_then(|()| inner.log.check_in_place()).and_then(|()| inner.catalog_store.check_file());
    match checked {
        Ok(()) => inner.folder_check_failed.store(false, Ordering::Relaxed),
        Err(error) if error.is_gone() => {
            let why: Arc<str> = error.to_string().into();
            let _ = inner.folder_gone.set(Arc::clone(&why));
            inner.log.poison(&why);
            inner.fail(Arc::clone(&why));
            return Err(why);
        }
        Err(error) => {
            if !inner.folder_check_failed.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "the data folder cannot be checked");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
