//! Hands an aggregator's responses to the senders, the budget of series, and the conditions of this gateway.

use std::{collections::BTreeMap, convert::Infallible};

use catchment_proto::wire::{self, deliver_response};
use tokio::{sync::watch, time::Instant};
use tonic::Streaming;

use super::{
    ack_deadlines::SharedAckDeadlines, feedback::Feedback, revocations::ListsReceiver,
    stream_error::StreamError,
};
use crate::{budget::Budget, metrics::Metrics, raw::RawServer};

/// Name of the condition that batches are refused.
const REFUSED: &str = "uplink_refused";

/// The responses of one stream.
pub(super) struct ResponseHandler<'a> {
    budget: &'a Budget,
    metrics: &'a Metrics,
    ack_deadlines: &'a SharedAckDeadlines,
    responses: Streaming<wire::DeliverResponse>,
    raw: RawServer,
    lists: ListsReceiver<'a>,
    /// By shard, the batch that was refused and is not acknowledged since.
    refused: BTreeMap<u32, u64>,
}

impl<'a> ResponseHandler<'a> {
    pub(super) fn new(
        budget: &'a Budget,
        metrics: &'a Metrics,
        ack_deadlines: &'a SharedAckDeadlines,
        (responses, raw, lists): (Streaming<wire::DeliverResponse>, RawServer, ListsReceiver<'a>),
    ) -> Self {
        Self { budget, metrics, ack_deadlines, responses, raw, lists, refused: BTreeMap::new() }
    }

    /// The newest budget of series, if the aggregator reports one.
    pub(super) fn budget(&self, series: Option<wire::SeriesBudget>) {
        if let Some(wire::SeriesBudget { series_max }) = series {
            self.budget.set(series_max);
            self.metrics.series_max.set(i64::try_from(series_max).unwrap_or(i64::MAX));
        }
    }

    /// Hands responses to their senders, until the stream fails.
    pub(super) async fn receive(
        &mut self,
        senders: &[watch::Sender<Feedback>],
    ) -> Result<Infallible, StreamError> {
        loop {
            match next(&mut self.responses).await? {
                deliver_response::Kind::Ack(ack) => {
                    self.budget(ack.series);
                    let sender = senders
                        .get(ack.shard as usize)
                        .ok_or(StreamError::Protocol("an ack for an unknown shard"))?;
                    self.ack_deadlines.lock().record_response(ack.shard as usize, Instant::now());
                    let mut is_news = false;
                    sender.send_modify(|feedback| is_news = feedback.acknowledge(ack.number));
                    if is_news {
                        self.taken(ack.shard, ack.number);
                    }
                }
                deliver_response::Kind::Refusal(refusal) => {
                    let sender = senders
                        .get(refusal.shard as usize)
                        .ok_or(StreamError::Protocol("a refusal for an unknown shard"))?;
                    self.ack_deadlines.lock().record_response(refusal.shard as usize, Instant::now());
                    sender.send_modify(|feedback| feedback.refuse(refusal.number));
                    self.refuse(refusal);
                }
                deliver_response::Kind::Raw(query) => self.raw.handle(query),
                deliver_response::Kind::Revocations(part) => self.lists.take(part),
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

    /// A shard's batches are acknowledged. A batch that was refused on an earlier stream is refused or acknowledged
    /// again on this one, so the first ack of a stream without refusals ends the condition.
    fn taken(&mut self, shard: u32, ack: u64) {
        if self.refused.get(&shard).is_some_and(|number| *number <= ack) {
            self.refused.remove(&shard);
        }
        if self.refused.is_empty() && self.metrics.conditions.set(REFUSED, None) {
            tracing::info!(condition = REFUSED, "the aggregator takes all batches again");
        }
    }
}

/// The next response of a stream.
pub(super) async fn next(
    responses: &mut Streaming<wire::DeliverResponse>,
) -> Result<deliver_response::Kind, StreamError> {
    let response = responses.message().await?.ok_or(StreamError::Ended)?;
    response.kind.ok_or(StreamError::Protocol("an answer of no kind"))
}
