//! How many series this gateway's data folder may hold, as the aggregator reported last, and how many devices, as
//! configured. Shared by the workers.
//!
//! A new series beyond the budget is refused before its reading is acknowledged; a known series never is. Until the
//! folder's first contact with an aggregator no budget is known, and only the bounds of single devices hold. The newest
//! budget is kept in the folder, so that a start without an aggregator respects it. After a crash a few places may be
//! counted twice, which only makes batches wait.

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

/// The budget's file in the data folder.
const FILE: &str = "series-budget";
/// The budget may change with every acknowledgement; it is written at most this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// No budget is known.
const UNKNOWN: u64 = u64::MAX;

/// The budgets of series and devices, and how much of them is used.
#[derive(Debug)]
pub struct Budget {
    series_max: AtomicU64,
    series: AtomicU64,
    devices_max: AtomicU64,
    devices: AtomicU64,
    changed: Notify,
}

impl Default for Budget {
    /// No budget is known, and nothing is used.
    fn default() -> Self {
        let [series_max, devices_max] = [UNKNOWN; 2].map(AtomicU64::new);
        let [series, devices] = [0; 2].map(AtomicU64::new);
        Self { series_max, series, devices_max, devices, changed: Notify::new() }
    }
}

impl Budget {
    /// The newest budget of series; `None` if none is known.
    pub fn series_max(&self) -> Option<u64> {
        Some(self.series_max.load(Ordering::Relaxed)).filter(|max| *max != UNKNOWN)
    }

    /// Takes a budget that the aggregator reported.
    pub fn set(&self, series_max: u64) {
        if self.series_max.swap(series_max, Ordering::Relaxed) != series_max {
            self.changed.notify_one();
        }
    }

    /// Places taken by series: those known, and those forgotten here that the aggregator may still have.
    pub fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }

    /// Adds series and devices that a shard already holds: they keep their places, whatever the bounds.
    pub fn set_used(&self, series: u64, devices: u64) {
        self.series.fetch_add(series, Ordering::Relaxed);
        self.devices.fetch_add(devices, Ordering::Relaxed);
    }

    /// Takes a place for a new series.
    ///
    /// # Errors
    /// The exhausted budget.
    pub fn reserve_series(&self) -> Result<(), u64> {
        reserve(&self.series, &self.series_max)
    }

    /// Gives a place back because the series was not created.
    pub fn release_series(&self) {
        self.series.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets the maximum number of known devices.
    pub fn bound_devices(&self, devices_max: u64) {
        self.devices_max.store(devices_max, Ordering::Relaxed);
    }

    /// The bound of devices, if all places are taken.
    pub fn devices_full(&self) -> Option<u64> {
        let max = self.devices_max.load(Ordering::Relaxed);
        Some(max).filter(|max| self.devices.load(Ordering::Relaxed) >= *max)
    }

    /// Takes a place for a new device.
    ///
    /// # Errors
    /// The bound, which is reached.
    pub fn reserve_device(&self) -> Result<(), u64> {
        reserve(&self.devices, &self.devices_max)
    }

    /// Gives a place back because the device was not created.
    pub fn release_device(&self) {
        self.release_devices(1);
    }

    /// Gives back the places of forgotten devices.
    pub fn release_devices(&self, devices: u64) {
        self.devices.fetch_sub(devices, Ordering::Relaxed);
    }
}

/// Takes one more, up to a bound; returns the bound if it is reached.
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
    /// Reads the file of a data folder. A damaged file counts as missing: the aggregator reports the budget again.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let budget = Arc::new(Budget::default());
        match read_atomic(&RealDisk, &path).map(|bytes| bytes.map(<[u8; 8]>::try_from)) {
            Ok(Some(Ok(bytes))) => budget.set(u64::from_be_bytes(bytes)),
            Ok(None) => {}
            Ok(Some(Err(_))) => {
                tracing::warn!(file = %path.display(), "the series budget is damaged; the aggregator will report it again")
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the series budget; the aggregator will report it again")
            }
        }
        Self { path, budget }
    }

    /// The budget that is read from the file and kept in it.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Writes each new budget to the file, forever; may be dropped at any await.
    pub(crate) async fn save_changes(self) {
        loop {
            self.budget.changed.notified().await;
            let Some(series_max) = self.budget.series_max() else { continue };
            let path = self.path.clone();
            let writing = move || write_atomic(&RealDisk, &path, &series_max.to_be_bytes());
            // On a full disk the older budget stays, which is as good until the next contact.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(writing).await {
                tracing::warn!(
                    condition = "budget_not_kept", %error, file = %self.path.display(),
                    "cannot write the series budget"
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
    fn no_place_beyond_the_budget_and_released_places_return() {
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
        assert_eq!(budget.reserve_series(), Err(2), "a budget may be less than what is used");
        budget.set(6);
        assert_eq!((budget.reserve_series(), budget.reserve_series()), (Ok(()), Err(6)));
    }

    #[test]
    fn concurrent_workers_do_not_exceed_the_budget() {
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
    async fn the_folder_keeps_the_newest_budget() {
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
