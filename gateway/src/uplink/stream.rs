//! One delivery stream: connects, makes sure that the folder is what the aggregator believes it to be, and runs the
//! senders and the response handler until one of them fails.

use std::{
    convert::Infallible,
    iter,
    sync::Arc,
    time::{Duration, SystemTime},
};

use catchment_certs::{EndReason, GrpcConnector, Role, TrustStatus, endpoint_uri};
use catchment_proto::{
    Capabilities,
    batch::BATCH_BYTES_MAX,
    wire::{self, deliver_request, deliver_response, ingest_client::IngestClient},
};
use catchment_settings::{OutageLog, OutageSummary};
use futures_util::future::try_join_all;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use super::{
    ack_deadlines::SharedAckDeadlines,
    certificates,
    config::UplinkConfig,
    feedback::Feedback,
    responses::{ResponseHandler, next},
    revocations,
    sender::{OutboxSender, Peer},
    stream_error::StreamError,
};
use crate::{
    conditions::AGGREGATOR_OUTDATED,
    lineage::{DeliveryStatus, LineageError, format_utc},
    metrics::Metrics,
    raw::RawServer,
};

/// Longest attempt to connect, and longest wait for the aggregator's answer to the Start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back for so long after a ping is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Messages between the senders and the connection.
const SENDING_MAX: usize = 16;

/// How often a stream asks whether its aggregator's certificate has ended.
const TRUST_EVERY: Duration = Duration::from_secs(1);

/// A client, and who the aggregator is.
async fn connect(
    config: &UplinkConfig,
    aggregator: &str,
) -> Result<(IngestClient<Channel>, watch::Receiver<Option<catchment_certs::Peer>>), StreamError> {
    let uri = endpoint_uri(aggregator).map_err(|e| StreamError::Url(e.to_string()))?;
    let (connected, server) = watch::channel(None);
    let connector =
        GrpcConnector::new(config.tls.clone(), Role::Aggregator, CONNECT_TIMEOUT).telling(connected);
    let channel = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_with_connector(connector)
        .await?;
    let client = IngestClient::new(channel)
        .send_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_encoding_message_size(BATCH_BYTES_MAX)
        .max_decoding_message_size(BATCH_BYTES_MAX);
    Ok((client, server))
}

/// Resolves when the trust refuses the aggregator of the connection, or its certificate has ended: an acknowledgement of
/// it is worth nothing.
async fn distrusted(
    mut trust: watch::Receiver<TrustStatus>,
    server: watch::Receiver<Option<catchment_certs::Peer>>,
) -> StreamError {
    loop {
        if let Some(server) = &*server.borrow() {
            let expired = server.not_after < SystemTime::now();
            let reason = trust.borrow_and_update().refuses(server);
            if let Some(reason) = reason.or(expired.then_some(EndReason::Expired)) {
                return StreamError::Distrusted(reason.message());
            }
        }
        if let Ok(Err(_)) = timeout(TRUST_EVERY, trust.changed()).await {
            // Nothing changes any more: the process ends.
            return std::future::pending().await;
        }
    }
}

/// Sends the Start; returns the responses, and the first of them.
async fn open(
    client: &mut IngestClient<Channel>,
    sent: mpsc::Receiver<wire::DeliverRequest>,
) -> Result<(Streaming<wire::DeliverResponse>, wire::Resume), StreamError> {
    let mut responses = client.deliver(ReceiverStream::new(sent)).await?.into_inner();
    match next(&mut responses).await? {
        deliver_response::Kind::Resume(resume) => Ok((responses, resume)),
        _ => Err(StreamError::Protocol("an answer before the resume")),
    }
}

/// One stream, until it fails.
pub(super) async fn deliver(
    config: &UplinkConfig,
    aggregator: &str,
    senders: &mut [OutboxSender],
    (ack_deadlines, outage): (&SharedAckDeadlines, &mut OutageLog),
    metrics: &Arc<Metrics>,
) -> Result<Infallible, StreamError> {
    let (mut client, server) = connect(config, aggregator).await?;
    let (sending, sent) = mpsc::channel(SENDING_MAX);
    let start = config.lineage().start(senders.len());
    let start = wire::DeliverRequest { kind: Some(deliver_request::Kind::Start(start)) };
    sending.send(start).await.map_err(|_| StreamError::Ended)?;
    let opening = open(&mut client, sent);
    let (responses, resume) =
        timeout(CONNECT_TIMEOUT, opening).await.map_err(|_| StreamError::Timeout(CONNECT_TIMEOUT))??;
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
    let capabilities = Capabilities::read(&resume.capabilities);
    note_capabilities(config, aggregator, capabilities, metrics).await;
    let links = senders.iter().map(|sender| sender.link().clone()).collect();
    let raw = RawServer::new(links, config.raw, Arc::clone(metrics), sending.clone());
    let (lists, applied) = revocations::begin(&config.revocations, metrics, capabilities, &sending);
    let mut responses = ResponseHandler::new(&config.budget, metrics, ack_deadlines, (responses, raw, lists));
    responses.budget(resume.series);
    let (feedback, heard): (Vec<_>, Vec<_>) =
        senders.iter().map(|_| watch::channel(Feedback::default())).unzip();
    let numbering = config.numbering(senders.len());
    let delivered = resume.delivered.into_iter().chain(iter::repeat(0));
    let sending_tasks = senders.iter_mut().zip(heard).zip(numbering.into_iter().zip(delivered));
    let sending_tasks = sending_tasks.map(|((sender, heard), (numbering, delivered))| {
        sender.run(numbering, Peer { aggregator, capabilities, delivered }, heard, sending.clone())
    });
    let reporting = certificates::report(&config.certificates, capabilities, sending.clone());
    ack_deadlines.lock().begin();
    tokio::select! {
        error = responses.receive(&feedback) => error,
        never = applied => match never {},
        never = reporting => match never {},
        error = distrusted(config.revocations.subscribe(), server) => Err(error),
        shard = ack_deadlines.expired() => Err(StreamError::Silent { shard, timeout: config.ack_timeout }),
        error = try_join_all(sending_tasks) => match error {
            Ok(_) => Err(StreamError::Ended),
            Err(error) => Err(error.into()),
        },
    }
}

/// Readings are taken or refused by what the aggregator of the present stream can read, until another one answers.
async fn note_capabilities(
    config: &UplinkConfig,
    aggregator: &str,
    capabilities: Capabilities,
    metrics: &Metrics,
) {
    let reads_all = capabilities.contains(Capabilities::PARTIAL_2);
    let read_all = config.peer.note(capabilities);
    let peer = Arc::clone(&config.peer);
    // What cannot be written is noted by the next stream.
    let _ = tokio::task::spawn_blocking(move || peer.keep(capabilities)).await;
    if reads_all && metrics.conditions.set(AGGREGATOR_OUTDATED, None) {
        tracing::info!(condition = AGGREGATOR_OUTDATED, %aggregator, "the aggregator reads all batches");
    }
    if read_all && !reads_all {
        tracing::warn!(
            %aggregator,
            "the aggregator is of an earlier version: partials leave without their optional parts, and states are refused,              until it is upgraded"
        );
    }
}

/// Before anything is sent or released: whether the folder is what it was when its batches were delivered. If not, it
/// begins a new epoch, and the stream ends.
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
        held.push(sender.first_held().await?);
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
