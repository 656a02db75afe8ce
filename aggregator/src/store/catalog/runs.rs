//! Runs and epochs in the catalog: which run delivered, which epoch a partial's name refers to, and which epoch is
//! present.

use super::Catalog;
use crate::store::{Delivered, GatewayEpoch, RunDelivered};

impl Catalog {
    /// Number of the epoch that a batch's partial names belong to: an earlier epoch of the same gateway. An unknown
    /// one is added as older than all others, so that it never becomes the present one.
    pub(in crate::store) fn intern_names_epoch(&mut self, epoch: u32, id: u64) -> u32 {
        let Some(known) = self.epoch(epoch) else { return epoch };
        if id == 0 || id == known.epoch.id {
            return epoch;
        }
        if let Some(&number) = self.epoch_numbers.get(&(known.gateway, id)) {
            return number;
        }
        let earlier = GatewayEpoch { id, created_ms: i64::MIN, ..known.epoch.clone() };
        self.intern_epoch(&earlier)
    }

    /// Creation time of an epoch that is seen for the first time. A run begins an epoch because it must, so the epoch
    /// is newer than the previous ones, whatever the gateway's clock said: otherwise a clock that was wrong once
    /// would keep a dead epoch present.
    pub(super) fn new_epoch_created_ms(&self, gateway: u32, epoch: &GatewayEpoch) -> i64 {
        let claimed = epoch.created_ms;
        let known = self.gateways.get(gateway as usize).and_then(|gateway| gateway.present);
        match known.and_then(|present| self.epoch(present)).filter(|_| epoch.run != 0) {
            Some(present) => claimed.max(present.epoch.created_ms.saturating_add(1)),
            None => claimed,
        }
    }

    /// Records whether an epoch has a stream.
    pub(super) fn set_open(&mut self, number: u32, open: bool) {
        let Some(epoch) = self.epochs.get_mut(number as usize) else { return };
        epoch.open = open;
        match open {
            true => self.open.insert((epoch.gateway, number)),
            false => self.open.remove(&(epoch.gateway, number)),
        };
    }

    /// What a shard has delivered, and by which runs.
    pub(in crate::store) fn delivered_by(&self, number: u32, shard: u32) -> Delivered {
        let known = self.epoch(number).and_then(|epoch| epoch.shards.get(shard as usize));
        known.map_or_else(Delivered::default, |shard| Delivered {
            number: shard.number,
            runs: shard.runs.iter().collect(),
        })
    }

    /// Records that a run delivered a batch; one that was applied before changes nothing.
    pub(in crate::store) fn note_run(&mut self, number: u32, shard: u32, delivered: RunDelivered) {
        if delivered.number <= self.delivered(number, shard) {
            return;
        }
        let Some(epoch) = self.epochs.get_mut(number as usize) else { return };
        if let Some(shard) = epoch.shard_mut(shard) {
            shard.runs.note(delivered);
            self.dirty.shards.insert(number);
        }
    }
}

/// An epoch without its runs, which are kept by shard.
pub(super) fn without_run(epoch: &GatewayEpoch) -> GatewayEpoch {
    GatewayEpoch { run: 0, previous_runs: Default::default(), ..epoch.clone() }
}
