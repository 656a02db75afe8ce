//! How far answers are complete: the progress of all gateways, read once for the rounds of many subscriptions.
//!
//! A watermark says that everything before it was delivered; that everything was also sent holds only for a round that
//! includes the changes up to then. So a state of the gateways is used only by rounds from its place in the change log on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use catchment_proto::GatewayId;

use super::{changes::ChangeLog, watched::Watched};
use crate::{
    query::{error::QueryError, merge::Completeness, task::Task},
    store::{GatewayEntry, Store},
};

/// The state is at least this old before it is read again, and as many times as old as that takes.
const AGE_MIN: Duration = Duration::from_millis(40);
const AGE_COSTS: u32 = 20;
/// Entries between two yield points.
const CHECK_EVERY: usize = 64;

/// The progress of all gateways at a time.
pub(super) struct Progress {
    gateways: HashMap<GatewayId, GatewayEntry>,
    /// What it says is complete was changed before this place in the log.
    log_end: u64,
    taken: Instant,
    cost: Duration,
}

#[derive(Default)]
struct State {
    /// The last two, the latest first.
    latest: Option<Arc<Progress>>,
    before: Option<Arc<Progress>>,
    reading: bool,
}

/// The progress of all gateways, renewed as it is used.
#[derive(Default)]
pub(super) struct Watermarks(Mutex<State>);

/// Resets the mark that somebody reads.
struct Reading<'a>(&'a Watermarks);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().reading = false;
    }
}

impl Watermarks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads it again if it is too old and nobody else does.
    ///
    /// # Errors
    /// The work must end.
    pub(super) async fn refresh(
        &self,
        store: &dyn Store,
        log: &ChangeLog,
        task: &Task,
    ) -> Result<(), QueryError> {
        {
            let mut state = self.lock();
            let fresh = |of: &Arc<Progress>| of.taken.elapsed() < AGE_MIN.max(of.cost * AGE_COSTS);
            if state.reading || state.latest.as_ref().is_some_and(fresh) {
                return Ok(());
            }
            state.reading = true;
        }
        let _reading = Reading(self);
        let (begun, mut gateways, mut next) = (Instant::now(), HashMap::new(), Some(0));
        while let Some(from) = next {
            task.yield_point().await?;
            let page = store.gateways_from(from);
            for (number, entry) in page.entries.into_iter().enumerate() {
                if number % CHECK_EVERY == CHECK_EVERY - 1 {
                    task.yield_point().await?;
                }
                gateways.insert(entry.epoch.gateway.clone(), entry);
            }
            next = page.next;
        }
        let read = Progress { gateways, log_end: log.end(), taken: Instant::now(), cost: begun.elapsed() };
        let mut state = self.lock();
        state.before = state.latest.replace(Arc::new(read));
        Ok(())
    }

    /// The latest state that a round which includes the changes before `cursor` may use.
    pub(super) fn at(&self, cursor: u64) -> Option<Arc<Progress>> {
        let state = self.lock();
        let both = [&state.latest, &state.before];
        both.into_iter().flatten().find(|of| of.log_end <= cursor).cloned()
    }
}

impl Progress {
    /// How far the answer to a query is complete for points from `from_ms` on.
    pub(super) fn completeness(&self, watched: &Watched, from_ms: i64, now_ms: i64) -> Completeness {
        let range = watched.range(from_ms, now_ms.max(from_ms.saturating_add(1)));
        let mut completeness = Completeness::new(now_ms);
        let selected = watched.selected();
        let mut entries: Vec<_> =
            selected.gateways.iter().filter_map(|gateway| self.gateways.get(gateway)).collect();
        entries.sort_unstable_by(|a, b| a.epoch.gateway.cmp(&b.epoch.gateway));
        entries.iter().for_each(|entry| completeness.add(entry, &range, now_ms));
        completeness.finish(entries.len(), selected.gateways.len())
    }
}
