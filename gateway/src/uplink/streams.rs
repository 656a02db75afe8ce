//! Opens one stream after another, at the configured aggregators in turn, with a pause after each that failed.

use std::sync::Arc;

use catchment_settings::{OutageLog, OutageSummary};
use tokio::time::{Instant, sleep};

use super::{
    ack_deadlines::SharedAckDeadlines, backoff::Backoff, config::UplinkConfig, sender::OutboxSender,
    stream::deliver, stream_error::StreamError,
};
use crate::{metrics::Metrics, worker::ShardLink};

/// Delivers until it is dropped. May be dropped at any await.
pub(crate) async fn run(config: UplinkConfig, shards: Vec<ShardLink>, metrics: Arc<Metrics>) {
    let ack_deadlines = SharedAckDeadlines::new(shards.len(), config.ack_timeout);
    let sender = |link| {
        let keep = (config.in_flight, config.keep);
        OutboxSender::new(link, keep, ack_deadlines.clone(), Arc::clone(&metrics))
    };
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
        let error = error.with_causes();
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
