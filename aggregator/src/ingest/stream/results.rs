//! What becomes of a stream's batches, and what its gateway is answered.

use catchment_proto::wire::{BatchAck, BatchRefusal, deliver_response::Kind};

use super::{Done, Flow, Place, show_waits};
use crate::{metrics::Metrics, store::StoreError};

/// Stable codes of refused batches, and the reasons in the metrics.
pub(super) const TOO_MANY_SERIES: &str = "too_many_series";
pub(super) const TOO_MANY_EPOCHS: &str = "too_many_epochs";

impl Flow<'_> {
    /// Takes a result, in order.
    pub(super) fn landed(&mut self, done: Done) -> Result<(), StoreError> {
        let metrics = &self.shared.metrics;
        if let Done::Batch { bytes, .. } | Done::Live { bytes, .. } = &done {
            self.bytes.release(*bytes);
        }
        match done {
            Done::Progress(report) => self.shared.store.progress(&self.origin, &report)?,
            // It comes again, behind one that was refused.
            Done::Batch { place, .. } if !self.admission.counts(place.shard, place.round) => {}
            Done::Batch {
                place,
                result: Err(error @ (StoreError::TooManySeries { .. } | StoreError::TooManyEpochs { .. })),
                ..
            } => return self.refuse(place, error),
            Done::Batch { place: Place { shard, number, .. }, partials, result, .. } => {
                result?;
                metrics.batches.inc();
                metrics.partials.inc_by(partials);
                self.acks.insert(shard, number);
                if let Some(durable) = self.durable.get_mut(shard as usize) {
                    *durable = number.max(*durable);
                }
                if self.shared.sessions.waits.end((&self.origin.gateway, self.origin.epoch), Some(shard)) {
                    show_waits(self.shared);
                }
            }
            Done::Live { result, .. } => match result {
                Ok(()) => _ = metrics.live_batches.inc(),
                // The next live batch says the same and more.
                Err(
                    StoreError::Full(_) | StoreError::TooManySeries { .. } | StoreError::TooManyEpochs { .. },
                ) => _ = metrics.live_dropped.inc(),
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    /// There is no room for what is new in a batch: it waits at its gateway.
    fn refuse(&mut self, place: Place, error: StoreError) -> Result<(), StoreError> {
        let Place { shard, number, first, round } = place;
        let is_epoch = matches!(error, StoreError::TooManyEpochs { .. });
        let code = if is_epoch { TOO_MANY_EPOCHS } else { TOO_MANY_SERIES };
        let message = error.to_string();
        Metrics::count(&self.shared.metrics.ingest_refused, code);
        let gateway = &self.origin.gateway;
        if self.shared.sessions.waits.of(gateway).is_none() {
            tracing::warn!(%gateway, shard, number, code, message, "batches of a gateway wait: there is no room for what is new in them");
        }
        self.shared.sessions.waits.begin((gateway, self.origin.epoch), shard, (code, message.clone()));
        show_waits(self.shared);
        if !self.refusable {
            return Err(error);
        }
        if self.admission.refuse(shard, number, first, round) {
            self.refusals.insert(shard, (number, code, message));
        }
        Ok(())
    }

    /// The next answer: an ack before a refusal.
    pub(super) fn answer(&mut self) -> Option<Kind> {
        if let Some((shard, number)) = self.acks.pop_first() {
            let news = self.budget.news(&*self.shared.store, &self.origin);
            let series = news.or_else(|| self.series.take());
            self.series = None;
            return Some(Kind::Ack(BatchAck { shard, number, series }));
        }
        let (shard, (number, code, message)) = self.refusals.pop_first()?;
        let code = code.to_owned();
        Some(Kind::Refusal(BatchRefusal { shard, number, code, message }))
    }
}
