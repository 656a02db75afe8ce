//! Identities, a running aggregator, and its clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use catchment_certs::{
    ClientTls, GrpcConnector, Identity, IdentityFolder, Role, TrustDomain,
    authority::{Authority, IssueRequest, ROOT_DAYS},
    channel::ALPN_GRPC,
    endpoint_uri,
};
use catchment_proto::{
    AggregatorId, DeviceId, Name, OperatorId,
    wire::{
        self, AggregateRequest, AggregateResponse, DeliverRequest, DeliverResponse, aggregate_response,
        deliver_request::Kind, deliver_response, fleet_client::FleetClient, ingest_client::IngestClient,
        query_client::QueryClient,
    },
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    codec::CompressionEncoding::Zstd,
    transport::{Channel, Endpoint},
};

use crate::{Config, Options, RunError, bind, testing::gateway};

/// Longest wait for something that should happen immediately.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// An authority in a folder of its own, with data folders next to it.
pub(super) struct World {
    folder: TempDir,
    authority: Authority,
}

/// A running aggregator.
pub(super) struct Running {
    pub(super) addr: SocketAddr,
    pub(super) http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    end: JoinHandle<Result<(), RunError>>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn operator() -> Identity {
    Identity::Operator(OperatorId { name: name("ada") })
}

pub(super) fn other_operator() -> Identity {
    Identity::Operator(OperatorId { name: name("eve") })
}

pub(super) fn device() -> Identity {
    Identity::Device(DeviceId { site: name("berlin"), name: name("d1") })
}

pub(super) fn site_gateway(site: &str) -> Identity {
    Identity::Gateway(gateway(site, "g1"))
}

impl World {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let domain = TrustDomain::new("catchment.local").unwrap();
        let authority = Authority::init(&folder.path().join("pki"), &domain, ROOT_DAYS).unwrap();
        Self { folder, authority }
    }

    /// The folder of an identity, issued on first use.
    pub(super) fn identity(&self, identity: &Identity) -> PathBuf {
        let dir = self.authority.identity_dir(identity);
        if !dir.exists() {
            let mut request = IssueRequest::new(identity.clone());
            if identity.role().is_server() {
                request.hosts = vec!["127.0.0.1".parse().unwrap()];
            }
            self.authority.issue(&request, &mut |_| ()).unwrap();
        }
        dir
    }

    /// The folder of an identity whose certificate ends after this time; issued here.
    pub(super) fn identity_for(&self, identity: &Identity, lasts: Duration) -> PathBuf {
        let minute = Duration::from_secs(60);
        let mut request = IssueRequest::new(identity.clone());
        if identity.role().is_server() {
            request.hosts = vec!["127.0.0.1".parse().unwrap()];
        }
        request.start = Some(SystemTime::now() - minute);
        request.lifetime = Some(minute + lasts);
        self.authority.issue(&request, &mut |_| ()).unwrap().dir
    }

    /// A configuration with its own ports.
    pub(super) fn config(&self) -> Config {
        let identity = self.identity(&Identity::Aggregator(AggregatorId { name: name("centre") }));
        let options = Options {
            identity: Some(identity),
            listen: Some("127.0.0.1:0".parse().unwrap()),
            http: Some("127.0.0.1:0".parse().unwrap()),
            data: Some(self.folder.path().join("data")),
            ..Options::default()
        };
        Config::try_from(options).unwrap()
    }

    /// Replaces the data folder by another copy; the old one is kept next to it. (Nothing may be using them.)
    pub(super) fn swap_data(&self, copy: &str) {
        let (data, copy) = (self.folder.path().join("data"), self.folder.path().join(copy));
        let other = self.folder.path().join("other");
        std::fs::rename(&data, &other).unwrap();
        std::fs::rename(&copy, &data).unwrap();
        std::fs::rename(&other, &copy).unwrap();
    }

    /// Copies the data folder. (Nothing may be using it.)
    pub(super) fn copy_data(&self, copy: &str) {
        copy_folder(&self.folder.path().join("data"), &self.folder.path().join(copy));
    }

    pub(super) async fn start(&self) -> Running {
        Running::new(bind(self.config()).await.unwrap())
    }

    /// A connection under an identity, opened by the first call.
    pub(super) fn channel(&self, addr: SocketAddr, identity: &Identity) -> Channel {
        channel(addr, &self.identity(identity))
    }

    pub(super) async fn delivery(&self, addr: SocketAddr, site: &str) -> Delivery {
        Delivery::start(self.channel(addr, &site_gateway(site)), 1).await.unwrap()
    }

    pub(super) fn query(&self, addr: SocketAddr) -> QueryClient<Channel> {
        QueryClient::new(self.channel(addr, &operator())).accept_compressed(Zstd)
    }

    pub(super) fn fleet(&self, addr: SocketAddr) -> FleetClient<Channel> {
        FleetClient::new(self.channel(addr, &operator()))
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn channel(addr: SocketAddr, identity: &Path) -> Channel {
    channel_with(addr, identity, |endpoint| endpoint)
}

/// A connection of a client with its own settings.
pub(super) fn channel_with(
    addr: SocketAddr,
    identity: &Path,
    settings: impl FnOnce(Endpoint) -> Endpoint,
) -> Channel {
    let tls = ClientTls::new(&IdentityFolder::load(identity).unwrap(), &[ALPN_GRPC]).unwrap();
    let connector = GrpcConnector::new(tls, Role::Aggregator, TIMEOUT);
    let endpoint = Endpoint::from(endpoint_uri(&format!("https://{addr}")).unwrap());
    settings(endpoint).connect_with_connector_lazy(connector)
}

impl Running {
    pub(super) fn new(aggregator: crate::Aggregator) -> Self {
        let (addr, http) = (aggregator.local_addr(), aggregator.http_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let end = tokio::spawn(aggregator.run(async { _ = stopped.await }));
        Self { addr, http, stop: Some(stop), end }
    }

    /// A graceful shutdown.
    pub(super) async fn stop(mut self) -> Result<(), RunError> {
        drop(self.stop.take());
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(self) -> Result<(), RunError> {
        let Self { stop, end, .. } = self;
        let result = tokio::time::timeout(TIMEOUT, end).await.expect("it ends").unwrap();
        drop(stop);
        result
    }

    /// Waits until the metrics hold a text.
    pub(super) async fn until_metric(&self, text: &str) {
        let shown = async {
            while !self.page("/metrics").await.contains(text) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TIMEOUT, shown).await.unwrap_or_else(|_| panic!("no {text}"));
    }

    /// Waits until a counter that begins at 0 has counted something.
    pub(super) async fn until_counted(&self, name: &str) {
        let zero = format!("{name} 0\n");
        let counted = async {
            while !self.page("/metrics").await.contains(name) || self.page("/metrics").await.contains(&zero) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TIMEOUT, counted).await.unwrap_or_else(|_| panic!("no {name}"));
    }

    /// A page of the plain HTTP endpoint.
    pub(super) async fn page(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }
}

/// A gateway's stream.
pub(super) struct Delivery {
    pub(super) delivered: Vec<u64>,
    /// The newest series budget.
    pub(super) series_max: Option<u64>,
    requests: mpsc::Sender<DeliverRequest>,
    responses: Streaming<DeliverResponse>,
}

impl Delivery {
    /// Opens a stream of an epoch with two shards.
    pub(super) async fn start(channel: Channel, epoch: u64) -> Result<Self, Status> {
        Self::start_as(channel, epoch, 0).await
    }

    /// Like [`Self::start`], for a run.
    pub(super) async fn start_as(channel: Channel, epoch: u64, run: u64) -> Result<Self, Status> {
        let start = wire::Start {
            epoch,
            epoch_created_ms: 1,
            shards: 2,
            version: "0.1-test".to_owned(),
            run,
            ..wire::Start::default()
        };
        Self::begin(channel, start).await
    }

    /// Opens a stream.
    pub(super) async fn begin(channel: Channel, start: wire::Start) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(16);
        requests.send(DeliverRequest { kind: Some(Kind::Start(start)) }).await.unwrap();
        let mut client = IngestClient::new(channel)
            .send_compressed(Zstd)
            .accept_compressed(Zstd)
            .max_encoding_message_size(usize::MAX);
        let mut responses = client.deliver(ReceiverStream::new(outgoing)).await?.into_inner();
        match responses.message().await?.and_then(|response| response.kind) {
            Some(deliver_response::Kind::Resume(resume)) => {
                let series_max = resume.series.map(|budget| budget.series_max);
                Ok(Self { delivered: resume.delivered, series_max, requests, responses })
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn send(&self, batch: &catchment_proto::Batch) {
        self.send_wire(batch.into()).await;
    }

    pub(super) async fn send_wire(&self, batch: wire::Batch) {
        // Fails if the aggregator has ended the stream, which `until` then sees.
        let _ = self.requests.send(DeliverRequest { kind: Some(Kind::Batch(batch)) }).await;
    }

    /// Reports the progress of a shard, and its last batch.
    pub(super) async fn progress(&self, shard: u32, watermark_ms: i64, number: u64) {
        self.report(wire::Progress { shard, watermark_ms, number, history: None }).await;
    }

    /// Like [`Self::progress`], with the history of earlier batches.
    pub(super) async fn report(&self, progress: wire::Progress) {
        let _ = self.requests.send(DeliverRequest { kind: Some(Kind::Progress(progress)) }).await;
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> deliver_response::Kind {
        let response = tokio::time::timeout(TIMEOUT, self.responses.message()).await.expect("an answer");
        let kind = response.unwrap().and_then(|response| response.kind).expect("the stream continues");
        if let deliver_response::Kind::Ack(ack) = &kind {
            self.series_max = ack.series.map(|budget| budget.series_max).or(self.series_max);
        }
        kind
    }

    /// Waits for an ack of a shard.
    pub(super) async fn acked(&mut self, shard: u32, number: u64) {
        let wanted = |ack: &wire::BatchAck| ack.shard == shard && ack.number >= number;
        while !matches!(self.answer().await, deliver_response::Kind::Ack(ack) if wanted(&ack)) {}
    }

    /// Waits for a refusal: shard, number, message.
    pub(super) async fn refused(&mut self) -> (u32, u64, String) {
        loop {
            if let deliver_response::Kind::Refusal(refusal) = self.answer().await {
                return (refusal.shard, refusal.number, refusal.message);
            }
        }
    }

    /// Waits for the ack of a batch of shard 0, or the status that ends the stream.
    pub(super) async fn until(&mut self, number: u64) -> Result<(), Status> {
        loop {
            let response =
                tokio::time::timeout(TIMEOUT, self.responses.message()).await.expect("an answer")?;
            match response.and_then(|response| response.kind) {
                Some(deliver_response::Kind::Ack(ack)) if ack.shard == 0 && ack.number >= number => {
                    return Ok(());
                }
                Some(_) => {}
                None => return Err(Status::unknown("the stream ended without a status")),
            }
        }
    }
}

/// An answer, collected.
#[derive(Debug, PartialEq)]
pub(super) struct QueryResult {
    pub(super) complete_until_ms: Option<i64>,
    pub(super) gaps: Vec<wire::Gap>,
    pub(super) aggregates: Vec<String>,
    pub(super) header: wire::Header,
    /// Labels as `name=value,…`, after the number of the selector unless it is 0; then points.
    pub(super) series: Vec<(String, Vec<Point>)>,
}

/// Start and values of a point.
type Point = (i64, Vec<Option<f64>>);

/// The name of a series in a [`QueryResult`].
pub(super) fn series_name(series: &wire::SeriesPoints) -> String {
    let labels: Vec<_> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let selector = if series.selector == 0 { String::new() } else { format!("{}:", series.selector) };
    format!("{selector}{}", labels.join(","))
}

pub(super) async fn run_query(
    client: &mut QueryClient<Channel>,
    request: AggregateRequest,
) -> Result<QueryResult, Status> {
    let mut stream = client.aggregate(request).await?.into_inner();
    let mut answer: Option<QueryResult> = None;
    while let Some(AggregateResponse { kind }) = stream.message().await? {
        match kind.unwrap() {
            aggregate_response::Kind::Header(header) => {
                assert!(answer.is_none(), "one header, first");
                let wire::Header { complete_until_ms, gaps, aggregates, .. } = header.clone();
                answer =
                    Some(QueryResult { complete_until_ms, gaps, aggregates, header, series: Vec::new() });
            }
            aggregate_response::Kind::Series(series) => {
                let name = series_name(&series);
                let points = series.points.into_iter().map(|point| {
                    (point.start_ms, point.values.into_iter().map(|value| value.number).collect())
                });
                answer.as_mut().unwrap().series.push((name, points.collect()));
            }
        }
    }
    Ok(answer.unwrap())
}

pub(super) fn query_request(selector: &str) -> AggregateRequest {
    AggregateRequest {
        selector: selector.to_owned(),
        to_ms: 1_000_000,
        aggregates: vec!["count".to_owned(), "sum".to_owned()],
        ..AggregateRequest::default()
    }
}
