//! New devices and series: each needs a place in the gateway's budget, a series also one among its device's, before any
//! reading is taken.

use catchment_journal::Disk;
use catchment_proto::{Labels, MetricName, Name, wire};

use super::{Backpressure, Hold, Shard};
use crate::fold::{DeviceEntry, Entry, SeriesEntry};

/// Why a new series is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesFull {
    /// The device has as many as it may have.
    Device,
    /// The gateway has as many as its aggregator allows: this number.
    Gateway(u64),
}

impl<D: Disk> Shard<D> {
    /// Index of a device, introduced if it is new.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn device(&mut self, name: &Name) -> Result<u32, Backpressure> {
        if let Some(index) = self.state().device(name) {
            return Ok(index);
        }
        let index = self.state().next_device();
        if index == u32::MAX {
            return Err(Backpressure::Room("this shard has no index left for a new device".into()));
        }
        self.budget.reserve_device().map_err(Backpressure::Devices)?;
        let entry = Entry::Device(DeviceEntry { index, name: name.as_str().to_owned() });
        self.journaled.record(entry).inspect_err(|_| self.budget.release_device())?;
        self.metrics.devices.inc();
        Ok(index)
    }

    /// Holds a known device: nothing of it is forgotten until the hold is dropped.
    pub fn hold(&mut self, name: &Name) -> Option<(u32, Hold)> {
        let index = self.state().device(name)?;
        Some((index, self.closer.hold(index)))
    }

    /// Index of a series in its device, introduced if it is new and there is a place for it; otherwise the bound that
    /// is reached. A known series is never refused.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn series(
        &mut self,
        device: u32,
        metric: &MetricName,
        labels: &Labels,
    ) -> Result<Result<u32, SeriesFull>, Backpressure> {
        if let Some(index) = self.state().series(device, metric, labels) {
            return Ok(Ok(index));
        }
        let index = self.state().next_series(device);
        if self.state().series_of(device) >= self.limits.series_max || index == u32::MAX {
            return Ok(Err(SeriesFull::Device));
        }
        // A forgotten series still has its place.
        let is_new = !self.state().keeps_series_slot(device, metric, labels);
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
        let entry = SeriesEntry {
            device,
            index,
            metric: metric.as_str().to_owned(),
            labels: labels.iter().map(wire::Label::from).collect(),
        };
        self.journaled.record(Entry::Series(entry)).map(drop)
    }
}
