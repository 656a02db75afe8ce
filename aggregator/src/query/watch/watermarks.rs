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

use super::{changes::ChangeLog, hub::Hub, watched::Watched};
use crate::{
    clock_bound::ClockBound,
    query::{
        completeness::{Completeness, Holders},
        error::QueryError,
        task::Task,
    },
    store::{Cursor, GatewayEntry, QueryStore},
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
        store: &dyn QueryStore,
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
        let (begun, mut gateways, mut next) = (Instant::now(), HashMap::new(), Some(Cursor::START));
        while let Some(from) = next {
            task.yield_point().await?;
            let page = store.gateways_page(from);
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

    /// The latest state.
    pub(super) fn latest(&self) -> Option<Arc<Progress>> {
        self.lock().latest.clone()
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
    pub(super) fn completeness(
        &self,
        hub: &Hub,
        watched: &Watched,
        from_ms: i64,
        now_ms: i64,
    ) -> Completeness {
        let clock = ClockBound::new(now_ms, hub.clock_tolerance);
        let (mut holders, entries) = self.holders(watched, from_ms, now_ms);
        let mut completeness = Completeness::new(now_ms);
        for entry in &entries {
            let connected = hub.streams.version(&entry.epoch.gateway).is_some();
            completeness.add(&mut holders, entry, clock, connected);
        }
        let any = !entries.is_empty() || !holders.is_empty();
        completeness.finish(&holders, any)
    }

    /// The same as a time, Unix milliseconds: [`Completeness::until_ms`].
    pub(super) fn complete_until_ms(
        &self,
        hub: &Hub,
        watched: &Watched,
        from_ms: i64,
        now_ms: i64,
    ) -> Option<i64> {
        let clock = ClockBound::new(now_ms, hub.clock_tolerance);
        let (mut holders, entries) = self.holders(watched, from_ms, now_ms);
        let mut completeness = Completeness::new(now_ms);
        for entry in &entries {
            completeness.add_bounds(&mut holders, entry, clock);
        }
        let any = !entries.is_empty() || !holders.is_empty();
        completeness.finish(&holders, any).until_ms
    }

    /// The gateways that hold selected series, and the known ones among them in the order of their names.
    fn holders(&self, watched: &Watched, from_ms: i64, now_ms: i64) -> (Holders, Vec<&GatewayEntry>) {
        let range = watched.range(from_ms, now_ms.max(from_ms.saturating_add(1)));
        let mut holders = Holders::new(range, now_ms);
        let mut entries = Vec::new();
        for (gateway, windows) in watched.selected().gateways.iter() {
            windows.into_iter().for_each(|windows| holders.push_windows(gateway, windows));
            entries.extend(self.gateways.get(gateway));
        }
        entries.sort_unstable_by(|a, b| a.epoch.gateway.cmp(&b.epoch.gateway));
        (holders, entries)
    }
}
