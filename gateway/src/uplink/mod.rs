//! Delivers the outboxes to an aggregator: one stream, batches up, acknowledgements down.
//!
//! Every batch is sent in its shard's order, from the lowest that is not acknowledged, and released when the
//! aggregator says that it is durable there. A stream that fails is opened again, at the next aggregator, after a
//! pause; what was sent without an acknowledgement is sent again, which is harmless.

mod ack_deadlines;
mod backoff;
pub mod in_flight;
pub mod refusal_backoff;
mod responses;
mod sender;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use catchment_certs::{ClientTls, GrpcConnector, Role, endpoint_uri};
use catchment_proto::{
    batch::BATCH_BYTES_MAX,
    wire::{self, deliver_request, deliver_response, ingest_client::IngestClient},
};
use catchment_settings::{OutageLog, OutageSummary};
use futures_util::future::try_join_all;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use self::{
    backoff::Backoff,
    responses::ResponseHandler,
    sender::{Feedback, OutboxSender, SenderError},
};
use crate::{
    budget::Budget,
    clock::Clock,
    lineage::{DeliveryStatus, Lineage, LineageError, format_utc},
    metrics::Metrics,
    worker::ShardLink,
};

/// Longest attempt to connect, and longest wait for the aggregator's answer to the Start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back for so long after a ping is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Messages between the senders and the connection.
const SENDING_MAX: usize = 16;

/// What an uplink needs.
#[derive(Clone, Debug)]
pub(crate) struct UplinkConfig {
    /// https://HOST:PORT, tried in turn.
    pub(crate) aggregators: Vec<String>,
    /// The gateway's identity as a client.
    pub(crate) tls: ClientTls,
    /// Runs and epochs of the data folder.
    pub(crate) lineage: Arc<Mutex<Lineage>>,
    /// Says when a new epoch begins.
    pub(crate) clock: Arc<dyn Clock>,
    /// Batches of a shard that may wait for their acknowledgement.
    pub(crate) in_flight: usize,
    /// How long they may wait without a word on them.
    pub(crate) ack_timeout: Duration,
    /// How many series the folder may hold, as the aggregator tells it.
    pub(crate) budget: Arc<Budget>,
}

impl UplinkConfig {
    fn lineage(&self) -> MutexGuard<'_, Lineage> {
        self.lineage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn numbering(&self, shards: usize) -> Vec<crate::lineage::Numbering> {
        let lineage = self.lineage();
        (0..shards).map(|shard| lineage.numbering(shard)).collect()
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("{0}")]
    Url(String),
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Box<Status>),
    #[error("the aggregator ended the stream")]
    Ended,
    #[error("the aggregator does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error(
        "no acknowledgement of shard {shard} for {timeout:?} (uplink_ack_timeout), although the connection stands"
    )]
    Silent { shard: usize, timeout: Duration },
    #[error(transparent)]
    Sender(#[from] SenderError),
    #[error("a new epoch has begun")]
    Forked,
    #[error("a new epoch cannot begin: {0}")]
    Lineage(#[from] LineageError),
}

impl From<Status> for StreamError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Delivers until it is dropped. May be dropped at any await.
pub(crate) async fn run(config: UplinkConfig, shards: Vec<ShardLink>, metrics: Arc<Metrics>) {
    let ack_deadlines = ack_deadlines::SharedAckDeadlines::new(shards.len(), config.ack_timeout);
    let sender =
        |link| OutboxSender::new(link, config.in_flight, ack_deadlines.clone(), Arc::clone(&metrics));
    let mut senders: Vec<OutboxSender> = shards.into_iter().map(sender).collect();
    let mut backoff = Backoff::new();
    let mut outage = OutageLog::default();
    for aggregator in config.aggregators.iter().cycle() {
        let acknowledged = metrics.batches_acknowledged.get();
        let Err(error) =
            deliver(&config, aggregator, &mut senders, (&ack_deadlines, &mut outage), &metrics).await;
        metrics.uplink_connected.set(0);
        metrics.uplink_failures.inc();
        if matches!(error, StreamError::Silent { .. }) {
            metrics.uplink_ack_timeouts.inc();
        }
        if metrics.batches_acknowledged.get() > acknowledged {
            backoff.reset();
        }
        let pause = backoff.pause(rand::random());
        let error = causes(&error);
        if let Some(OutageSummary { lasted, failures }) =
            outage.record_failure(Instant::now().into_std(), &error)
        {
            tracing::warn!(
                %aggregator, error, ?pause, ?lasted, failures,
                "no uplink; partials wait in the outbox; while it lasts, this is logged at most every minute, then every \
                 ten minutes"
            );
        }
        sleep(pause).await;
    }
}

/// An error with its causes, each once: the transport names its own only there.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

async fn connect(config: &UplinkConfig, aggregator: &str) -> Result<IngestClient<Channel>, StreamError> {
    let uri = endpoint_uri(aggregator).map_err(|e| StreamError::Url(e.to_string()))?;
    let connector = GrpcConnector::new(config.tls.clone(), Role::Aggregator, CONNECT_TIMEOUT);
    let channel = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_with_connector(connector)
        .await?;
    Ok(IngestClient::new(channel)
        .send_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_encoding_message_size(BATCH_BYTES_MAX)
        .max_decoding_message_size(BATCH_BYTES_MAX))
}

/// One stream, until it fails.
async fn deliver(
    config: &UplinkConfig,
    aggregator: &str,
    senders: &mut [OutboxSender],
    (ack_deadlines, outage): (&ack_deadlines::SharedAckDeadlines, &mut OutageLog),
    metrics: &Metrics,
) -> Result<std::convert::Infallible, StreamError> {
    let mut client = connect(config, aggregator).await?;
    let (sending, sent) = mpsc::channel(SENDING_MAX);
    let start = config.lineage().start(senders.len());
    let start = wire::DeliverRequest { kind: Some(deliver_request::Kind::Start(start)) };
    sending.send(start).await.map_err(|_| StreamError::Ended)?;
    let opening = async {
        let mut responses = client.deliver(ReceiverStream::new(sent)).await?.into_inner();
        let resume = match next(&mut responses).await? {
            deliver_response::Kind::Resume(resume) => resume,
            deliver_response::Kind::Ack(_) | deliver_response::Kind::Refusal(_) => {
                return Err(StreamError::Protocol("an answer before the resume"));
            }
        };
        Ok((responses, resume))
    };
    let (responses, resume) = timeout(CONNECT_TIMEOUT, opening).await.map_err(|_| StreamError::Timeout)??;
    check_folder(config, senders, &resume, metrics).await?;
    match outage.record_recovery(Instant::now().into_std()) {
        Some(OutageSummary { lasted, failures }) => {
            tracing::info!(%aggregator, delivered = ?resume.delivered, ?lasted, failures, "uplink open again");
        }
        // The first stream of the process, or one of an uplink that comes and goes.
        None if metrics.uplink_failures.get() == 0 => {
            tracing::info!(%aggregator, delivered = ?resume.delivered, "uplink open");
        }
        None => {}
    }
    metrics.uplink_connected.set(1);
    let mut responses = ResponseHandler::new(config, metrics, ack_deadlines, responses);
    responses.budget(resume.series);
    let (feedback, heard): (Vec<_>, Vec<_>) =
        senders.iter().map(|_| watch::channel(Feedback::default())).unzip();
    let numbering = config.numbering(senders.len());
    let delivered = resume.delivered.into_iter().chain(std::iter::repeat(0));
    let sending_tasks = senders.iter_mut().zip(heard).zip(numbering.into_iter().zip(delivered));
    let sending_tasks = sending_tasks.map(|((sender, heard), (numbering, delivered))| {
        sender.run(numbering, delivered, heard, sending.clone())
    });
    ack_deadlines.lock().begin();
    tokio::select! {
        error = responses.receive(&feedback) => error,
        shard = ack_deadlines.expired() => Err(StreamError::Silent { shard, timeout: config.ack_timeout }),
        error = try_join_all(sending_tasks) => match error {
            Ok(_) => Err(StreamError::Ended),
            Err(error) => Err(error.into()),
        },
    }
}

/// Before anything is sent or released: whether the folder is what it was when its batches were delivered. If not, it begins
/// a new epoch, and the stream ends.
async fn check_folder(
    config: &UplinkConfig,
    senders: &[OutboxSender],
    resume: &wire::Resume,
    metrics: &Metrics,
) -> Result<(), StreamError> {
    let sent: Vec<u64> = senders.iter().map(OutboxSender::sent).collect();
    let delivery_status = DeliveryStatus { resume, sent: &sent };
    if config.lineage().detect_fork(&delivery_status, &[]).is_none() {
        return Ok(());
    }
    let mut held = Vec::with_capacity(senders.len());
    for sender in senders {
        held.push(sender.first_unreleased().await?);
    }
    let Some(fork) = config.lineage().detect_fork(&delivery_status, &held) else { return Ok(()) };
    let now = config.clock.wall();
    let now_ms = now.as_millis();
    let beginning = config.clone();
    let begun = tokio::task::spawn_blocking(move || {
        beginning.lineage().fork(&fork, now)?;
        Ok::<_, LineageError>(fork)
    });
    let fork = begun.await.map_err(|_| StreamError::Ended)??;
    metrics.epoch_begun(fork.cause);
    let (from, to) =
        (fork.affected_from_ms.map_or("the beginning".to_owned(), format_utc), format_utc(now_ms));
    tracing::error!(
        condition = "epoch_begun",
        "{fork}. Suspect: windows from {from} to {to}; readings that only the other copy took are not here, \
         what this one holds is delivered under the new epoch"
    );
    Err(StreamError::Forked)
}

async fn next(
    responses: &mut Streaming<wire::DeliverResponse>,
) -> Result<deliver_response::Kind, StreamError> {
    let response = responses.message().await?.ok_or(StreamError::Ended)?;
    response.kind.ok_or(StreamError::Protocol("an answer of no kind"))
}
