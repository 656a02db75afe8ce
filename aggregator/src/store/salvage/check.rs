//! Reads all blocks once after a start, in the background: sled can silently lose some in its own recovery.
//!
//! Works at most half of the time, and blocks the flusher for one group of series at a time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use catchment_journal::Disk;

use crate::store::{
    embedded::{
        inner::Inner,
        locks::{lock, read, write},
    },
    salvage::verify::difference,
};

/// Length of work between two pauses.
const WORK_SLICE: Duration = Duration::from_millis(5);
/// Most findings logged individually.
const REPORTED_MAX: u64 = 1000;

/// The check's thread; runs until everything is read or it must stop (and is unparked).
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>, stop: &AtomicBool) {
    let mut at = 0;
    let mut begun = Instant::now();
    while !stop.load(Ordering::Acquire) && inner.failure().is_none() {
        let Some(group) = next(inner, at) else {
            tracing::debug!(
                damaged_series = inner.damaged_series.load(Ordering::Relaxed),
                "all blocks have been read"
            );
            return;
        };
        check(inner, group);
        let Some(following) = group.checked_add(1) else { return };
        at = following;
        let worked = begun.elapsed();
        if worked >= WORK_SLICE {
            std::thread::park_timeout(worked);
            begun = Instant::now();
        }
    }
}

fn next<D: Disk>(inner: &Inner<D>, at: u32) -> Option<u32> {
    read(&inner.state).catalog.series.next_group(at)
}

fn check<D: Disk>(inner: &Inner<D>, group: u32) {
    let _alone = lock(&inner.flush_lock);
    let known = {
        let catalog = &read(&inner.state).catalog;
        catalog.series.group(group).map(|known| (known.manifest, known.len(), catalog.group_name(group)))
    };
    let Some((must, series, name)) = known else { return };
    let what = match inner.blocks.manifest(group) {
        Err(reason) => Some(reason),
        Ok((found, bad)) => bad
            .first()
            .map(|first| format!("{} blocks cannot be read: {first}", bad.len()))
            .or_else(|| difference(must, found, false)),
    };
    let Some(what) = what else { return };
    write(&inner.state).catalog.mark_group_damaged(group);
    if inner.damaged_series.fetch_add(series as u64, Ordering::Relaxed) < REPORTED_MAX {
        tracing::error!(
            series = name,
            what,
            "flushed windows are damaged; `catchment-aggregator store repair` keeps what can be read"
        );
    }
}
