//! Queries for raw readings on the way: from a query of an operator to a gateway's stream, and the readings back.
//!
//! A gateway may send only as much as it was granted, so what waits for a slow operator is bounded, and no stream waits
//! for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use catchment_proto::{GatewayId, wire};
use prost::Message as _;
use tokio::sync::mpsc;

/// Bytes that a gateway may send ahead of the operator. One message, of at most 4 MiB, may go beyond.
pub(crate) const CREDIT: u64 = 256 << 10;
/// Most bytes of the message that ends a query and may go beyond the credit: it says how the query went.
const END_BYTES_MAX: u64 = 16 << 10;
/// Messages that wait for an operator.
const MESSAGES_MAX: usize = 256;
/// Questions that wait for a stream.
pub(in crate::ingest) const ASKED_MAX: usize = 64;

/// Where questions to a gateway go.
pub(crate) type Asking = mpsc::Sender<wire::RawQuery>;

/// The routes of all queries that wait for readings; as many as queries run at once.
#[derive(Debug, Default)]
pub(crate) struct RawRoutes(Mutex<Routes>);

#[derive(Debug, Default)]
struct Routes {
    last: u64,
    open: HashMap<u64, RouteEntry>,
}

#[derive(Debug)]
struct RouteEntry {
    gateway: GatewayId,
    /// Bytes that the gateway may still send.
    credit: u64,
    readings: mpsc::Sender<wire::RawReadings>,
}

/// A query to one gateway; dropping it cancels the query there.
#[derive(Debug)]
pub(crate) struct RawRoute {
    id: u64,
    routes: Arc<RawRoutes>,
    asking: Asking,
    readings: mpsc::Receiver<wire::RawReadings>,
}

impl RawRoutes {
    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a way to a gateway's stream.
    pub(crate) fn open(self: &Arc<Self>, gateway: &GatewayId, asking: Asking) -> RawRoute {
        let (to, readings) = mpsc::channel(MESSAGES_MAX);
        let mut routes = self.lock();
        routes.last += 1;
        let id = routes.last;
        let gateway = gateway.clone();
        routes.open.insert(id, RouteEntry { gateway, credit: CREDIT, readings: to });
        RawRoute { id, routes: Arc::clone(self), asking, readings }
    }

    /// Readings arrived from a gateway. What is more than was granted ends its query; nothing follows the end of one.
    pub(in crate::ingest) fn deliver(&self, gateway: &GatewayId, message: wire::RawReadings) {
        let mut routes = self.lock();
        let id = message.id;
        let Some(entry) = routes.open.get_mut(&id).filter(|entry| entry.gateway == *gateway) else { return };
        let (bytes, end) = (message.encoded_len() as u64, message.end);
        let within = entry.credit > 0 || end && bytes <= END_BYTES_MAX;
        entry.credit = entry.credit.saturating_sub(bytes);
        if !within || entry.readings.try_send(message).is_err() || end {
            routes.open.remove(&id);
        }
    }
}

impl RawRoute {
    /// Sends the question.
    pub(crate) async fn ask(&self, query: wire::RawQuery) -> bool {
        let query = wire::RawQuery { id: self.id, credit_bytes: CREDIT, cancel: false, ..query };
        self.asking.send(query).await.is_ok()
    }

    /// The next message; `None`: the stream has ended, or the gateway sent more than it was granted.
    pub(crate) async fn next(&mut self) -> Option<wire::RawReadings> {
        tokio::select! {
            message = self.readings.recv() => message,
            () = self.asking.closed() => self.readings.try_recv().ok(),
        }
    }

    /// The operator has taken so many bytes: the gateway may send as many more.
    pub(crate) async fn grant(&self, bytes: u64) {
        if let Some(entry) = self.routes.lock().open.get_mut(&self.id) {
            entry.credit = entry.credit.saturating_add(bytes);
        }
        // Fails when the stream has ended, which `next` notices.
        let _ =
            self.asking.send(wire::RawQuery { id: self.id, credit_bytes: bytes, ..Default::default() }).await;
    }
}

impl Drop for RawRoute {
    fn drop(&mut self) {
        self.routes.lock().open.remove(&self.id);
        // Without room the gateway's task waits for credit until the stream ends; it has a bound of its own.
        let _ = self.asking.try_send(wire::RawQuery { id: self.id, cancel: true, ..Default::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gateway;

    fn readings(id: u64, bytes: usize) -> wire::RawReadings {
        wire::RawReadings { id, message: "x".repeat(bytes), ..Default::default() }
    }

    #[tokio::test]
    async fn a_gateway_sends_what_it_was_granted_and_no_more() {
        let (routes, (asking, mut asked)) = (Arc::new(RawRoutes::default()), mpsc::channel(ASKED_MAX));
        let (berlin, rome) = (gateway("berlin", "g"), gateway("rome", "g"));
        let mut route = routes.open(&berlin, asking);
        assert!(route.ask(wire::RawQuery { from_ms: 7, ..Default::default() }).await);
        let question = asked.recv().await.unwrap();
        assert_eq!((question.from_ms, question.credit_bytes), (7, CREDIT));
        let id = question.id;
        routes.deliver(&rome, readings(id, 1));
        routes.deliver(&berlin, readings(id + 1, 1));
        routes.deliver(&berlin, readings(id, CREDIT as usize));
        assert_eq!(route.next().await.unwrap().message.len(), CREDIT as usize, "the only one for it");
        route.grant(10).await;
        assert_eq!(asked.recv().await.unwrap().credit_bytes, 10);
        routes.deliver(&berlin, readings(id, 100));
        routes.deliver(&berlin, readings(id, 1));
        assert_eq!(route.next().await.unwrap().message.len(), 100);
        assert_eq!(route.next().await, None, "more than was granted");
        drop(route);
        assert!(asked.recv().await.unwrap().cancel);
        assert!(routes.lock().open.is_empty());
    }

    #[tokio::test]
    async fn nothing_follows_the_end_of_a_query() {
        let (routes, (asking, _asked)) = (Arc::new(RawRoutes::default()), mpsc::channel(ASKED_MAX));
        let berlin = gateway("berlin", "g");
        let ends = |id, bytes| wire::RawReadings { end: true, ..readings(id, bytes) };
        let mut route = routes.open(&berlin, asking.clone());
        routes.deliver(&berlin, readings(route.id, CREDIT as usize));
        for _ in 0..MESSAGES_MAX {
            routes.deliver(&berlin, ends(route.id, 1_000));
        }
        assert!(routes.lock().open.is_empty());
        assert!(!route.next().await.unwrap().end, "it used the credit");
        assert!(route.next().await.unwrap().end, "goes beyond the credit");
        assert_eq!(route.next().await, None);

        let mut route = routes.open(&berlin, asking);
        routes.deliver(&berlin, readings(route.id, CREDIT as usize));
        routes.deliver(&berlin, ends(route.id, END_BYTES_MAX as usize));
        assert!(routes.lock().open.is_empty());
        assert!(!route.next().await.unwrap().end);
        assert_eq!(route.next().await, None, "too long to go beyond the credit");
    }

    #[tokio::test]
    async fn the_end_of_a_stream_ends_its_queries() {
        let (routes, (asking, asked)) = (Arc::new(RawRoutes::default()), mpsc::channel(ASKED_MAX));
        let mut route = routes.open(&gateway("berlin", "g"), asking);
        drop(asked);
        assert_eq!(route.next().await, None);
        assert!(!route.ask(wire::RawQuery::default()).await);
    }
}
