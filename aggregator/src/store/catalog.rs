//! The catalog: gateways, their epochs with delivered numbers and watermarks, and the series.
//!
//! Part of the state folded from the journal: kept in memory as a whole and in sled record by record; changes since
//! the last write are marked dirty. Numbers of gateways and epochs are dense and permanent, because blocks refer to
//! them; numbers of series are never reused.

pub(in crate::store) mod catalog_store;
pub(in crate::store) mod epochs;
pub(in crate::store) mod gaps;
pub(in crate::store) mod groups;
pub(in crate::store) mod hourly;
pub(in crate::store) mod index;
pub(in crate::store) mod listing;
pub(in crate::store) mod loss;
pub(in crate::store) mod quota;
pub(in crate::store) mod run_history;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use catchment_partial::{Timestamp, Window};
use catchment_proto::{GatewayId, History, Name, SeriesKey, SharedSeries, batch::SHARDS_MAX};

use crate::store::{
    GatewayEpoch, ProgressReport,
    catalog::{
        gaps::{ShardGap, gaps_max},
        groups::{AllSeries, group_of},
        index::LabelIndex,
    },
};

mod completeness;
mod entries;
mod forget;
mod provisional;
mod runs;
mod series_index;
mod usages;

pub(in crate::store) use entries::{EpochState, Gateway, Series, Shard};
use provisional::ProvisionalEpochs;
use usages::ChangedUsages;

/// Records that differ from those in sled.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Dirty {
    pub(in crate::store) gateways: BTreeSet<u32>,
    /// Identities of epochs.
    pub(in crate::store) epochs: BTreeSet<u32>,
    /// Delivered numbers and watermarks of epochs.
    pub(in crate::store) shards: BTreeSet<u32>,
    /// Late corrections and refused readings of gateways.
    pub(in crate::store) hours: BTreeSet<u32>,
    /// Groups of series: those with their `dirty` flag set.
    pub(in crate::store) groups: BTreeSet<u32>,
    /// Groups whose record must be removed.
    pub(in crate::store) removed: BTreeSet<u32>,
}

/// Distinguishes the catalogs of a process, so that an identifier cached in a series shows which catalog set it.
#[derive(Debug)]
struct Token(u32);

impl Default for Token {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Gateways, epochs and series.
#[derive(Debug, Default)]
pub(in crate::store) struct Catalog {
    pub(in crate::store) gateways: Vec<Gateway>,
    pub(in crate::store) epochs: Vec<EpochState>,
    pub(in crate::store) series: AllSeries,
    pub(in crate::store) next_series: u32,
    pub(in crate::store) dirty: Dirty,
    /// Number of batches in gaps, over all epochs.
    pub(in crate::store) lost_batches: u64,
    /// Epochs that have gaps, by gateway.
    pub(in crate::store) gapped: BTreeMap<u32, BTreeSet<u32>>,
    /// When windows of gateways are damaged or missing, at most [`listing::GAPS_MAX`] of each. Not stored: each start
    /// finds it again.
    pub(in crate::store) damaged: BTreeMap<u32, Vec<ShardGap>>,
    /// Finds series by their labels.
    pub(in crate::store) index: Arc<LabelIndex>,
    /// Records were lost: rows of series that are not known may be theirs, and stay for a repair.
    pub(in crate::store) incomplete: bool,
    /// Number of retired gateways.
    retired: u64,
    token: Token,
    /// Series of each gateway, by its number.
    series_counts: HashMap<u32, u64>,
    /// Epochs that have not delivered anything yet. Not stored.
    provisional: ProvisionalEpochs,
    /// Epochs of each gateway, by its number.
    epoch_counts: HashMap<u32, u64>,
    /// Epochs of each site.
    site_epochs: HashMap<Name, u64>,
    /// Not told to the quota yet.
    changed_usages: ChangedUsages,
    /// Epochs that have a stream, each after its gateway, both by number. Not stored.
    open: BTreeSet<(u32, u32)>,
    gateway_numbers: HashMap<GatewayId, u32>,
    epoch_numbers: HashMap<(u32, u64), u32>,
    series_numbers: HashMap<(u32, SeriesKey), u32>,
}

impl Catalog {
    /// Restores a catalog from records; gateways and epochs in order of their numbers.
    pub(in crate::store) fn restore(
        gateways: Vec<Gateway>,
        epochs: Vec<EpochState>,
        series: AllSeries,
        next_series: u32,
    ) -> Self {
        let after_last = series.iter().last().map_or(0, |(id, _)| id.saturating_add(1));
        let mut catalog = Self { next_series: next_series.max(after_last), ..Self::default() };
        catalog.gateway_numbers =
            gateways.iter().zip(0..).map(|(g, number)| (g.id.clone(), number)).collect();
        catalog.retired = gateways.iter().filter(|gateway| gateway.retired).count() as u64;
        catalog.epoch_numbers =
            epochs.iter().zip(0..).map(|(o, number)| ((o.gateway, o.epoch.id), number)).collect();
        catalog.series_numbers =
            series.iter().map(|(id, s)| ((s.gateway, s.key.key().clone()), id)).collect();
        series.iter().for_each(|(_, s)| catalog.adjust_series_count(s.gateway, 1));
        for epoch in &epochs {
            *catalog.epoch_counts.entry(epoch.gateway).or_default() += 1;
            if let Some(gateway) = gateways.get(epoch.gateway as usize) {
                *catalog.site_epochs.entry(gateway.id.site.clone()).or_default() += 1;
            }
        }
        catalog.changed_usages.note_all(gateways.len());
        (catalog.gateways, catalog.epochs, catalog.series) = (gateways, epochs, series);
        for number in 0..catalog.epochs.len() as u32 {
            catalog.refresh_gateway(number);
        }
        for (epoch, number) in catalog.epochs.iter().zip(0..) {
            for shard in epoch.shards.iter().filter(|shard| !shard.gaps.is_empty()) {
                let lost = gaps::batches(&shard.gaps);
                catalog.lost_batches = catalog.lost_batches.saturating_add(lost);
                catalog.gapped.entry(epoch.gateway).or_default().insert(number);
            }
        }
        catalog.dirty = Dirty::default();
        catalog
    }

    /// Number of a known epoch.
    pub(in crate::store) fn find_epoch(&self, gateway: &GatewayId, id: u64) -> Option<u32> {
        let gateway = *self.gateway_numbers.get(gateway)?;
        self.epoch_numbers.get(&(gateway, id)).copied()
    }

    /// State of an epoch.
    pub(in crate::store) fn epoch(&self, number: u32) -> Option<&EpochState> {
        self.epochs.get(number as usize)
    }

    /// Number of an epoch, added if it is new; its number of shards may change from one start to the next.
    pub(in crate::store) fn intern_epoch(&mut self, epoch: &GatewayEpoch) -> u32 {
        let gateway = match self.gateway_numbers.get(&epoch.gateway) {
            Some(number) => *number,
            None => {
                let number = self.gateways.len() as u32;
                self.gateways.push(Gateway::new(epoch.gateway.clone()));
                self.gateway_numbers.insert(epoch.gateway.clone(), number);
                self.dirty.gateways.insert(number);
                self.changed_usages.note(number);
                number
            }
        };
        if let Some(&number) = self.epoch_numbers.get(&(gateway, epoch.id)) {
            let of_names = |known: &EpochState| known.epoch.created_ms == i64::MIN;
            let mut created_ms = epoch.created_ms;
            if self.epoch(number).is_some_and(of_names) {
                created_ms = self.new_epoch_created_ms(gateway, epoch);
            }
            if let Some(known) = self.epochs.get_mut(number as usize) {
                let known = &mut known.epoch;
                let seen = (created_ms.max(known.created_ms), epoch.shards);
                if seen != (known.created_ms, known.shards) {
                    (known.created_ms, known.shards) = seen;
                    self.dirty.epochs.insert(number);
                    self.refresh_gateway(number);
                }
            }
            return number;
        }
        self.add_epoch(gateway, epoch)
    }

    /// Adds an epoch, with everything it reported before it delivered anything.
    fn add_epoch(&mut self, gateway: u32, epoch: &GatewayEpoch) -> u32 {
        let number = self.epochs.len() as u32;
        let before = self.gateways.get(gateway as usize).and_then(|gateway| gateway.present);
        let created_ms = self.new_epoch_created_ms(gateway, epoch);
        let known = self.provisional.take(&epoch.gateway, epoch.id);
        self.epochs.push(EpochState {
            gateway,
            epoch: GatewayEpoch { created_ms, ..runs::without_run(epoch) },
            shards: Vec::new(),
            unknown: false,
            open: known.as_ref().is_some_and(|known| known.open),
            forgotten: 0,
            concurrent: false,
        });
        self.epoch_numbers.insert((gateway, epoch.id), number);
        if known.as_ref().is_some_and(|known| known.open) {
            self.open.insert((gateway, number));
        }
        *self.epoch_counts.entry(gateway).or_default() += 1;
        *self.site_epochs.entry(epoch.gateway.site.clone()).or_default() += 1;
        self.dirty.epochs.insert(number);
        self.refresh_gateway(number);
        if let Some(before) = before.filter(|before| self.epoch(*before).is_some_and(|before| before.open)) {
            self.note_concurrent(before);
        }
        for (state, shard) in known.into_iter().flat_map(|known| known.shards).zip(0..) {
            self.change_shard(number, shard, |known, _| *known = state);
        }
        number
    }

    /// Number of epochs of a gateway.
    pub(in crate::store) fn epochs_of(&self, gateway: &GatewayId) -> u64 {
        let number = self.gateway_numbers.get(gateway);
        number.and_then(|number| self.epoch_counts.get(number)).copied().unwrap_or(0)
    }

    /// Number of epochs of the gateways of a site.
    pub(in crate::store) fn epochs_of_site(&self, site: &Name) -> u64 {
        self.site_epochs.get(site).copied().unwrap_or(0)
    }

    /// Number of epochs of the gateway that has the most.
    pub(in crate::store) fn epochs_most(&self) -> u64 {
        self.epoch_counts.values().copied().max().unwrap_or(0)
    }

    /// Highest applied batch number of a shard; 0: none.
    pub(in crate::store) fn delivered(&self, number: u32, shard: u32) -> u64 {
        self.epoch(number).and_then(|o| o.shards.get(shard as usize)).map_or(0, |shard| shard.number)
    }

    /// Highest applied batch number of a shard, and the time up to which it has delivered.
    pub(in crate::store) fn delivered_to(&self, number: u32, shard: u32) -> (u64, Option<Timestamp>) {
        let shard = self.epoch(number).and_then(|epoch| epoch.shards.get(shard as usize));
        shard.map_or((0, None), |shard| (shard.number, shard.watermark))
    }

    /// Records an applied batch of a shard; its history describes the batches before it.
    pub(in crate::store) fn advance(
        &mut self,
        number: u32,
        shard: u32,
        batch: u64,
        watermark: Option<Timestamp>,
        history: &History,
    ) {
        self.note_concurrent(number);
        self.change_shard(number, shard, |known, gaps_max| known.record(batch, watermark, history, gaps_max));
    }

    /// Records that a shard has closed and delivered everything up to a watermark.
    pub(in crate::store) fn progress(&mut self, number: u32, report: &ProgressReport) {
        self.note_concurrent(number);
        self.change_shard(number, report.shard, |known, gaps_max| known.record_progress(report, gaps_max));
    }

    /// Assumes that a shard with unknown delivered batches has delivered everything up to this one.
    pub(in crate::store) fn assume_delivered(&mut self, number: u32, shard: u32, batch: u64) {
        self.change_shard(number, shard, |known, _| known.number = known.number.max(batch));
    }

    pub(in crate::store) fn change_shard(
        &mut self,
        number: u32,
        shard: u32,
        change: impl FnOnce(&mut Shard, usize),
    ) {
        let Some(epoch) = self.epochs.get_mut(number as usize) else { return };
        let shards = epoch.shards.len().max(shard as usize + 1).max(epoch.epoch.shards as usize);
        let gateway = epoch.gateway;
        let Some(known) = epoch.shard_mut(shard) else { return };
        let before = known.clone();
        change(known, gaps_max(shards));
        if *known == before {
            return;
        }
        let (lost, lost_before) = (gaps::batches(&known.gaps), gaps::batches(&before.gaps));
        self.lost_batches = self.lost_batches.saturating_sub(lost_before).saturating_add(lost);
        if !known.gaps.is_empty() {
            self.gapped.entry(gateway).or_default().insert(number);
        }
        self.dirty.shards.insert(number);
        self.refresh_gateway(number);
    }

    /// Updates a gateway after a change of one of its epochs.
    fn refresh_gateway(&mut self, number: u32) {
        let Some(changed) = self.epochs.get(number as usize) else { return };
        let Some(gateway) = self.gateways.get_mut(changed.gateway as usize) else { return };
        let present = gateway.present.and_then(|present| self.epochs.get(present as usize));
        if present.is_none_or(|present| creation_order(present) < creation_order(changed)) {
            gateway.present = Some(number);
            self.dirty.gateways.insert(changed.gateway);
            self.changed_usages.note(changed.gateway);
        }
        if gateway.present == Some(number) {
            // An epoch begun because a folder went back may lag behind: what it has not closed is not complete.
            let watermark = watermark_of(changed).or(gateway.watermark);
            if gateway.watermark != watermark {
                gateway.watermark = watermark;
                self.dirty.gateways.insert(changed.gateway);
            }
        }
    }

    /// Number of a series, added if it is new and there is `room`; else `None`. Caches the identifier in the series
    /// for later lookups.
    pub(in crate::store) fn intern_series(
        &mut self,
        gateway: u32,
        key: &SharedSeries,
        window: Window,
        room: bool,
    ) -> Option<u32> {
        let cached = key.cached_id();
        let id = cached as u32;
        if cached >> 32 == u64::from(self.token.0)
            && self.series.get(id).is_some_and(|s| s.gateway == gateway)
        {
            return Some(id);
        }
        let id = self.find_or_add_series(gateway, key, window, room)?;
        key.set_cached_id(u64::from(self.token.0) << 32 | u64::from(id));
        Some(id)
    }

    /// Marks the record of a series' group to be written.
    fn mark_dirty(&mut self, id: u32) {
        if let Some((_, dirty)) = self.series.get_mut(id)
            && !std::mem::replace(dirty, true)
        {
            self.dirty.groups.insert(group_of(id));
        }
    }

    /// Records a window of a series that an epoch delivered, and the time of its newest reading.
    pub(in crate::store) fn note_window(&mut self, id: u32, epoch: u32, window: Window, newest: Timestamp) {
        let Some((series, dirty)) = self.series.get_mut(id) else { return };
        let before = (series.first, series.last, series.end, series.newest, series.epoch);
        series.first = series.first.min(window.start());
        series.last = series.last.max(window.start());
        series.end = series.end.max(window.end());
        series.newest = series.newest.max(newest);
        series.epoch = Some(epoch);
        let changed = before != (series.first, series.last, series.end, series.newest, series.epoch);
        if changed && !std::mem::replace(dirty, true) {
            self.dirty.groups.insert(group_of(id));
        }
    }

    /// Description of a group of series, for people.
    pub(in crate::store) fn group_name(&self, group: u32) -> String {
        let Some(known) = self.series.group(group) else { return "not known".to_owned() };
        let Some((_, first)) = known.series().next() else { return "none".to_owned() };
        let gateway = self.gateways.get(first.gateway as usize).map(|gateway| gateway.id.to_string());
        let gateway = gateway.unwrap_or_default();
        match known.len() {
            1 => format!("{} of {gateway}", first.key.key()),
            count => format!("{} of {gateway}, and {} more", first.key.key(), count - 1),
        }
    }
}

/// Sort key: the greatest of a gateway's epochs is the present one.
pub(in crate::store) fn creation_order(epoch: &EpochState) -> (i64, u64) {
    (epoch.epoch.created_ms, epoch.epoch.id)
}

/// The time up to which all shards of an epoch have closed and delivered; `None` until each of them has.
pub(in crate::store) fn watermark_of(epoch: &EpochState) -> Option<Timestamp> {
    let shards =
        (0..epoch.epoch.shards.min(SHARDS_MAX) as usize).map(|index| epoch.shards.get(index)?.watermark);
    shards.min().flatten()
}

#[cfg(test)]
mod tests;
