//! Admission: which batches go into the journal, in which order, and what the senders of the others get as an answer.

use catchment_journal::{AppendError, Disk, Position};
use catchment_proto::{GatewayId, SeriesKey};

use crate::store::{
    GatewayEpoch, StoreError,
    catalog::epochs,
    embedded::{
        inner::{CurrentRun, Inner, LastAppended},
        locks::{lock, read},
    },
    wal::{
        apply::{CheckedBatch, StoreState},
        entry,
    },
};

/// Outcome of admitting a batch.
pub(in crate::store) enum AdmitOutcome {
    /// It is in the journal at this position, now or already before.
    InJournal(Position),
    /// It was durable already.
    AlreadyDurable,
    /// The journal's buffer is full until its next commit.
    BufferFull(Box<CheckedBatch>),
}

impl<D: Disk> Inner<D> {
    /// Fails if the store acknowledges nothing more.
    pub(in crate::store) fn healthy(&self) -> Result<(), StoreError> {
        self.failure().map_or(Ok(()), |reason| Err(StoreError::Failed(reason)))
    }

    /// Checks that there is room for the new epochs of a batch, and returns them: of its own epoch, and of the one
    /// that its names belong to (0: its own).
    ///
    /// # Errors
    /// [`StoreError::TooManyEpochs`].
    pub(in crate::store) fn check_epochs(
        &self,
        epoch: &GatewayEpoch,
        names_epoch: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let catalog = &read(&self.state).catalog;
        let pending_epochs = &lock(&self.admission).pending_epochs;
        let new = epochs::new_epochs(catalog, pending_epochs, &epoch.gateway, [epoch.id, names_epoch]);
        let fits = self.config.epoch_bounds().fits(catalog, pending_epochs, &epoch.gateway, new.len() as u64);
        fits.map_err(|message| StoreError::TooManyEpochs { message })?;
        Ok(new)
    }

    /// Whether there is room for another epoch of a gateway.
    pub(in crate::store) fn has_room_for_epoch(&self, epoch: &GatewayEpoch) -> bool {
        let catalog = &read(&self.state).catalog;
        let pending_epochs = &lock(&self.admission).pending_epochs;
        self.config.epoch_bounds().fits(catalog, pending_epochs, &epoch.gateway, 1).is_ok()
    }

    /// Records a stream of an epoch.
    pub(in crate::store) fn attach(&self, epoch: &GatewayEpoch) {
        let mut admission = lock(&self.admission);
        let new = CurrentRun { run: epoch.run, streams: 0 };
        admission.current_runs.entry((epoch.gateway.clone(), epoch.id)).or_insert(new).streams += 1;
    }

    /// Records the end of a stream of an epoch. Returns whether it was the last one: nothing of the epoch is in
    /// flight then, so no run needs to be kept out.
    pub(in crate::store) fn detach(&self, epoch: &GatewayEpoch) -> bool {
        let mut admission = lock(&self.admission);
        let key = (epoch.gateway.clone(), epoch.id);
        let Some(current) = admission.current_runs.get_mut(&key) else { return true };
        current.streams = current.streams.saturating_sub(1);
        let none_left = current.streams == 0;
        if none_left {
            admission.current_runs.remove(&key);
        }
        none_left
    }

    /// Lets only this run deliver: nothing of another run is appended after this call. Returns the journal position
    /// up to which others may have appended, and whether another run was current before.
    pub(in crate::store) fn fence(&self, epoch: &GatewayEpoch) -> (Position, bool) {
        let mut admission = lock(&self.admission);
        let current = admission.current_runs.entry((epoch.gateway.clone(), epoch.id));
        let current = current.or_insert(CurrentRun { run: epoch.run, streams: 0 });
        let before = std::mem::replace(&mut current.run, epoch.run);
        (self.log.end(), before != epoch.run)
    }

    /// Whether no other run of the same folder has begun since.
    pub(in crate::store) fn is_current_run(&self, epoch: &GatewayEpoch) -> bool {
        let runs = &lock(&self.admission).current_runs;
        runs.get(&(epoch.gateway.clone(), epoch.id)).is_none_or(|current| current.run == epoch.run)
    }

    /// Appends a batch to the journal, unless its number is known already or skips ahead. The caller holds its turn,
    /// so nobody else appends meanwhile.
    pub(in crate::store) fn admit(
        &self,
        mut checked: Box<CheckedBatch>,
        stream_start: bool,
    ) -> Result<AdmitOutcome, StoreError> {
        let new_epochs = self.check_epochs(checked.epoch(), checked.batch().names_epoch)?;
        if !self.is_current_run(checked.epoch()) {
            return Err(StoreError::Superseded);
        }
        let (shard, number) = (checked.batch().shard, checked.batch().number);
        let key = (checked.epoch().gateway.clone(), checked.epoch().id);
        let (applied, delivered_to) = {
            let catalog = &read(&self.state).catalog;
            let known = catalog.find_epoch(&key.0, key.1);
            known.map_or((0, None), |epoch| catalog.delivered_to(epoch, shard))
        };
        let waiting = {
            let mut admission = lock(&self.admission);
            if admission.closed {
                return Err(stopping());
            }
            let last =
                admission.last_appended.get(&key).and_then(|shards| shards.get(shard as usize)).copied();
            let waiting = last.filter(|last| last.number > applied);
            if number <= waiting.map_or(applied, |last| last.number) {
                admission.duplicates += 1;
                let waits = waiting.filter(|_| number > applied);
                return Ok(
                    waits.map_or(AdmitOutcome::AlreadyDurable, |last| AdmitOutcome::InJournal(last.position))
                );
            }
            waiting
        };
        let highest = waiting.map_or(applied, |last| last.number);
        if number > highest.saturating_add(1) && !stream_start {
            return Err(StoreError::Gap { shard, highest, got: number });
        }
        // Decided here and written down, so that a replay counts the same.
        let delivered_to = delivered_to.max(waiting.and_then(|last| last.delivered_to));
        checked.set_follows(highest, delivered_to);
        let epoch = checked.epoch().clone();
        let new_series = self.reserve_series(&mut checked)?;
        let appended = self.append(key, checked, &new_epochs);
        if !matches!(appended, Ok(AdmitOutcome::InJournal(_))) {
            lock(&self.admission).quota.release(&epoch.gateway, &new_series);
        }
        let outcome = appended?;
        if number > highest.saturating_add(1) && matches!(outcome, AdmitOutcome::InJournal(_)) {
            tracing::warn!(
                gateway = %epoch.gateway, epoch = epoch.id, shard, highest, number,
                "a gateway continues beyond the next batch: this store has lost batches it once acknowledged, or never had them"
            );
        }
        Ok(outcome)
    }

    /// Reserves room for the new series of a batch, before anything of the batch is stored.
    fn reserve_series(&self, checked: &mut CheckedBatch) -> Result<Vec<SeriesKey>, StoreError> {
        let state = read(&self.state);
        let gateway = &checked.epoch().gateway;
        let new = state.catalog.unknown_series(gateway, &checked.batch().series);
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let quota = &mut lock(&self.admission).quota;
        let new: Vec<SeriesKey> =
            new.into_iter().filter(|key| !quota.is_pending(gateway, key)).cloned().collect();
        let count = new.len() as u64;
        if count > state.catalog.series_ids_left() {
            let message = "this store has used all its series numbers".to_owned();
            return Err(StoreError::TooManySeries { message });
        }
        state.catalog.report_usages(quota);
        quota.fits(gateway, count).map_err(|message| StoreError::TooManySeries { message })?;
        quota.reserve(gateway, &new);
        checked.new_series.clone_from(&new);
        Ok(new)
    }

    /// Whether there is room for the new series of a live batch. The caller holds the state lock.
    pub(in crate::store) fn has_room_for_series(&self, state: &StoreState, checked: &CheckedBatch) -> bool {
        let gateway = &checked.epoch().gateway;
        let new = state.catalog.unknown_series(gateway, &checked.batch().series);
        if new.is_empty() {
            return true;
        }
        let quota = &mut lock(&self.admission).quota;
        state.catalog.report_usages(quota);
        let count = new.into_iter().filter(|key| !quota.is_pending(gateway, key)).count() as u64;
        count <= state.catalog.series_ids_left() && quota.fits(gateway, count).is_ok()
    }

    /// Most series that the data folder of an epoch may hold. Logs limits that are nearly reached.
    pub(in crate::store) fn series_budget(&self, epoch: &GatewayEpoch) -> u64 {
        let state = read(&self.state);
        let quota = &mut lock(&self.admission).quota;
        state.catalog.report_usages(quota);
        for warning in quota.warnings(&epoch.gateway) {
            tracing::warn!(gateway = %epoch.gateway, warning, "a limit of series is nearly reached");
        }
        quota.budget(&epoch.gateway, epoch.id)
    }

    fn append(
        &self,
        key: (GatewayId, u64),
        checked: Box<CheckedBatch>,
        new_epochs: &[u64],
    ) -> Result<AdmitOutcome, StoreError> {
        let bytes = entry::encode(checked.entry());
        let (shard, number) = (checked.batch().shard as usize, checked.batch().number);
        let delivered_to = checked.entry().delivered_to.max(checked.batch().watermark);
        let mut admission = lock(&self.admission);
        if admission.current_runs.get(&key).is_some_and(|current| current.run != checked.epoch().run) {
            return Err(StoreError::Superseded);
        }
        let position = match self.log.append(&bytes) {
            Ok(position) => position,
            Err(AppendError::BufferFull) => return Ok(AdmitOutcome::BufferFull(checked)),
            Err(AppendError::Full(reason)) => {
                self.signal.request(|request| request.flush = true);
                return Err(StoreError::Full(reason.to_string()));
            }
            Err(AppendError::TooLarge { bytes, max }) => {
                let reason =
                    format!("the batch takes {bytes} bytes in the journal, at most {max} are allowed");
                return Err(StoreError::Body { entry: 0, reason });
            }
            Err(AppendError::Poisoned(reason)) => return Err(StoreError::Failed(reason)),
            Err(AppendError::Closed) => return Err(stopping()),
        };
        admission.pending_epochs.add(&key.0, new_epochs);
        let shards = admission.last_appended.entry(key).or_default();
        if shards.len() <= shard {
            shards.resize(shard + 1, LastAppended::default());
        }
        if let Some(last) = shards.get_mut(shard) {
            *last = LastAppended { number, position, delivered_to };
        }
        admission.pending_bytes += checked.bytes();
        admission.pending.push_back((position, *checked));
        Ok(AdmitOutcome::InJournal(position))
    }
}

/// The answer to senders once the store closes.
pub(in crate::store) fn stopping() -> StoreError {
    StoreError::Full("the aggregator is stopping".to_owned())
}

#[cfg(test)]
mod tests;
