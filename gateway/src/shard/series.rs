//! New series of a device: each needs a place among the device's own and in the gateway's budget, before any of its readings is
//! taken.

use catchment_journal::Disk;
use catchment_proto::{Labels, MetricName, wire};

use super::{Backpressure, Shard};
use crate::fold::{Entry, SeriesEntry};

/// Why a new series has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesFull {
    /// The device has all that it may have.
    Device,
    /// The gateway has: so many, as its aggregator says.
    Gateway(u64),
}

impl<D: Disk> Shard<D> {
    /// Index of a series in its device, introduced if it is new and there is a place for it, or which bound is full. A known
    /// series is never refused.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn series(
        &mut self,
        device: u32,
        metric: &MetricName,
        labels: &Labels,
    ) -> Result<Result<u32, SeriesFull>, Backpressure> {
        if let Some(index) = self.state.series(device, metric, labels) {
            return Ok(Ok(index));
        }
        let index = self.state.next_series(device);
        if self.state.series_of(device) >= self.limits.series_max || index == u32::MAX {
            return Ok(Err(SeriesFull::Device));
        }
        // One that was forgotten has its place still.
        let is_new = !self.state.keeps_series_slot(device, metric, labels);
        if is_new && let Err(max) = self.budget.reserve_series() {
            return Ok(Err(SeriesFull::Gateway(max)));
        }
        self.define(device, index, metric, labels).inspect_err(|_| {
            if is_new {
                self.budget.release_series();
            }
        })?;
        self.metrics.series.inc();
        Ok(Ok(index))
    }

    fn define(
        &mut self,
        device: u32,
        index: u32,
        metric: &MetricName,
        labels: &Labels,
    ) -> Result<(), Backpressure> {
        let label =
            |(name, value): (&str, &str)| wire::Label { name: name.to_owned(), value: value.to_owned() };
        self.record(Entry::Series(SeriesEntry {
            device,
            index,
            metric: metric.as_str().to_owned(),
            labels: labels.iter().map(label).collect(),
        }))
        .map(drop)
    }
}
