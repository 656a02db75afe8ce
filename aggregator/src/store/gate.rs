//! The gate: which batches go into the journal, in what order, and what a sender is told of the others.

use catchment_journal::{AppendError, Disk, Position};
use catchment_proto::{GatewayId, SeriesKey};

use super::{
    Origin, StoreError,
    apply::{Checked, State},
    entry, epochs,
    inner::{Admitted, Inner, Newest, lock, read},
};

/// What became of a batch at the gate.
pub(super) enum Admission {
    /// It is in the journal at this position, now or since before.
    At(Position),
    /// It was durable before.
    Before,
    /// The journal takes no more before its next commit.
    Later(Box<Checked>),
}

impl<D: Disk> Inner<D> {
    /// Whether the store still acknowledges.
    pub(super) fn healthy(&self) -> Result<(), StoreError> {
        self.failure().map_or(Ok(()), |reason| Err(StoreError::Poisoned(reason)))
    }

    /// The epochs of a batch that are new and have places: its own, and the one that its names belong to (0: its own).
    ///
    /// # Errors
    /// [`StoreError::TooManyEpochs`].
    pub(super) fn epochs_fit(&self, origin: &Origin, names_epoch: u64) -> Result<Vec<u64>, StoreError> {
        let catalog = &read(&self.state).catalog;
        let coming = &lock(&self.gate).coming;
        let new = epochs::new_epochs(catalog, coming, &origin.gateway, [origin.epoch, names_epoch]);
        let fits = self.config.epoch_bounds().fits(catalog, coming, &origin.gateway, new.len() as u64);
        fits.map_err(|message| StoreError::TooManyEpochs { message })?;
        Ok(new)
    }

    /// Whether a gateway may begin another epoch.
    pub(super) fn has_room_for_an_epoch(&self, origin: &Origin) -> bool {
        let catalog = &read(&self.state).catalog;
        let coming = &lock(&self.gate).coming;
        self.config.epoch_bounds().fits(catalog, coming, &origin.gateway, 1).is_ok()
    }

    /// A stream of an epoch lives from here on.
    pub(super) fn attach(&self, origin: &Origin) {
        let mut gate = lock(&self.gate);
        let first = Newest { run: origin.run, streams: 0 };
        gate.newest.entry((origin.gateway.clone(), origin.epoch)).or_insert(first).streams += 1;
    }

    /// A stream of an epoch is over. Answers whether there is none left: nothing that it brought is on its way then, so no run
    /// has to be kept out.
    pub(super) fn detach(&self, origin: &Origin) -> bool {
        let mut gate = lock(&self.gate);
        let key = (origin.gateway.clone(), origin.epoch);
        let Some(newest) = gate.newest.get_mut(&key) else { return true };
        newest.streams = newest.streams.saturating_sub(1);
        let none_left = newest.streams == 0;
        if none_left {
            gate.newest.remove(&key);
        }
        none_left
    }

    /// Only the run that began last delivers: nothing of another one is appended after this. The position up to which others did,
    /// and whether another one was before.
    pub(super) fn fence(&self, origin: &Origin) -> (Position, bool) {
        let mut gate = lock(&self.gate);
        let newest = gate.newest.entry((origin.gateway.clone(), origin.epoch));
        let newest = newest.or_insert(Newest { run: origin.run, streams: 0 });
        let before = std::mem::replace(&mut newest.run, origin.run);
        (self.log.end(), before != origin.run)
    }

    /// Whether no other run of the same folder has begun since.
    pub(super) fn is_newest(&self, origin: &Origin) -> bool {
        let newest = &lock(&self.gate).newest;
        newest.get(&(origin.gateway.clone(), origin.epoch)).is_none_or(|newest| newest.run == origin.run)
    }

    /// Appends a batch to the journal, unless its number says that it is there or must not follow. The caller holds
    /// its turn, so nobody else appends meanwhile.
    pub(super) fn admit(&self, mut checked: Box<Checked>, first: bool) -> Result<Admission, StoreError> {
        let new_epochs = self.epochs_fit(checked.origin(), checked.batch().names_epoch)?;
        if !self.is_newest(checked.origin()) {
            return Err(StoreError::Superseded);
        }
        let (shard, number) = (checked.batch().shard, checked.batch().number);
        let key = (checked.origin().gateway.clone(), checked.origin().epoch);
        let applied = {
            let catalog = &read(&self.state).catalog;
            catalog.find_origin(&key.0, key.1).map_or(0, |origin| catalog.delivered(origin, shard))
        };
        let waiting = {
            let mut gate = lock(&self.gate);
            if gate.closed {
                return Err(stopping());
            }
            let last = gate.admitted.get(&key).and_then(|shards| shards.get(shard as usize)).copied();
            let waiting = last.filter(|last| last.number > applied);
            if number <= waiting.map_or(applied, |last| last.number) {
                gate.duplicates += 1;
                let waits = waiting.filter(|_| number > applied);
                return Ok(waits.map_or(Admission::Before, |last| Admission::At(last.position)));
            }
            waiting
        };
        let highest = waiting.map_or(applied, |last| last.number);
        if number > highest.saturating_add(1) && !first {
            return Err(StoreError::Gap { shard, highest, got: number });
        }
        checked.set_follows(highest);
        let origin = checked.origin().clone();
        let fresh = self.take_places(&mut checked)?;
        let appended = self.append(key, checked, &new_epochs);
        if !matches!(appended, Ok(Admission::At(_))) {
            lock(&self.gate).quota.arrived(&origin.gateway, &fresh);
        }
        let admission = appended?;
        if number > highest.saturating_add(1) && matches!(admission, Admission::At(_)) {
            tracing::warn!(
                gateway = %origin.gateway, epoch = origin.epoch, shard, highest, number,
                "a gateway goes on beyond the next batch: this store has lost what it once acknowledged, or never had it"
            );
        }
        Ok(admission)
    }

    /// Takes places for the series of a batch that are new, before anything of it is kept.
    fn take_places(&self, checked: &mut Checked) -> Result<Vec<SeriesKey>, StoreError> {
        let state = read(&self.state);
        let gateway = &checked.origin().gateway;
        let new = state.catalog.unknown(gateway, &checked.batch().series);
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let quota = &mut lock(&self.gate).quota;
        let new: Vec<SeriesKey> =
            new.into_iter().filter(|key| !quota.is_coming(gateway, key)).cloned().collect();
        let count = new.len() as u64;
        if count > state.catalog.numbers_left() {
            let message = "this store has used all numbers that it has for series".to_owned();
            return Err(StoreError::TooManySeries { message });
        }
        quota
            .fits(&state.catalog.usages(), gateway, count)
            .map_err(|message| StoreError::TooManySeries { message })?;
        quota.reserve(gateway, &new);
        checked.fresh.clone_from(&new);
        Ok(new)
    }

    /// Whether the new series of a batch of live states have places. The caller holds the state.
    pub(super) fn has_places(&self, state: &State, checked: &Checked) -> bool {
        let gateway = &checked.origin().gateway;
        let new = state.catalog.unknown(gateway, &checked.batch().series);
        if new.is_empty() {
            return true;
        }
        let quota = &lock(&self.gate).quota;
        let count = new.into_iter().filter(|key| !quota.is_coming(gateway, key)).count() as u64;
        count <= state.catalog.numbers_left() && quota.fits(&state.catalog.usages(), gateway, count).is_ok()
    }

    /// The most series that the data folder of an origin may hold. Reports bounds that are nearly full.
    pub(super) fn series_budget(&self, origin: &Origin) -> u64 {
        let state = read(&self.state);
        let usages = state.catalog.usages();
        let quota = &mut lock(&self.gate).quota;
        for warning in quota.warnings(&usages, &origin.gateway) {
            tracing::warn!(gateway = %origin.gateway, warning, "series become many");
        }
        quota.budget(&usages, &origin.gateway, origin.epoch)
    }

    fn append(
        &self,
        key: (GatewayId, u64),
        checked: Box<Checked>,
        new_epochs: &[u64],
    ) -> Result<Admission, StoreError> {
        let bytes = entry::encode(checked.entry());
        let (shard, number) = (checked.batch().shard as usize, checked.batch().number);
        let mut gate = lock(&self.gate);
        if gate.newest.get(&key).is_some_and(|newest| newest.run != checked.origin().run) {
            return Err(StoreError::Superseded);
        }
        let position = match self.log.append(&bytes) {
            Ok(position) => position,
            Err(AppendError::BufferFull) => return Ok(Admission::Later(checked)),
            Err(AppendError::Full(reason)) => {
                self.signal.ask(|request| request.flush = true);
                return Err(StoreError::Full(reason.to_string()));
            }
            Err(AppendError::TooLarge { bytes, max }) => {
                let reason =
                    format!("the batch takes {bytes} bytes in the journal, at most {max} are possible");
                return Err(StoreError::Body { entry: 0, reason });
            }
            Err(AppendError::Poisoned(reason)) => return Err(StoreError::Poisoned(reason)),
            Err(AppendError::Closed) => return Err(stopping()),
        };
        gate.coming.add(&key.0, new_epochs);
        let shards = gate.admitted.entry(key).or_default();
        if shards.len() <= shard {
            shards.resize(shard + 1, Admitted::default());
        }
        if let Some(last) = shards.get_mut(shard) {
            *last = Admitted { number, position };
        }
        gate.pending_bytes += checked.bytes();
        gate.pending.push_back((position, *checked));
        Ok(Admission::At(position))
    }
}

/// What senders are told once the store closes.
pub(super) fn stopping() -> StoreError {
    StoreError::Full("the aggregator is stopping".to_owned())
}

#[cfg(test)]
mod tests;
