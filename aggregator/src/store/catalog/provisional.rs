//! Epochs that have begun a stream but delivered nothing: their reports are kept in memory only.
//!
//! A Start costs its sender nothing, so it changes nothing durable. An epoch gets its number, and its place within
//! the limits, with the first applied batch; its earlier reports are kept with it. Bounded by [`EPOCHS_MAX`] per
//! gateway and [`GATEWAYS_MAX`] gateways: beyond, those that began longest ago are forgotten, and report again on
//! their next stream.

use std::collections::BTreeMap;

use catchment_proto::{GatewayId, batch::SHARDS_MAX};

use super::{Catalog, EpochState, Shard, creation_order, gaps, runs::without_run, watermark_of};
use crate::store::{GatewayEpoch, ProgressReport};

/// Most epochs remembered per gateway: as many as may have streams at once.
const EPOCHS_MAX: usize = 4;
/// Most gateways with remembered epochs: more than can be connected.
const GATEWAYS_MAX: usize = 16_384;
/// Placeholder for a gateway without a number.
const NO_NUMBER: u32 = u32::MAX;

/// The provisional epochs of a catalog.
#[derive(Debug, Default)]
pub(super) struct ProvisionalEpochs {
    /// By gateway, in the order in which they began.
    gateways: BTreeMap<GatewayId, Vec<ProvisionalEpoch>>,
    begun: u64,
}

#[derive(Debug)]
struct ProvisionalEpoch {
    number: u64,
    state: EpochState,
}

impl ProvisionalEpochs {
    pub(super) fn of(&self, gateway: &GatewayId) -> impl Iterator<Item = &EpochState> {
        self.gateways.get(gateway).into_iter().flatten().map(|known| &known.state)
    }

    /// Gateways with provisional epochs.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &GatewayId> {
        self.gateways.keys()
    }

    /// The newest created epoch of a gateway.
    pub(super) fn newest(&self, gateway: &GatewayId) -> Option<&EpochState> {
        self.of(gateway).max_by_key(|state| creation_order(state))
    }

    fn get_mut(&mut self, epoch: &GatewayEpoch) -> Option<&mut EpochState> {
        let all = self.gateways.get_mut(&epoch.gateway)?;
        let found = all.iter_mut().find(|known| known.state.epoch.id == epoch.id);
        found.map(|known| &mut known.state)
    }

    /// Adds an epoch; returns the gateway that is forgotten because there are too many.
    fn add(&mut self, state: EpochState) -> Option<GatewayId> {
        self.begun += 1;
        let all = self.gateways.entry(state.epoch.gateway.clone()).or_default();
        all.push(ProvisionalEpoch { number: self.begun, state });
        if all.len() > EPOCHS_MAX {
            // Never the new one, the last.
            let without_stream = all.iter().take(EPOCHS_MAX).position(|known| !known.state.open);
            all.remove(without_stream.unwrap_or(0));
        }
        if self.gateways.len() <= GATEWAYS_MAX {
            return None;
        }
        let last = |all: &Vec<ProvisionalEpoch>| all.last().map(|known| known.number);
        let oldest = self.gateways.iter().min_by_key(|(_, all)| last(all));
        let oldest = oldest.map(|(gateway, _)| gateway.clone())?;
        self.gateways.remove(&oldest);
        Some(oldest)
    }

    /// Removes an epoch that is added to the catalog, and returns its state.
    pub(super) fn take(&mut self, gateway: &GatewayId, id: u64) -> Option<EpochState> {
        let all = self.gateways.get_mut(gateway)?;
        let at = all.iter().position(|known| known.state.epoch.id == id)?;
        let known = all.remove(at);
        if all.is_empty() {
            self.gateways.remove(gateway);
        }
        Some(known.state)
    }

    /// Number of batches in gaps.
    pub(super) fn lost_batches(&self) -> u64 {
        let all = self.gateways.values().flatten().flat_map(|known| &known.state.shards);
        all.fold(0, |sum, shard| sum.saturating_add(gaps::batches(&shard.gaps)))
    }
}

impl Catalog {
    /// Begins a stream of an epoch.
    pub(in crate::store) fn begin(&mut self, epoch: &GatewayEpoch) {
        if self.find_epoch(&epoch.gateway, epoch.id).is_some() {
            // Its number of shards may have changed.
            let number = self.intern_epoch(epoch);
            self.set_open(number, true);
        } else {
            self.provisional_epoch(epoch).open = true;
        }
    }

    /// Records that an epoch has no stream any more.
    pub(in crate::store) fn end(&mut self, epoch: &GatewayEpoch) {
        match self.find_epoch(&epoch.gateway, epoch.id) {
            Some(number) => self.set_open(number, false),
            None => {
                if let Some(known) = self.provisional.get_mut(epoch) {
                    known.open = false;
                }
            }
        }
    }

    /// State of an epoch that has delivered nothing, added if it is new.
    fn provisional_epoch(&mut self, epoch: &GatewayEpoch) -> &mut EpochState {
        let number = self.gateway_numbers.get(&epoch.gateway).copied().unwrap_or(NO_NUMBER);
        if self.provisional.get_mut(epoch).is_none() {
            let mut created_ms = self.new_epoch_created_ms(number, epoch);
            if let Some(newest) = self.provisional.newest(&epoch.gateway).filter(|_| epoch.run != 0) {
                created_ms = created_ms.max(newest.epoch.created_ms.saturating_add(1));
            }
            let forgotten = self.provisional.add(EpochState {
                gateway: number,
                epoch: GatewayEpoch { created_ms, ..without_run(epoch) },
                shards: Vec::new(),
                unknown: false,
                open: false,
                forgotten: 0,
                concurrent: false,
            });
            self.changed_usages.note_unnumbered(epoch.gateway.clone());
            forgotten.into_iter().for_each(|gateway| self.changed_usages.note_unnumbered(gateway));
        }
        let known = self.provisional.get_mut(epoch).expect("it was added");
        known.epoch.shards = epoch.shards;
        known
    }

    /// Creation time of an epoch that has delivered nothing, if it began here.
    pub(in crate::store) fn provisional_created_ms(&self, epoch: &GatewayEpoch) -> Option<i64> {
        let mut all = self.provisional.of(&epoch.gateway);
        all.find(|state| state.epoch.id == epoch.id).map(|state| state.epoch.created_ms)
    }

    /// Records the progress of a shard, see [`Catalog::progress`].
    pub(in crate::store) fn progress_of(&mut self, epoch: &GatewayEpoch, report: &ProgressReport) {
        if self.find_epoch(&epoch.gateway, epoch.id).is_some() {
            let number = self.intern_epoch(epoch);
            return self.progress(number, report);
        }
        let known = self.provisional_epoch(epoch);
        let most = gaps::gaps_max(known.shards.len().max(known.epoch.shards as usize));
        if let Some(known) = known.shard_mut(report.shard) {
            known.record_progress(report, most);
        }
        self.refresh_watermark(&epoch.gateway);
    }

    /// Sets a gateway's watermark to that of its newest epoch, even if that has delivered nothing.
    fn refresh_watermark(&mut self, gateway: &GatewayId) {
        let Some(&number) = self.gateway_numbers.get(gateway) else { return };
        let Some(newest) = self.provisional.newest(gateway) else { return };
        let Some(watermark) = watermark_of(newest) else { return };
        let Some(known) = self.gateways.get_mut(number as usize) else { return };
        let present = known.present.and_then(|present| self.epochs.get(present as usize));
        if present.is_none_or(|present| creation_order(present) < creation_order(newest))
            && known.watermark != Some(watermark)
        {
            known.watermark = Some(watermark);
            self.dirty.gateways.insert(number);
        }
    }

    /// Epochs of a gateway that have delivered nothing.
    pub(in crate::store) fn provisional_epochs(
        &self,
        gateway: &GatewayId,
    ) -> impl Iterator<Item = &EpochState> {
        self.provisional.of(gateway)
    }

    /// The newest epoch of each gateway that has never delivered anything.
    pub(in crate::store) fn new_gateways(&self) -> impl Iterator<Item = &EpochState> {
        let gateways =
            self.provisional.gateways().filter(|gateway| !self.gateway_numbers.contains_key(*gateway));
        gateways.filter_map(|gateway| self.provisional.newest(gateway))
    }

    /// Called when an epoch delivers or reports progress: marks it as concurrent if there is a newer epoch.
    pub(super) fn note_concurrent(&mut self, number: u32) {
        let Some(epoch) = self.epochs.get_mut(number as usize) else { return };
        let present = self.gateways.get(epoch.gateway as usize).and_then(|gateway| gateway.present);
        if present != Some(number) && !epoch.concurrent {
            epoch.concurrent = true;
            self.dirty.epochs.insert(number);
        }
    }

    /// See [`crate::store::IngestStore::newer_epoch`].
    pub(in crate::store) fn newer_epoch(&self, epoch: &GatewayEpoch) -> Option<u64> {
        let candidate = self.epoch(self.find_epoch(&epoch.gateway, epoch.id)?)?;
        let present = self.gateways.get(candidate.gateway as usize)?.present?;
        let newest = self.epoch(present)?;
        // An epoch that delivered concurrently is not a folder that came back: both are alive.
        let came_back =
            creation_order(newest) > creation_order(candidate) && !newest.open && !candidate.concurrent;
        came_back.then_some(newest.epoch.id)
    }

    /// Number of batches that gateways made and this store lacks.
    pub(in crate::store) fn lost_batches(&self) -> u64 {
        self.lost_batches.saturating_add(self.provisional.lost_batches())
    }
}

impl EpochState {
    /// A shard, added if it is new.
    pub(super) fn shard_mut(&mut self, shard: u32) -> Option<&mut Shard> {
        let index = shard.min(SHARDS_MAX - 1) as usize;
        if self.shards.len() <= index {
            self.shards.resize(index + 1, Shard::default());
        }
        self.shards.get_mut(index)
    }
}
