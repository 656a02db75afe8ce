//! Reads all tables once after a start, in the background, to tell of damage before a query meets it.
//!
//! Works at most half of the time, and holds nobody up: tables never change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use catchment_journal::Disk;

use crate::store::{
    embedded::{inner::Inner, locks::read},
    tables::{error::TableError, version::StoredTable},
};

/// Length of work between two pauses.
const WORK_SLICE: Duration = Duration::from_millis(5);
/// Groups of series that are counted while the state is locked.
const GROUPS_AT_ONCE: u32 = 256;

/// The check's thread; runs until everything is read or it must stop (and is unparked).
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>, stop: &AtomicBool) {
    let stops = || stop.load(Ordering::Acquire) || inner.failure().is_some();
    let mut begun = Instant::now();
    let mut pause = || {
        let worked = begun.elapsed();
        if worked >= WORK_SLICE {
            std::thread::park_timeout(worked);
            begun = Instant::now();
        }
    };
    let known: Vec<u64> = inner.tables.version().all().map(|table| table.entry.id).collect();
    for id in known {
        // Looked up again: a table that was merged meanwhile was read by that.
        let found = inner.tables.version().all().find(|table| table.entry.id == id).cloned();
        let Some(stored) = found else { continue };
        if let Err(error) = stored.table.check() {
            let summary = stored.entry.summary;
            report(inner, (summary.least_series, summary.greatest_series), &error);
            continue;
        }
        for number in 0..stored.table.block_count() {
            if stops() {
                return;
            }
            check_block(inner, &stored, number);
            pause();
        }
    }
    tracing::debug!(
        damaged_series = inner.damaged_series.load(Ordering::Relaxed),
        "all tables have been read"
    );
}

fn check_block<D: Disk>(inner: &Inner<D>, stored: &StoredTable<D>, number: u32) {
    let Err(error) = stored.table.block(number, None) else { return };
    let series = stored.table.block_range(number).map(|range| (range.first.0, range.last.0));
    let summary = stored.entry.summary;
    report(inner, series.unwrap_or((summary.least_series, summary.greatest_series)), &error);
}

/// Reports rows of these series that cannot be read. Answers tell the span of such rows by themselves.
fn report<D: Disk>(inner: &Inner<D>, (first, last): (u32, u32), error: &TableError) {
    if error.is_refusal() {
        if inner.tables.cache.damaged.first(error, "checked").is_some() {
            tracing::warn!(%error, "the check leaves out a table that cannot be opened now");
        }
        return;
    }
    let series = count_series(inner, first, last);
    inner.damaged_series.fetch_add(series, Ordering::Relaxed);
    if inner.tables.cache.damaged.first(error, "checked").is_some() {
        tracing::error!(
            series,
            %error,
            "stored rows are damaged; `catchment-aggregator store repair` keeps what can be read"
        );
    }
}

/// Number of the series of a range that are known. The state is released now and then: a range may be all of them.
fn count_series<D: Disk>(inner: &Inner<D>, first: u32, last: u32) -> u64 {
    let (mut series, mut next) = (0, Some(first));
    while let Some(from) = next {
        let (counted, rest) = read(&inner.state).catalog.series.count_in(from, last, GROUPS_AT_ONCE);
        (series, next) = (series + counted, rest);
    }
    series
}
