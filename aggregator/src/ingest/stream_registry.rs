//! One current stream per data folder of a gateway: a newer stream ends the older.
//!
//! A gateway that lost its connection without noticing comes back on a new one; the old one may stay half open for
//! minutes. Two epochs of one gateway may deliver at the same time if somebody runs two copies of its folder and one
//! has begun a new epoch; ending each other's streams would stop both. Bounded by the number of connections, and by
//! [`EPOCHS_MAX`] per gateway.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use catchment_proto::{GatewayId, wire};
use hashbrown::HashMap;
use tokio::sync::{oneshot, watch};

use super::{
    raw_routes::{Asking, RawRoutes},
    revocations::{GatewayLists, ListsState, Offer},
    waiting::WaitingBatches,
};
use crate::{certificates::Certificates, store::GatewayEpoch};

/// Most epochs of one gateway that deliver at once; beyond, the stream that began first ends.
const EPOCHS_MAX: usize = 4;
/// Most characters of a gateway's reason that are logged.
const REFUSED_CHARS_MAX: usize = 256;
/// Most gateways remembered, more than can be connected. Beyond, one without a stream is forgotten; only the note
/// that two copies of its folder were seen is lost.
const GATEWAYS_MAX: usize = 65_536;

/// The current streams of each gateway.
#[derive(Debug, Default)]
pub(crate) struct StreamRegistry {
    current: Mutex<Current>,
    /// Gateways whose batches wait for room.
    pub(crate) waiting: WaitingBatches,
    /// Queries for raw readings.
    pub(crate) raw_routes: Arc<RawRoutes>,
    /// The revocation lists for the gateways.
    pub(crate) revocations: watch::Sender<Offer>,
    /// When the certificates of gateways, and of the devices that they tell of, end.
    pub(crate) certificates: Arc<Certificates>,
}

#[derive(Debug, Default)]
struct Current {
    next: u64,
    by_gateway: HashMap<GatewayId, Gateway>,
}

/// A gateway that has begun a stream since the process started; at most [`GATEWAYS_MAX`].
#[derive(Debug, Default)]
struct Gateway {
    /// By epoch.
    streams: BTreeMap<u64, StreamEntry>,
    /// The epoch and run that delivered last, and the previous run of that epoch.
    last: (u64, u64, u64),
    /// Two copies of its folder were seen delivering in turns.
    contended: bool,
}

#[derive(Debug)]
struct StreamEntry {
    number: u64,
    version: Arc<str>,
    /// Where questions for raw readings go; `None`: the gateway does not know them.
    raw: Option<Asking>,
    /// Its revocation lists; `None`: it does not take any.
    lists: Option<GatewayLists>,
    /// How far its watermark is ahead of the aggregator's clock, milliseconds, if beyond the tolerance.
    ahead_ms: Option<i64>,
    /// Dropped to end the stream.
    _end: oneshot::Sender<()>,
}

/// A stream's entry; dropping it removes the entry unless a newer stream has replaced it.
#[derive(Debug)]
pub(super) struct RegisteredStream {
    registry: Arc<StreamRegistry>,
    epoch: GatewayEpoch,
    number: u64,
}

impl StreamRegistry {
    /// Without streams; with the ends of certificates that are known from before.
    pub(crate) fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates, ..Self::default() }
    }

    /// Makes a stream the current one of its data folder. The receiver resolves when a newer stream replaces it.
    pub(super) fn register(
        self: &Arc<Self>,
        epoch: &GatewayEpoch,
        version: &str,
        (raw, knows_lists): (Option<Asking>, bool),
    ) -> (RegisteredStream, oneshot::Receiver<()>) {
        let (end, superseded) = oneshot::channel();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let number = current.next;
        current.next += 1;
        if current.by_gateway.len() >= GATEWAYS_MAX && !current.by_gateway.contains_key(&epoch.gateway) {
            let idle = current.by_gateway.iter().find(|(_, known)| known.streams.is_empty());
            let idle = idle.map(|(gateway, _)| gateway.clone());
            idle.and_then(|gateway| current.by_gateway.remove(&gateway));
        }
        let gateway = current.by_gateway.entry(epoch.gateway.clone()).or_default();
        let entry = StreamEntry {
            number,
            version: version.into(),
            raw,
            lists: knows_lists.then(GatewayLists::default),
            ahead_ms: None,
            _end: end,
        };
        gateway.streams.insert(epoch.id, entry);
        if gateway.streams.len() > EPOCHS_MAX {
            let oldest = gateway.streams.iter().min_by_key(|(_, entry)| entry.number);
            let oldest = oldest.map(|(epoch, _)| *epoch);
            oldest.and_then(|epoch| gateway.streams.remove(&epoch));
        }
        (RegisteredStream { registry: Arc::clone(self), epoch: epoch.clone(), number }, superseded)
    }

    /// Version of the gateway's newest stream, if it has one.
    pub(crate) fn version(&self, gateway: &GatewayId) -> Option<Arc<str>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = current.by_gateway.get(gateway)?.streams.values().max_by_key(|entry| entry.number)?;
        Some(Arc::clone(&newest.version))
    }

    /// Where questions for raw readings to a gateway go: its newest stream. `None`: it has none; `Some(None)`: it does
    /// not know raw readings.
    pub(crate) fn raw(&self, gateway: &GatewayId) -> Option<Option<Asking>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = current.by_gateway.get(gateway)?.streams.values().max_by_key(|entry| entry.number)?;
        Some(newest.raw.clone())
    }

    /// Which revocation lists a gateway has, by its newest stream; `None`: it has no stream.
    pub(crate) fn lists(&self, gateway: &GatewayId) -> Option<ListsState> {
        let newest = self.revocations.borrow().clone();
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = current.by_gateway.get(gateway)?.streams.values().max_by_key(|entry| entry.number)?;
        Some(GatewayLists::state(entry.lists.as_ref(), &newest))
    }

    /// Connected gateways that do not hold the newest revocation lists.
    pub(crate) fn behind_revocations(&self) -> usize {
        let newest = self.revocations.borrow().clone();
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let newest_streams = current
            .by_gateway
            .values()
            .filter_map(|gateway| gateway.streams.values().max_by_key(|entry| entry.number));
        newest_streams.filter(|entry| GatewayLists::state(entry.lists.as_ref(), &newest).behind).count()
    }

    /// Whether two copies of a gateway's folder were seen delivering since the process started.
    pub(crate) fn is_contended(&self, gateway: &GatewayId) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.by_gateway.get(gateway).is_some_and(|gateway| gateway.contended)
    }

    /// How far the watermark of a connected gateway is ahead of the aggregator's clock, milliseconds, if beyond the
    /// tolerance.
    pub(crate) fn ahead_ms(&self, gateway: &GatewayId) -> Option<i64> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.by_gateway.get(gateway)?.streams.values().filter_map(|entry| entry.ahead_ms).max()
    }
}

impl RegisteredStream {
    /// Changes the stream's entry, unless a newer stream has replaced it.
    fn change(&self, change: impl FnOnce(&mut StreamEntry)) {
        let mut current = self.registry.current.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = current.by_gateway.get_mut(&self.epoch.gateway);
        let entry = gateway.and_then(|gateway| gateway.streams.get_mut(&self.epoch.id));
        entry.filter(|entry| entry.number == self.number).map(change);
    }

    /// Records how far the stream's watermark is ahead of the clock; `None`: it is believed.
    pub(super) fn note_ahead(&self, ahead_ms: Option<i64>) {
        self.change(|entry| entry.ahead_ms = ahead_ms);
    }

    /// Records that revocation lists were sent as a whole; `number`: the highest of a root's list.
    pub(super) fn note_lists_sent(&self, number: u64) {
        self.change(|entry| {
            if let Some(lists) = &mut entry.lists {
                lists.sent = Some(number);
            }
        });
    }

    /// Records which revocation lists the gateway holds.
    pub(super) fn note_lists_held(&self, held: &wire::RevocationsHeld) {
        self.change(|entry| {
            if let Some(lists) = &mut entry.lists {
                lists.held = Some((held.number, held.transfer));
            }
        });
        let (gateway, number) = (&self.epoch.gateway, held.number);
        if held.refused.is_empty() {
            tracing::debug!(%gateway, number, "a gateway holds the revocation lists");
        } else {
            let why: String =
                held.refused.chars().filter(|c| !c.is_control()).take(REFUSED_CHARS_MAX).collect();
            tracing::warn!(%gateway, number, why, "a gateway refuses a revocation list");
        }
    }

    /// Records that a message arrived on the stream. Returns true once for a gateway whose folder exists twice: a run
    /// or an epoch delivers after another one that began later.
    pub(super) fn note_delivery(&self) -> bool {
        let mut current = self.registry.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gateway) = current.by_gateway.get_mut(&self.epoch.gateway) else { return false };
        let GatewayEpoch { id: epoch, run, .. } = self.epoch;
        let (last_epoch, last_run, before) = gateway.last;
        if (epoch, run) == (last_epoch, last_run) {
            return false;
        }
        // A run that returns after another one, or an epoch whose gateway has begun a later one since.
        let returned = match epoch == last_epoch {
            true => run != 0 && run == before,
            false => {
                let later = |entry: &StreamEntry| entry.number > self.number;
                gateway.streams.get(&last_epoch).is_some_and(later)
            }
        };
        gateway.last = (epoch, run, if epoch == last_epoch { last_run } else { 0 });
        returned && !std::mem::replace(&mut gateway.contended, true)
    }

    /// Ends the stream. Returns whether no other stream of the same data folder continues, so that its live state of
    /// open windows must be dropped.
    pub(super) fn leave(self) -> bool {
        let current = self.registry.current.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = current.by_gateway.get(&self.epoch.gateway);
        let entry = gateway.and_then(|gateway| gateway.streams.get(&self.epoch.id));
        entry.is_none_or(|entry| entry.number == self.number)
    }
}

impl Drop for RegisteredStream {
    fn drop(&mut self) {
        let mut current = self.registry.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gateway) = current.by_gateway.get_mut(&self.epoch.gateway) else { return };
        if gateway.streams.get(&self.epoch.id).is_some_and(|entry| entry.number == self.number) {
            gateway.streams.remove(&self.epoch.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use catchment_proto::Name;

    fn epoch(id: u64, run: u64) -> GatewayEpoch {
        let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
        GatewayEpoch { gateway, id, created_ms: 0, shards: 1, run, previous_runs: Default::default() }
    }

    #[test]
    fn a_newer_stream_replaces_the_older() {
        let registry = Arc::new(StreamRegistry::default());
        let gateway = epoch(1, 0).gateway;
        let (first, mut superseded) = registry.register(&epoch(1, 0), "1", (None, false));
        assert!(superseded.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let (second, _second_superseded) = registry.register(&epoch(1, 0), "2", (None, false));
        assert!(superseded.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        assert!(!first.leave(), "the same folder still delivers");
        assert_eq!(registry.version(&gateway).as_deref(), Some("2"));
        let (third, _third_superseded) = registry.register(&epoch(9, 0), "3", (None, false));
        assert!(second.leave(), "another folder knows nothing of these windows");
        assert!(third.leave());
        assert_eq!(registry.version(&gateway), None);
    }

    #[test]
    fn epochs_deliver_concurrently_up_to_a_bound() {
        let registry = Arc::new(StreamRegistry::default());
        let mut streams: Vec<_> =
            (0..6).map(|id| registry.register(&epoch(id, 0), "1", (None, false))).collect();
        let ended = streams
            .iter_mut()
            .map(|(_, end)| end.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        assert_eq!(ended.collect::<Vec<_>>(), [true, true, false, false, false, false]);
    }

    #[test]
    fn a_gateway_running_twice_is_reported_once() {
        let registry = Arc::new(StreamRegistry::default());
        let gateway = epoch(1, 0).gateway;
        let register = |id, run| registry.register(&epoch(id, run), "1", (None, false));
        let (a, _a) = register(1, 5);
        assert!(!a.note_delivery() && !a.note_delivery());
        let (b, _b) = register(1, 6);
        assert!(!b.note_delivery(), "a gateway that started again");
        let (back, _back) = register(1, 5);
        assert!(back.note_delivery() && !back.note_delivery());
        assert!(registry.is_contended(&gateway));
        let (_new, _end) = register(2, 6);
        assert!(!back.note_delivery(), "already reported");
    }

    #[test]
    fn an_epoch_that_continues_beside_a_later_one_is_reported() {
        let registry = Arc::new(StreamRegistry::default());
        let gateway = epoch(1, 0).gateway;
        let (old, _old) = registry.register(&epoch(1, 5), "1", (None, false));
        assert!(!old.note_delivery());
        let (new, _new) = registry.register(&epoch(2, 5), "1", (None, false));
        assert!(!new.note_delivery(), "a gateway that began a new epoch; its old stream may be half open");
        assert!(!registry.is_contended(&gateway));
        assert!(old.note_delivery());
        assert!(registry.is_contended(&gateway));
    }
}
