//! How many series this gateway's data folder may hold, as its aggregator reported last, and how many devices, as its
//! configuration says; shared by the workers.
//!
//! A new series beyond the budget is refused before its reading is acknowledged; a known one never is. Before the first contact
//! in the folder's life no budget is known, and the devices' own bounds alone hold. The newest budget is kept in the folder, so
//! that a start without an aggregator keeps to it; a few places may be counted twice after a crash, which only makes batches wait.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use catchment_journal::{RealDisk, read_atomic, write_atomic};
use tokio::sync::Notify;

/// The file in the data folder.
const FILE: &str = "series-budget";
/// A budget may change with every acknowledgement; it is written at most this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// No budget is known.
const UNKNOWN: u64 = u64::MAX;

/// The budget and what is used of it.
#[derive(Debug)]
pub struct Budget {
    series_max: AtomicU64,
    series: AtomicU64,
    devices_max: AtomicU64,
    devices: AtomicU64,
    changed: Notify,
}

impl Default for Budget {
    /// No budget is known, and nothing used.
    fn default() -> Self {
        let [series_max, devices_max] = [UNKNOWN; 2].map(AtomicU64::new);
        let [series, devices] = [0; 2].map(AtomicU64::new);
        Self { series_max, series, devices_max, devices, changed: Notify::new() }
    }
}

impl Budget {
    /// The newest budget; `None`: none is known.
    pub fn series_max(&self) -> Option<u64> {
        Some(self.series_max.load(Ordering::Relaxed)).filter(|max| *max != UNKNOWN)
    }

    /// The aggregator tells another budget.
    pub fn set(&self, series_max: u64) {
        if self.series_max.swap(series_max, Ordering::Relaxed) != series_max {
            self.changed.notify_one();
        }
    }

    /// Places of series that are taken: of those that are known, and of those that were forgotten here.
    pub fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }

    /// Series and devices that a shard holds already: they have their places, whatever the bounds.
    pub fn set_used(&self, series: u64, devices: u64) {
        self.series.fetch_add(series, Ordering::Relaxed);
        self.devices.fetch_add(devices, Ordering::Relaxed);
    }

    /// Takes a place for a new series.
    ///
    /// # Errors
    /// The budget that is used up.
    pub fn reserve_series(&self) -> Result<(), u64> {
        reserve(&self.series, &self.series_max)
    }

    /// Gives a place back: the series was not made.
    pub fn release_series(&self) {
        self.series.fetch_sub(1, Ordering::Relaxed);
    }

    /// The most devices that may be known.
    pub fn bound_devices(&self, devices_max: u64) {
        self.devices_max.store(devices_max, Ordering::Relaxed);
    }

    /// The bound of devices, while all places are taken.
    pub fn devices_full(&self) -> Option<u64> {
        let max = self.devices_max.load(Ordering::Relaxed);
        Some(max).filter(|max| self.devices.load(Ordering::Relaxed) >= *max)
    }

    /// Takes a place for a new device.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn reserve_device(&self) -> Result<(), u64> {
        reserve(&self.devices, &self.devices_max)
    }

    /// Gives a place back: the device was not made.
    pub fn release_device(&self) {
        self.release_devices(1);
    }

    /// So many devices were forgotten.
    pub fn release_devices(&self, devices: u64) {
        self.devices.fetch_sub(devices, Ordering::Relaxed);
    }
}

/// Takes one more, up to a bound, or answers the bound.
fn reserve(count: &AtomicU64, max: &AtomicU64) -> Result<(), u64> {
    let max = max.load(Ordering::Relaxed);
    let more = |count| (count < max).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(drop).map_err(|_| max)
}

/// The budget on disk.
pub(crate) struct BudgetFile {
    path: PathBuf,
    budget: Arc<Budget>,
}

impl BudgetFile {
    /// Reads what a folder keeps. A damaged file is as none: the aggregator tells it again.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let budget = Arc::new(Budget::default());
        match read_atomic(&RealDisk, &path).map(|bytes| bytes.map(<[u8; 8]>::try_from)) {
            Ok(Some(Ok(bytes))) => budget.set(u64::from_be_bytes(bytes)),
            Ok(None) => {}
            Ok(Some(Err(_))) => {
                tracing::warn!(file = %path.display(), "not a budget of series; the aggregator tells it again")
            }
            Err(error) => {
                tracing::warn!(%error, "the budget of series is lost; the aggregator tells it again")
            }
        }
        Self { path, budget }
    }

    /// What is read and kept.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Keeps the newest budget, until it is dropped; may be dropped at any await.
    pub(crate) async fn save_changes(self) {
        loop {
            self.budget.changed.notified().await;
            let Some(series_max) = self.budget.series_max() else { continue };
            let path = self.path.clone();
            let writing = move || write_atomic(&RealDisk, &path, &series_max.to_be_bytes());
            // A full disk keeps the older one, which is as good until the next contact.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(writing).await {
                tracing::warn!(
                    condition = "budget_not_kept", %error, file = %self.path.display(),
                    "the budget of series cannot be kept"
                );
            }
            tokio::time::sleep(SAVE_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_at_the_budget_and_come_back() {
        let budget = Budget::default();
        assert_eq!(budget.series_max(), None);
        budget.set_used(3, 0);
        assert_eq!(budget.reserve_series(), Ok(()), "no budget is known");
        budget.set(5);
        assert_eq!(budget.reserve_series(), Ok(()));
        assert_eq!(budget.reserve_series(), Err(5));
        budget.release_series();
        assert_eq!(budget.reserve_series(), Ok(()));
        budget.set(2);
        assert_eq!(budget.reserve_series(), Err(2), "it may be told less than there is");
        budget.set(6);
        assert_eq!((budget.reserve_series(), budget.reserve_series()), (Ok(()), Err(6)));
    }

    #[test]
    fn workers_together_do_not_exceed_it() {
        let budget = Budget::default();
        budget.set(1000);
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| budget.reserve_series().is_ok()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[tokio::test]
    async fn the_folder_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let file = BudgetFile::open(folder.path());
        let budget = Arc::clone(file.budget());
        assert_eq!(budget.series_max(), None);
        budget.set(77);
        let keeping = tokio::spawn(file.save_changes());
        let path = folder.path().join(FILE);
        while read_atomic(&RealDisk, &path).ok().flatten().is_none() {
            tokio::task::yield_now().await;
        }
        keeping.abort();
        assert_eq!(BudgetFile::open(folder.path()).budget().series_max(), Some(77));
        std::fs::write(&path, b"damaged").unwrap();
        assert_eq!(BudgetFile::open(folder.path()).budget().series_max(), None);
    }
}
