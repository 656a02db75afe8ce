//! Epochs that have begun a stream and delivered nothing: what they say of themselves, in memory alone.
//!
//! A Start costs its sender nothing, so it changes nothing that lasts. An epoch has its number, and its place within the bounds,
//! with the first batch of it that is applied; what it said before goes along. Bounded by [`EPOCHS_MAX`] a gateway and
//! [`GATEWAYS_MAX`] gateways: beyond, those that began longest ago are forgotten, which say it again on their next stream.

use std::collections::BTreeMap;

use catchment_proto::{GatewayId, batch::SHARDS_MAX};

use super::{
    super::{Origin, Report},
    Catalog, OriginState, Shard, age, gaps,
    runs::of_any_run,
    watermark_of,
};

/// Epochs of one gateway that are remembered: as many as may have streams at once.
const EPOCHS_MAX: usize = 4;
/// Gateways of which some are remembered: more than have connections.
const GATEWAYS_MAX: usize = 16_384;
/// Number of a gateway that has none yet.
const NO_NUMBER: u32 = u32::MAX;

/// The visitors of a catalog.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    /// Of each gateway in the order in which they began.
    gateways: BTreeMap<GatewayId, Vec<Visitor>>,
    begun: u64,
}

#[derive(Debug)]
struct Visitor {
    number: u64,
    state: OriginState,
}

impl Visitors {
    pub(super) fn of(&self, gateway: &GatewayId) -> impl Iterator<Item = &OriginState> {
        self.gateways.get(gateway).into_iter().flatten().map(|visitor| &visitor.state)
    }

    /// The gateways that have some.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &GatewayId> {
        self.gateways.keys()
    }

    /// The newest created of a gateway.
    pub(super) fn newest(&self, gateway: &GatewayId) -> Option<&OriginState> {
        self.of(gateway).max_by_key(|state| age(state))
    }

    fn get_mut(&mut self, origin: &Origin) -> Option<&mut OriginState> {
        let all = self.gateways.get_mut(&origin.gateway)?;
        let found = all.iter_mut().find(|visitor| visitor.state.origin.epoch == origin.epoch);
        found.map(|visitor| &mut visitor.state)
    }

    fn add(&mut self, state: OriginState) {
        self.begun += 1;
        let all = self.gateways.entry(state.origin.gateway.clone()).or_default();
        all.push(Visitor { number: self.begun, state });
        if all.len() > EPOCHS_MAX {
            let without_stream = all.iter().position(|visitor| !visitor.state.open);
            all.remove(without_stream.unwrap_or(0));
        }
        if self.gateways.len() > GATEWAYS_MAX {
            let last = |all: &Vec<Visitor>| all.last().map(|visitor| visitor.number);
            let oldest = self.gateways.iter().min_by_key(|(_, all)| last(all));
            let oldest = oldest.map(|(gateway, _)| gateway.clone());
            oldest.and_then(|gateway| self.gateways.remove(&gateway));
        }
    }

    /// An epoch is taken in: what was known of it.
    pub(super) fn take(&mut self, gateway: &GatewayId, epoch: u64) -> Option<OriginState> {
        let all = self.gateways.get_mut(gateway)?;
        let at = all.iter().position(|visitor| visitor.state.origin.epoch == epoch)?;
        let visitor = all.remove(at);
        if all.is_empty() {
            self.gateways.remove(gateway);
        }
        Some(visitor.state)
    }

    /// Batches in gaps.
    pub(super) fn lost_batches(&self) -> u64 {
        let all = self.gateways.values().flatten().flat_map(|visitor| &visitor.state.shards);
        all.fold(0, |sum, shard| sum.saturating_add(gaps::batches(&shard.gaps)))
    }
}

impl Catalog {
    /// A stream of an epoch begins.
    pub(in crate::store) fn begin(&mut self, origin: &Origin) {
        if self.find_origin(&origin.gateway, origin.epoch).is_some() {
            // Its number of shards may have changed.
            let number = self.take_origin(origin);
            self.set_open(number, true);
        } else {
            self.visitor(origin).open = true;
        }
    }

    /// An epoch has no stream any more.
    pub(in crate::store) fn end(&mut self, origin: &Origin) {
        match self.find_origin(&origin.gateway, origin.epoch) {
            Some(number) => self.set_open(number, false),
            None => {
                if let Some(visitor) = self.visitors.get_mut(origin) {
                    visitor.open = false;
                }
            }
        }
    }

    /// What is known of an epoch that has delivered nothing.
    fn visitor(&mut self, origin: &Origin) -> &mut OriginState {
        let number = self.gateway_numbers.get(&origin.gateway).copied().unwrap_or(NO_NUMBER);
        if self.visitors.get_mut(origin).is_none() {
            let mut epoch_created_ms = self.created_first(number, origin);
            if let Some(newest) = self.visitors.newest(&origin.gateway).filter(|_| origin.run != 0) {
                epoch_created_ms = epoch_created_ms.max(newest.origin.epoch_created_ms.saturating_add(1));
            }
            self.visitors.add(OriginState {
                gateway: number,
                origin: Origin { epoch_created_ms, ..of_any_run(origin) },
                shards: Vec::new(),
                unknown: false,
                open: false,
                forgotten: 0,
                beside: false,
            });
        }
        let visitor = self.visitors.get_mut(origin).expect("it was added");
        visitor.origin.shards = origin.shards;
        visitor
    }

    /// When an epoch that has delivered nothing was created, as far as it began here.
    pub(in crate::store) fn visitor_created_ms(&self, origin: &Origin) -> Option<i64> {
        let mut all = self.visitors.of(&origin.gateway);
        all.find(|state| state.origin.epoch == origin.epoch).map(|state| state.origin.epoch_created_ms)
    }

    /// A shard of an epoch says how far it is, see [`Catalog::progress`].
    pub(in crate::store) fn progress_of(&mut self, origin: &Origin, report: &Report) {
        if self.find_origin(&origin.gateway, origin.epoch).is_some() {
            let number = self.take_origin(origin);
            return self.progress(number, report);
        }
        let visitor = self.visitor(origin);
        let most = gaps::gaps_max(visitor.shards.len().max(visitor.origin.shards as usize));
        if let Some(known) = visitor.shard_mut(report.shard) {
            known.progress(report, most);
        }
        self.refresh_watermark(&origin.gateway);
    }

    /// A gateway is as far as its newest epoch, also where that has delivered nothing.
    fn refresh_watermark(&mut self, gateway: &GatewayId) {
        let Some(&number) = self.gateway_numbers.get(gateway) else { return };
        let Some(newest) = self.visitors.newest(gateway) else { return };
        let Some(watermark) = watermark_of(newest) else { return };
        let Some(known) = self.gateways.get_mut(number as usize) else { return };
        let present = known.present.and_then(|present| self.origins.get(present as usize));
        if present.is_none_or(|present| age(present) < age(newest)) && known.watermark != Some(watermark) {
            known.watermark = Some(watermark);
            self.dirty.gateways.insert(number);
        }
    }

    /// Epochs of a gateway that have delivered nothing.
    pub(in crate::store) fn visiting(&self, gateway: &GatewayId) -> impl Iterator<Item = &OriginState> {
        self.visitors.of(gateway)
    }

    /// Those of gateways that have never delivered anything, the newest of each.
    pub(in crate::store) fn strangers(&self) -> impl Iterator<Item = &OriginState> {
        let gateways =
            self.visitors.gateways().filter(|gateway| !self.gateway_numbers.contains_key(*gateway));
        gateways.filter_map(|gateway| self.visitors.newest(gateway))
    }

    /// An epoch delivers, or says how far it is; where there is a newer one, that is kept.
    pub(super) fn note_beside(&mut self, number: u32) {
        let Some(origin) = self.origins.get_mut(number as usize) else { return };
        let present = self.gateways.get(origin.gateway as usize).and_then(|gateway| gateway.present);
        if present != Some(number) && !origin.beside {
            origin.beside = true;
            self.dirty.origins.insert(number);
        }
    }

    /// See [`super::super::Store::newer_epoch`].
    pub(in crate::store) fn newer_epoch(&self, origin: &Origin) -> Option<u64> {
        let asking = self.origin(self.find_origin(&origin.gateway, origin.epoch)?)?;
        let present = self.gateways.get(asking.gateway as usize)?.present?;
        let newest = self.origin(present)?;
        // One that has delivered beside it is no folder that came back: both of them live.
        let came_back = age(newest) > age(asking) && !newest.open && !asking.beside;
        came_back.then_some(newest.origin.epoch)
    }

    /// Batches that gateways made and this store lacks.
    pub(in crate::store) fn lost_batches(&self) -> u64 {
        self.lost_batches.saturating_add(self.visitors.lost_batches())
    }
}

impl OriginState {
    /// A shard, added where it was not heard of.
    pub(super) fn shard_mut(&mut self, shard: u32) -> Option<&mut Shard> {
        let index = shard.min(SHARDS_MAX - 1) as usize;
        if self.shards.len() <= index {
            self.shards.resize(index + 1, Shard::default());
        }
        self.shards.get_mut(index)
    }
}
