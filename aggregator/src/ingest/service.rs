//! The gRPC method: authenticates the gateway and spawns a task for the stream. No rules here.

use std::sync::Arc;

use catchment_proto::wire::{DeliverRequest, DeliverResponse, ingest_server::Ingest};
use catchment_settings::supervise::catch;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    shared::Shared,
    stream::{self, End},
};
use crate::{access, clock, metrics::Metrics};

/// Queued responses for a gateway that reads slowly; further acks are merged, not queued.
const RESPONSES_MAX: usize = 4;

/// The service `catchment.v1.Ingest`.
pub(crate) struct IngestService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Ingest for IngestService {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let (gateway, addr, session) = access::gateway(&request)?;
        let Some(bytes) = self.0.bytes.enter(&gateway) else {
            Metrics::count(&self.0.metrics.ingest_ended, "too_many_streams");
            return Err(Status::resource_exhausted(
                "this gateway has too many delivery streams: end another one first",
            ));
        };
        if let Some(expires_s) = access::certificate_expires_s(&request) {
            self.0.streams.certificates.note_gateway(&gateway, expires_s, clock::now_ms() / 1_000);
        }
        let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            tracing::info!(%gateway, %addr, "delivery stream started");
            let requests = request.into_inner();
            let running = stream::run(&shared, (gateway.clone(), session), &bytes, requests, &responses);
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
