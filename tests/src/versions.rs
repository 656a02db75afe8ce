//! Peers of the version before: between a gateway and an aggregator, hides from one or both what the other announces,
//! and refuses what an aggregator of the version before would refuse.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use catchment_proto::wire::{
    Batch, DeliverRequest, DeliverResponse, deliver_request, deliver_response, ingest_client::IngestClient,
    ingest_server::Ingest,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding::Zstd};

use crate::{query, rogue::IngestPeer};

/// Which of the two are of the version before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Old {
    /// The gateway announces nothing. With it the aggregator's announcement is hidden too, which a gateway of the version
    /// before would ignore.
    pub gateway: bool,
    /// The aggregator announces nothing, and refuses partials of encoding version 2.
    pub aggregator: bool,
}

/// What passes between the two.
#[derive(Debug, Default)]
pub struct Passed {
    /// Number of bodies by the version of their encoding, 1 and 2.
    bodies: [AtomicU64; 2],
    /// What a peer of the version before would have refused.
    refused: Mutex<Vec<String>>,
}

impl Passed {
    /// Number of bodies of an encoding version, 1 or 2.
    pub fn bodies(&self, version: usize) -> u64 {
        self.bodies[version - 1].load(Ordering::SeqCst)
    }

    /// What a peer of the version before would have refused.
    ///
    /// # Panics
    /// Never.
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }

    /// Counts the bodies of a batch; an error says what an aggregator of the version before refuses.
    fn count(&self, batch: &Batch) -> Result<(), String> {
        let mut at = 0;
        let mut newest = 0;
        for length in &batch.body_bytes {
            let version = batch.bodies[at];
            self.bodies[usize::from(version) - 1].fetch_add(1, Ordering::SeqCst);
            (newest, at) = (newest.max(version), at + *length as usize);
        }
        if newest > 1 { Err(format!("batch {}: version {newest}", batch.number)) } else { Ok(()) }
    }
}

/// Stands between gateways and their aggregator; a gateway delivers to it. Until it is dropped.
pub struct Between {
    /// Where it listens.
    pub addr: SocketAddr,
    old: watch::Sender<Old>,
    passed: Arc<Passed>,
    _server: IngestPeer,
}

impl Between {
    /// Starts it with the identity of an aggregator; it delivers to the real one with that of the gateway.
    ///
    /// # Panics
    /// When an identity cannot be used, or no address is free.
    pub async fn start(aggregator: SocketAddr, identity: &Path, gateway: &Path, old: Old) -> Self {
        let (old, current) = watch::channel(old);
        let passed = Arc::new(Passed::default());
        let ingest =
            Forwarding { aggregator, gateway: gateway.to_owned(), old: current, passed: Arc::clone(&passed) };
        let server = IngestPeer::start(identity, ingest).await;
        Self { addr: server.addr, old, passed, _server: server }
    }

    /// Changes who is of the version before. Streams end, as they do when a server is upgraded.
    pub fn set(&self, old: Old) {
        self.old.send_replace(old);
    }

    /// What has passed.
    pub fn passed(&self) -> &Passed {
        &self.passed
    }
}

struct Forwarding {
    aggregator: SocketAddr,
    gateway: PathBuf,
    old: watch::Receiver<Old>,
    passed: Arc<Passed>,
}

#[tonic::async_trait]
impl Ingest for Forwarding {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let mut changed = self.old.clone();
        let old = *changed.borrow_and_update();
        let channel = query::channel(self.aggregator, &self.gateway);
        let mut client = IngestClient::new(channel).send_compressed(Zstd).accept_compressed(Zstd);
        let (forwarded, outgoing) = mpsc::channel(16);
        let mut requests = request.into_inner();
        let Some(mut start) = requests.message().await? else { return Err(Status::cancelled("no Start")) };
        if let Some(deliver_request::Kind::Start(start)) = &mut start.kind
            && old.gateway
        {
            start.capabilities.clear();
        }
        let _ = forwarded.send(start).await;
        let mut answers = client.deliver(ReceiverStream::new(outgoing)).await?.into_inner();
        let (responses, incoming) = mpsc::channel(16);
        let passed = Arc::clone(&self.passed);
        tokio::spawn(async move {
            let end = tokio::select! {
                end = forward(&mut requests, &forwarded, old, &passed) => end,
                end = answer(&mut answers, &responses, old) => end,
                _ = changed.changed() => Status::unavailable("upgraded"),
            };
            let _ = responses.send(Err(end)).await;
        });
        Ok(Response::new(ReceiverStream::new(incoming)))
    }
}

/// Forwards what the gateway sends, until a peer ends the stream.
async fn forward(
    requests: &mut Streaming<DeliverRequest>,
    forwarded: &mpsc::Sender<DeliverRequest>,
    old: Old,
    passed: &Passed,
) -> Status {
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return Status::cancelled("the gateway ended the stream"),
            Err(status) => return status,
        };
        if let Some(deliver_request::Kind::Batch(batch)) = &request.kind
            && let Err(refusal) = passed.count(batch)
            && (old.aggregator || old.gateway)
        {
            passed.refused.lock().unwrap().push(refusal.clone());
            return Status::invalid_argument(refusal);
        }
        if let Some(deliver_request::Kind::Revocations(_)) = &request.kind
            && (old.aggregator || old.gateway)
        {
            passed.refused.lock().unwrap().push("revocations held".to_owned());
            return Status::unimplemented("a message without content");
        }
        if let Some(deliver_request::Kind::Certificates(_)) = &request.kind
            && (old.aggregator || old.gateway)
        {
            passed.refused.lock().unwrap().push("device certificates".to_owned());
            return Status::unimplemented("a message without content");
        }
        if forwarded.send(request).await.is_err() {
            return Status::unavailable("the aggregator ended the stream");
        }
    }
}

/// Forwards what the aggregator answers, until a peer ends the stream.
async fn answer(
    answers: &mut Streaming<DeliverResponse>,
    responses: &mpsc::Sender<Result<DeliverResponse, Status>>,
    old: Old,
) -> Status {
    loop {
        let mut response = match answers.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Status::cancelled("the aggregator ended the stream"),
            Err(status) => return status,
        };
        // An aggregator of the version before does not know what the gateway announces.
        if matches!(&response.kind, Some(deliver_response::Kind::Revocations(_))) && old.aggregator {
            continue;
        }
        if let Some(deliver_response::Kind::Resume(resume)) = &mut response.kind
            && (old.aggregator || old.gateway)
        {
            resume.capabilities.clear();
        }
        if responses.send(Ok(response)).await.is_err() {
            return Status::cancelled("the gateway ended the stream");
        }
    }
}
