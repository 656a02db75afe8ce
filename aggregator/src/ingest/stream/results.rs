//! Results of a stream's batches, and the answers to its gateway.

use catchment_proto::wire::{BatchAck, BatchRefusal, deliver_response::Kind};

use super::task::{BatchRef, Completed, StreamTask};
use crate::{
    ingest::{
        revocations::ListsSender,
        waiting::{TOO_MANY_EPOCHS, TOO_MANY_SERIES},
    },
    metrics::Metrics,
    store::StoreError,
};

impl StreamTask<'_> {
    /// Takes a result, in order of arrival.
    pub(super) fn complete(&mut self, done: Completed) -> Result<(), StoreError> {
        let metrics = &self.shared.metrics;
        if let Completed::Batch { bytes, .. } | Completed::Live { bytes, .. } = &done {
            self.bytes.release(*bytes);
        }
        match done {
            Completed::Progress(report) => self.shared.store.progress(&self.epoch, &report)?,
            // The gateway resends it, after an earlier one that was refused.
            Completed::Batch { batch_ref, .. }
                if !self.admission.is_current(batch_ref.shard, batch_ref.attempt) => {}
            Completed::Batch {
                batch_ref,
                result: Err(error @ (StoreError::TooManySeries { .. } | StoreError::TooManyEpochs { .. })),
                ..
            } => return self.refuse(batch_ref, error),
            Completed::Batch {
                batch_ref: BatchRef { shard, number, .. },
                partials,
                left_out,
                result,
                ..
            } => {
                result?;
                self.note_left_out(left_out);
                metrics.batches.inc();
                metrics.partials.inc_by(partials);
                self.acks.insert(shard, number);
                if let Some(durable) = self.durable.get_mut(shard as usize) {
                    *durable = number.max(*durable);
                }
                if self.shared.streams.waiting.end((&self.epoch.gateway, self.epoch.id), Some(shard)) {
                    self.shared.publish_waiting();
                }
            }
            Completed::Live { left_out, result, .. } => match result {
                Ok(()) => {
                    metrics.live_batches.inc();
                    self.note_left_out(left_out);
                }
                // The next live batch supersedes it.
                Err(
                    StoreError::Full(_) | StoreError::TooManySeries { .. } | StoreError::TooManyEpochs { .. },
                ) => _ = metrics.live_dropped.inc(),
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    /// Counts windows that were left out of a batch that is taken; the first of a stream are logged.
    fn note_left_out(&mut self, windows: u64) {
        if windows == 0 {
            return;
        }
        self.shared.metrics.too_far_ahead().inc_by(windows);
        if !std::mem::replace(&mut self.left_out_logged, true) {
            let gateway = &self.epoch.gateway;
            tracing::warn!(
                %gateway, windows,
                "windows of a gateway are more than a year ahead of this clock and are dropped: check both clocks"
            );
        }
    }

    /// There is no room for the batch's new series or epoch: it waits at its gateway.
    fn refuse(&mut self, batch_ref: BatchRef, error: StoreError) -> Result<(), StoreError> {
        let BatchRef { shard, number, stream_start, attempt } = batch_ref;
        let is_epoch = matches!(error, StoreError::TooManyEpochs { .. });
        let code = if is_epoch { TOO_MANY_EPOCHS } else { TOO_MANY_SERIES };
        let message = error.to_string();
        Metrics::count(&self.shared.metrics.ingest_refused, code);
        let gateway = &self.epoch.gateway;
        if self.shared.streams.waiting.of(gateway).is_none() {
            tracing::warn!(%gateway, shard, number, code, message, "batches of a gateway wait: no room for their new series or epoch");
        }
        self.shared.streams.waiting.begin((gateway, self.epoch.id), shard, (code, message.clone()));
        self.shared.publish_waiting();
        if !self.knows_refusals {
            return Err(error);
        }
        if self.admission.refuse(shard, number, stream_start, attempt) {
            self.refusals.insert(shard, (number, code, message));
        }
        Ok(())
    }

    /// The next answer: acks in turns with parts of the revocation lists, then refusals, and questions last.
    pub(super) fn answer(&mut self) -> Option<Kind> {
        let ack_waits = !self.acks.is_empty();
        if let Some((part, whole)) = self.lists.as_mut().and_then(|lists| lists.next_in_turn(ack_waits)) {
            whole.into_iter().for_each(|offer| self.registered.note_lists_sent(offer.number));
            return Some(Kind::Revocations(part));
        }
        if let Some((shard, number)) = self.acks.pop_first() {
            let news = self.budget.changed(&*self.shared.store, &self.epoch);
            let series = news.or_else(|| self.series.take());
            self.series = None;
            return Some(Kind::Ack(BatchAck { shard, number, series }));
        }
        if let Some((shard, (number, code, message))) = self.refusals.pop_first() {
            let code = code.to_owned();
            return Some(Kind::Refusal(BatchRefusal { shard, number, code, message }));
        }
        self.raw_next.take().map(Kind::Raw)
    }

    /// Whether there is an answer to send.
    pub(super) fn has_answer(&self) -> bool {
        let has_part = self.lists.as_ref().is_some_and(ListsSender::has_part);
        has_part || !self.acks.is_empty() || !self.refusals.is_empty() || self.raw_next.is_some()
    }
}
