//! What an aggregator answers on a stream: to the senders, to the budget of series, and to those who ask how this gateway is.

use std::collections::BTreeMap;

use catchment_proto::wire::{self, deliver_response};
use tokio::{sync::watch, time::Instant};
use tonic::Streaming;

use super::{StreamError, UplinkConfig, ack_deadlines, next, sender::Feedback};
use crate::metrics::Metrics;

/// Name of the condition that batches are refused.
const REFUSED: &str = "uplink_refused";

/// The responses of one stream.
pub(super) struct ResponseHandler<'a> {
    config: &'a UplinkConfig,
    metrics: &'a Metrics,
    ack_deadlines: &'a ack_deadlines::SharedAckDeadlines,
    responses: Streaming<wire::DeliverResponse>,
    /// By shard, the batch that was refused and not acknowledged since.
    refused: BTreeMap<u32, u64>,
}

impl<'a> ResponseHandler<'a> {
    pub(super) fn new(
        config: &'a UplinkConfig,
        metrics: &'a Metrics,
        ack_deadlines: &'a ack_deadlines::SharedAckDeadlines,
        responses: Streaming<wire::DeliverResponse>,
    ) -> Self {
        Self { config, metrics, ack_deadlines, responses, refused: BTreeMap::new() }
    }

    /// The newest budget of series, if the aggregator reports one.
    pub(super) fn budget(&self, series: Option<wire::SeriesBudget>) {
        if let Some(wire::SeriesBudget { series_max }) = series {
            self.config.budget.set(series_max);
            self.metrics.series_max.set(i64::try_from(series_max).unwrap_or(i64::MAX));
        }
    }

    /// Hands responses to their senders, until the stream fails.
    pub(super) async fn receive(
        &mut self,
        senders: &[watch::Sender<Feedback>],
    ) -> Result<std::convert::Infallible, StreamError> {
        loop {
            match next(&mut self.responses).await? {
                deliver_response::Kind::Ack(ack) => {
                    self.budget(ack.series);
                    let sender = senders
                        .get(ack.shard as usize)
                        .ok_or(StreamError::Protocol("an ack for a shard that there is not"))?;
                    self.ack_deadlines.lock().record_response(ack.shard as usize, Instant::now());
                    let is_news = sender.borrow().ack < ack.number;
                    sender.send_modify(|feedback| feedback.ack = ack.number.max(feedback.ack));
                    if is_news {
                        self.taken(ack.shard, ack.number);
                    }
                }
                deliver_response::Kind::Refusal(refusal) => {
                    let sender = senders
                        .get(refusal.shard as usize)
                        .ok_or(StreamError::Protocol("a refusal for a shard that there is not"))?;
                    self.ack_deadlines.lock().record_response(refusal.shard as usize, Instant::now());
                    sender
                        .send_modify(|feedback| feedback.refused = (refusal.number, feedback.refused.1 + 1));
                    self.refuse(refusal);
                }
                deliver_response::Kind::Resume(_) => return Err(StreamError::Protocol("a second resume")),
            }
        }
    }

    fn refuse(&mut self, refusal: wire::BatchRefusal) {
        let wire::BatchRefusal { shard, number, code, message } = refusal;
        self.metrics.batches_refused.inc();
        self.refused.insert(shard, number);
        if self.metrics.conditions.set(REFUSED, Some(format!("the aggregator refuses batches: {message}"))) {
            tracing::warn!(
                condition = REFUSED,
                shard,
                number,
                code,
                message,
                "the aggregator refuses a batch; it waits in the outbox"
            );
        }
    }

    /// A shard's batches are taken. What was refused on an earlier stream is refused again on this one, or taken: with the first
    /// ack of a stream without refusals the condition is over.
    fn taken(&mut self, shard: u32, ack: u64) {
        if self.refused.get(&shard).is_some_and(|number| *number <= ack) {
            self.refused.remove(&shard);
        }
        if self.refused.is_empty() && self.metrics.conditions.set(REFUSED, None) {
            tracing::info!(condition = REFUSED, "the aggregator takes all batches again");
        }
    }
}
