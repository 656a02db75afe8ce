//! The gRPC method: authenticates the gateway and spawns a task for the stream. No rules here.

use std::{sync::Arc, time::Duration};

use catchment_proto::wire::{DeliverRequest, DeliverResponse, ingest_server::Ingest};
use catchment_settings::supervise::catch;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    IngestBytes, StreamRegistry,
    stream::{self, End},
};
use crate::{access, clock, clock_bound::ClockBound, metrics::Metrics, store::Store};

/// Queued responses for a gateway that reads slowly; further acks are merged, not queued.
const RESPONSES_MAX: usize = 4;

/// State shared by all streams.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) streams: Arc<StreamRegistry>,
    pub(crate) metrics: Arc<Metrics>,
    /// How far ahead of the aggregator's clock a gateway is believed.
    pub(crate) clock_tolerance: Duration,
    /// Most batches of a stream in flight to the store.
    pub(crate) in_flight_max: usize,
    /// Memory of everything that waits.
    pub(crate) bytes: Arc<IngestBytes>,
    /// Turns true when streams must end.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// The clock bound at this moment.
    pub(super) fn clock_bound(&self) -> ClockBound {
        ClockBound::new(clock::now_ms(), self.clock_tolerance)
    }
}

/// The service `catchment.v1.Ingest`.
pub(crate) struct IngestService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Ingest for IngestService {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let (gateway, addr) = access::gateway(&request)?;
        let Some(bytes) = self.0.bytes.enter(&gateway) else {
            Metrics::count(&self.0.metrics.ingest_ended, "too_many_streams");
            return Err(Status::resource_exhausted(
                "this gateway has too many delivery streams: end another one first",
            ));
        };
        let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            tracing::info!(%gateway, %addr, "delivery stream started");
            let running = stream::run(&shared, gateway.clone(), &bytes, request.into_inner(), &responses);
            let end = catch(running).await.unwrap_or_else(|panic| {
                tracing::error!(%gateway, %addr, panic, "a delivery stream panicked: the gateway resends whatever was not acknowledged");
                End::new("panicked", Code::Internal, "internal error in this stream, see the aggregator's log")
            });
            // Freed before the end is sent: a gateway that does not read must not hold memory.
            drop(bytes);
            Metrics::count(&shared.metrics.ingest_ended, end.reason);
            match &end.status {
                Some(status) => {
                    tracing::warn!(%gateway, %addr, reason = end.reason, message = status.message(), "delivery stream ended");
                }
                None => tracing::info!(%gateway, %addr, reason = end.reason, "delivery stream ended"),
            }
            if let Some(status) = end.status {
                // Fails when the gateway is already gone.
                let _ = responses.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
