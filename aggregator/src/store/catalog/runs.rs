//! Runs and epochs in the catalog: who delivered, whose names partials have, and who delivers now.

use super::{
    super::{Delivered, Origin, runs::RunDelivered},
    Catalog,
};

impl Catalog {
    /// Number of an origin that names of partials belong to: an earlier epoch of the gateway of another. One that is not known
    /// yet is taken in as older than all, so that it is never the present one.
    pub(in crate::store) fn take_names(&mut self, origin: u32, epoch: u64) -> u32 {
        let Some(known) = self.origin(origin) else { return origin };
        if epoch == 0 || epoch == known.origin.epoch {
            return origin;
        }
        if let Some(&number) = self.origin_numbers.get(&(known.gateway, epoch)) {
            return number;
        }
        let earlier = Origin { epoch, epoch_created_ms: i64::MIN, ..known.origin.clone() };
        self.take_origin(&earlier)
    }

    /// When an epoch that is seen for the first time was created. A run begins one because it has to, so it is newer than those
    /// before, whatever the gateway's clock said: else a clock that was wrong once would keep a dead epoch the present one.
    pub(super) fn created_first(&self, gateway: u32, origin: &Origin) -> i64 {
        let claimed = origin.epoch_created_ms;
        let known = self.gateways.get(gateway as usize).and_then(|gateway| gateway.present);
        match known.and_then(|present| self.origin(present)).filter(|_| origin.run != 0) {
            Some(present) => claimed.max(present.origin.epoch_created_ms.saturating_add(1)),
            None => claimed,
        }
    }

    /// An origin has a stream, or has none any more.
    pub(super) fn set_open(&mut self, number: u32, open: bool) {
        if let Some(origin) = self.origins.get_mut(number as usize) {
            origin.open = open;
        }
    }

    /// How far a shard was delivered, and by whom.
    pub(in crate::store) fn delivered_by(&self, number: u32, shard: u32) -> Delivered {
        let known = self.origin(number).and_then(|origin| origin.shards.get(shard as usize));
        known.map_or_else(Delivered::default, |shard| Delivered {
            number: shard.number,
            runs: shard.runs.iter().collect(),
        })
    }

    /// A run delivered a batch; one that was applied before changes nothing.
    pub(in crate::store) fn note_run(&mut self, number: u32, shard: u32, delivered: RunDelivered) {
        if delivered.number <= self.delivered(number, shard) {
            return;
        }
        let Some(origin) = self.origins.get_mut(number as usize) else { return };
        if let Some(shard) = origin.shard_mut(shard) {
            shard.runs.note(delivered);
            self.dirty.shards.insert(number);
        }
    }
}

/// An origin without its run: runs are kept by shard.
pub(super) fn of_any_run(origin: &Origin) -> Origin {
    Origin { run: 0, previous_runs: Default::default(), ..origin.clone() }
}
