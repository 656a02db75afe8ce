//! Runs and epochs in the catalog: who delivered, whose names partials have, and who delivers now.

use catchment_proto::batch::SHARDS_MAX;

use super::{
    super::{Delivered, Origin, runs::RunDelivered},
    Catalog, Shard, watermark_of,
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

    /// An origin has a stream, or has none any more. One that begins while no other of its gateway delivers is the present one,
    /// whatever the clocks said when they were created: a clock that was wrong once must not keep a dead epoch in its place.
    pub(in crate::store) fn set_open(&mut self, number: u32, open: bool) {
        let Some(origin) = self.origins.get_mut(number as usize) else { return };
        origin.open = open;
        let (at, watermark) = (origin.gateway, watermark_of(origin));
        let alone = (0..).zip(&self.origins).all(|(other, o)| other == number || o.gateway != at || !o.open);
        let Some(gateway) = self.gateways.get_mut(at as usize) else { return };
        if open && alone && gateway.present != Some(number) {
            gateway.present = Some(number);
            gateway.watermark = watermark.or(gateway.watermark);
            self.dirty.gateways.insert(at);
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
        let index = shard.min(SHARDS_MAX - 1) as usize;
        if origin.shards.len() <= index {
            origin.shards.resize(index + 1, Shard::default());
        }
        if let Some(shard) = origin.shards.get_mut(index) {
            shard.runs.note(delivered);
            self.dirty.shards.insert(number);
        }
    }
}

/// An origin without its run: runs are kept by shard.
pub(super) fn of_any_run(origin: &Origin) -> Origin {
    Origin { run: 0, previous_runs: Default::default(), ..origin.clone() }
}
