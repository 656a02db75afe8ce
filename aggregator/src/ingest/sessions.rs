//! One current stream a gateway: a newer one ends the older.
//!
//! A gateway that lost its connection without noticing comes back on a new one; the old one may stay half open
//! for minutes. Bounded by the connections that there are.

use std::sync::{Arc, Mutex, PoisonError};

use catchment_proto::GatewayId;
use hashbrown::HashMap;
use tokio::sync::oneshot;

use crate::store::Origin;

/// The current stream of each gateway.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    next: u64,
    by_gateway: HashMap<GatewayId, Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    origin: Origin,
    version: Arc<str>,
    /// How far its watermark is ahead of the aggregator's clock, if that is more than is believed.
    ahead_ms: Option<i64>,
    /// Dropped to end the stream.
    _end: oneshot::Sender<()>,
}

/// A stream's entry; dropping it removes the entry unless a newer stream has taken the place.
#[derive(Debug)]
pub(super) struct Session {
    sessions: Arc<Sessions>,
    origin: Origin,
    number: u64,
}

impl Sessions {
    /// Makes a stream its gateway's current one. The receiver resolves when a newer one takes the place.
    pub(super) fn enter(
        self: &Arc<Self>,
        origin: &Origin,
        version: &str,
    ) -> (Session, oneshot::Receiver<()>) {
        let (end, superseded) = oneshot::channel();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let number = current.next;
        current.next += 1;
        let entry =
            Entry { number, origin: origin.clone(), version: version.into(), ahead_ms: None, _end: end };
        current.by_gateway.insert(origin.gateway.clone(), entry);
        (Session { sessions: Arc::clone(self), origin: origin.clone(), number }, superseded)
    }

    /// The version of a gateway that has a stream now.
    pub(crate) fn version(&self, gateway: &GatewayId) -> Option<Arc<str>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.by_gateway.get(gateway).map(|entry| Arc::clone(&entry.version))
    }

    /// How far the watermark of a gateway that has a stream now is ahead of the aggregator's clock, milliseconds, if that is
    /// more than is believed.
    pub(crate) fn ahead_ms(&self, gateway: &GatewayId) -> Option<i64> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.by_gateway.get(gateway)?.ahead_ms
    }
}

impl Session {
    /// Notes how far the stream's watermark is ahead of the clock; `None`: it is believed.
    pub(super) fn note_ahead(&self, ahead_ms: Option<i64>) {
        let mut current = self.sessions.current.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = current.by_gateway.get_mut(&self.origin.gateway);
        if let Some(entry) = entry.filter(|entry| entry.number == self.number) {
            entry.ahead_ms = ahead_ms;
        }
    }

    /// Ends it. Answers whether no other stream of the same data folder goes on, so that what it knew of open
    /// windows is to be forgotten.
    pub(super) fn leave(self) -> bool {
        let current = self.sessions.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.by_gateway.get(&self.origin.gateway) {
            Some(entry) if entry.number == self.number => true,
            // When it was created may be told in another way; the folder is the same.
            Some(entry) => entry.origin.epoch != self.origin.epoch,
            None => true,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut current = self.sessions.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.by_gateway.get(&self.origin.gateway).is_some_and(|entry| entry.number == self.number) {
            current.by_gateway.remove(&self.origin.gateway);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use catchment_proto::Name;

    fn origin(epoch: u64) -> Origin {
        let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
        Origin { gateway, epoch, epoch_created_ms: 0, shards: 1 }
    }

    #[test]
    fn a_newer_stream_takes_the_place() {
        let sessions = Arc::new(Sessions::default());
        let gateway = origin(1).gateway;
        let (first, mut superseded) = sessions.enter(&origin(1), "1");
        assert!(superseded.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let (second, _second_superseded) = sessions.enter(&origin(1), "2");
        assert!(superseded.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        assert!(!first.leave(), "the same folder goes on delivering");
        assert_eq!(sessions.version(&gateway).as_deref(), Some("2"));
        let (third, _third_superseded) = sessions.enter(&origin(9), "3");
        assert!(second.leave(), "another folder knows nothing of these windows");
        assert!(third.leave());
        assert_eq!(sessions.version(&gateway), None);
    }
}
