//! Where a query's readings leave: at most as fast as the gateway's rate and the aggregator's credit allow.

use std::{sync::Arc, time::Duration};

use catchment_proto::wire::{self, deliver_request::Kind};
use prost::Message as _;
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::{Instant, sleep_until},
};

/// When the next bytes may leave, over all queries of a stream.
pub(super) type Pace = Arc<Mutex<Instant>>;

/// The stream has ended.
#[derive(Debug)]
pub(super) struct Ended;

/// The way out of one query.
pub(super) struct Outlet {
    pub(super) id: u64,
    pub(super) sending: mpsc::Sender<wire::DeliverRequest>,
    /// Bytes that may be sent in all; `u64::MAX`: no bound.
    pub(super) credit: watch::Receiver<u64>,
    pub(super) sent: u64,
    pub(super) pace: Pace,
    /// Bytes a second.
    pub(super) rate: u64,
}

impl Outlet {
    /// Sends readings, once there is credit, and it is time. The last message may go beyond the credit.
    pub(super) async fn send(&mut self, series: Vec<wire::RawReadingsSeries>) -> Result<(), Ended> {
        let sent = self.sent;
        self.credit.wait_for(|credit| *credit > sent).await.map_err(|_| Ended)?;
        let message = wire::RawReadings { id: self.id, series, ..Default::default() };
        let bytes = message.encoded_len() as u64;
        self.sent = self.sent.saturating_add(bytes);
        {
            let mut next = self.pace.lock().await;
            sleep_until(*next).await;
            *next = Instant::now() + Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
        }
        self.put(message).await
    }

    /// Ends the response.
    pub(super) async fn end(
        &self,
        status: wire::RawStatus,
        held_from_ms: Option<i64>,
        message: String,
    ) -> Result<(), Ended> {
        let status = u32::try_from(i32::from(status)).unwrap_or(0);
        let id = self.id;
        self.put(wire::RawReadings { id, end: true, status, held_from_ms, message, ..Default::default() })
            .await
    }

    async fn put(&self, message: wire::RawReadings) -> Result<(), Ended> {
        let request = wire::DeliverRequest { kind: Some(Kind::Raw(message)) };
        self.sending.send(request).await.map_err(|_| Ended)
    }
}
