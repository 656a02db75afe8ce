//! What a shard is opened with.

use std::{path::Path, sync::Arc};

use catchment_partial::Width;

use crate::{
    budget::Budget,
    clock::Clock,
    fold::{ConfigureEntry, MetricParts},
    metrics::Metrics,
    shard::{ShardFacts, ShardLimits},
};

/// What a shard is opened with.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The shard's folder.
    pub folder: &'a Path,
    /// Number of the shard.
    pub index: u32,
    /// What the data folder knows of the shard.
    pub facts: ShardFacts,
    /// Width of new windows.
    pub window: Width,
    /// Optional parts of new windows.
    pub metric_parts: Arc<MetricParts>,
    /// Its bounds.
    pub limits: ShardLimits,
    /// Wall clock and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// The gateway's metrics.
    pub metrics: Arc<Metrics>,
    /// How many devices and series the folder may hold.
    pub budget: Arc<Budget>,
}

impl Setup<'_> {
    /// How new windows are made.
    pub(super) fn configuration(&self) -> ConfigureEntry {
        ConfigureEntry::new(self.window, &self.metric_parts)
    }
}
