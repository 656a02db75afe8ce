//! The embedded store as retention, operators and the server see it.

use catchment_journal::{Disk, FullReason};
use catchment_partial::Timestamp;
use catchment_proto::GatewayId;
use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    selector::Selector,
    store::{
        EmbeddedStore, MaintenanceStore, Retained, RetentionRule, Shortage, StoreError, StoreFailure,
        StoreHealth,
        embedded::{
            ended,
            locks::{lock, read},
            retire,
        },
        removal::{forget_series, retain},
        salvage::folder_watch,
    },
};

impl<D: Disk> MaintenanceStore for EmbeddedStore<D> {
    fn retain(&self, rules: &[RetentionRule], now: Timestamp) -> Result<Retained, StoreError> {
        self.inner.healthy()?;
        retain::retain(&self.inner, rules, now)
    }

    fn forget_series(&self, selector: &Selector) -> Result<u64, StoreError> {
        self.inner.healthy()?;
        forget_series::forget_series(&self.inner, selector)
    }

    fn retire_gateway(&self, gateway: &GatewayId, retired: bool) -> Result<Option<bool>, StoreError> {
        retire::retire_gateway(&self.inner, gateway, retired)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            let inner = &*self.inner;
            let end = {
                let mut admission = lock(&inner.admission);
                admission.closed = true;
                inner.log.end()
            };
            let mut commits = inner.log.subscribe();
            let settled = commits.wait_for(|c| c.durable >= end || c.poisoned.is_some()).await;
            drop(settled.map_err(|_| ended())?);
            inner.healthy()?;
            let mut progress = inner.progress.subscribe();
            inner.signal.request(|request| request.close = true);
            let closed = progress.wait_for(|p| p.closed || inner.failure().is_some()).await;
            drop(closed);
            inner.healthy()
        }
        .boxed()
    }

    fn failure(&self) -> Option<StoreFailure> {
        let data_gone = self.inner.folder_gone.get().cloned();
        let reason = self.inner.notice_failure().or_else(|| data_gone.clone())?;
        Some(StoreFailure { reason, data_gone })
    }

    fn health(&self) -> StoreHealth {
        let inner = &*self.inner;
        // If anything is gone, the store has failed now.
        let _ = folder_watch::check(inner);
        let journal = inner.log.shortage().map(|why| match why {
            FullReason::LogBound { .. } => Shortage::Backlog(why.to_string()),
            FullReason::DiskFree { .. } | FullReason::Disk(_) => Shortage::Space(why.to_string()),
        });
        let waiting = lock(&inner.admission).pending_bytes;
        let memtable = read(&inner.state).memtable.bytes();
        let memory = memtable.saturating_add(waiting) >= inner.config.memory_bytes_max;
        let shortages = journal.into_iter().chain(memory.then_some(Shortage::Memory)).collect();
        StoreHealth { failure: self.failure(), shortages }
    }
}
