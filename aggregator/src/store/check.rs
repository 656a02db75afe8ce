//! Reads all packs once after a start, in the background: sled can lose some in its own recovery without a word.
//!
//! Works half of the time at most, and holds the packer back for one series at a time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use catchment_journal::Disk;

use super::{
    inner::{Inner, lock, read},
    verify::difference,
};

/// Work between two rests.
const STINT: Duration = Duration::from_millis(5);
/// Most findings that are told one by one.
const TOLD_MAX: u64 = 1000;

/// The checking thread, until all is read or it is told to stop (and unparked).
pub(super) fn run<D: Disk>(inner: &Inner<D>, stop: &AtomicBool) {
    let mut at = 0;
    let mut begun = Instant::now();
    while !stop.load(Ordering::Acquire) && inner.failure().is_none() {
        let Some(series) = next(inner, at) else {
            tracing::debug!(
                damaged_series = inner.damaged_series.load(Ordering::Relaxed),
                "all packs are read"
            );
            return;
        };
        check(inner, series);
        let Some(following) = series.checked_add(1) else { return };
        at = following;
        let worked = begun.elapsed();
        if worked >= STINT {
            std::thread::park_timeout(worked);
            begun = Instant::now();
        }
    }
}

fn next<D: Disk>(inner: &Inner<D>, at: u32) -> Option<u32> {
    read(&inner.state).catalog.series.range(at..).next().map(|(series, _)| *series)
}

fn check<D: Disk>(inner: &Inner<D>, series: u32) {
    let _alone = lock(&inner.packing);
    let known = {
        let catalog = &read(&inner.state).catalog;
        let known = catalog.series.get(&series);
        known.map(|known| (known.tally, known.key.clone(), known.gateway))
    };
    let Some((must, key, gateway)) = known else { return };
    let what = match inner.packs.tally(series) {
        Err(reason) => Some(reason),
        Ok((found, bad)) => bad
            .first()
            .map(|first| format!("{} packs cannot be read: {first}", bad.len()))
            .or_else(|| difference(must, found, false)),
    };
    let Some(what) = what else { return };
    if inner.damaged_series.fetch_add(1, Ordering::Relaxed) < TOLD_MAX {
        let gateway = read(&inner.state).catalog.gateways.get(gateway as usize).map(|g| g.id.to_string());
        tracing::error!(
            series = %key, gateway = gateway.unwrap_or_default(), what,
            "packed windows are damaged; `catchment-aggregator store repair` keeps what can be read"
        );
    }
}
