//! Taking what gateways deliver.

use std::sync::Arc;

use catchment_partial::Partial;
use catchment_proto::Batch;
use futures_util::future::BoxFuture;

use super::{
    Fault, MemoryStore,
    state::{CurrentRun, Row, State, folder},
};
use crate::store::{Delivered, Gap, GatewayEpoch, IngestStore, ProgressReport, RunDelivered, StoreError};

impl MemoryStore {
    fn apply(&self, epoch: &GatewayEpoch, batch: &Batch, first: bool) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.puts += 1;
        state.fail_or_not()?;
        if state.is_superseded(epoch) {
            return Err(StoreError::Superseded);
        }
        let decoded = decode(batch)?;
        if !batch.live && !state.count_batch(epoch, batch, first)? {
            return Ok(());
        }
        let names = if batch.names_epoch == 0 { epoch.id } else { batch.names_epoch };
        for (entry, partial) in batch.entries.iter().zip(decoded) {
            let id = state.series_id(&epoch.gateway, batch.series[entry.series as usize].key());
            let name = (id, entry.window, names, batch.shard, entry.part);
            let row = Row { revision: entry.revision, partial, epoch: epoch.id };
            let rows = if batch.live { &mut state.live } else { &mut state.rows };
            if rows.get(&name).is_none_or(|known| known.revision < row.revision) {
                rows.insert(name, row);
            }
            if !batch.live {
                state.live.retain(|live, row| *live != name || row.revision > entry.revision);
            }
        }
        state.gateway(epoch);
        if !batch.live {
            state.count_hours(epoch, batch);
        }
        drop(state);
        if batch.watermark.is_some() {
            let (shard, watermark) = (batch.shard, batch.watermark);
            self.progress(epoch, &ProgressReport { shard, watermark, ..ProgressReport::default() })?;
        }
        Ok(())
    }
}

/// The partials of all entries.
fn decode(batch: &Batch) -> Result<Vec<Partial>, StoreError> {
    let entries = batch.entries.iter().enumerate();
    let decoded = entries.map(|(number, entry)| {
        Partial::decode(&entry.body, entry.window.start())
            .map_err(|error| StoreError::Body { entry: number, reason: error.to_string() })
    });
    decoded.collect()
}

impl State {
    /// The faults that tests ask for.
    fn fail_or_not(&mut self) -> Result<(), StoreError> {
        match self.fault.take() {
            Some(Fault::Full) => return Err(StoreError::Full("no room".to_owned())),
            Some(Fault::TooManySeries) => {
                return Err(StoreError::TooManySeries { message: "no room for series".to_owned() });
            }
            Some(Fault::Fails) => self.failed = Some("the disk failed".into()),
            None => {}
        }
        match &self.failed {
            Some(reason) => Err(StoreError::Failed(Arc::clone(reason))),
            None if self.closed => Err(StoreError::Full("the store is closed".to_owned())),
            None => Ok(()),
        }
    }

    /// Counts a batch as delivered; false if it was before.
    fn count_batch(&mut self, epoch: &GatewayEpoch, batch: &Batch, first: bool) -> Result<bool, StoreError> {
        let highest = self.highest(epoch, batch.shard);
        let lost = match batch.number.checked_sub(highest) {
            None | Some(0) => return Ok(false),
            Some(ahead) => ahead - 1,
        };
        if lost > 0 && !first {
            return Err(StoreError::Gap { shard: batch.shard, highest, got: batch.number });
        }
        if lost > 0 {
            self.gateway(epoch).gaps.push(Gap { from: None, to: None, batches: lost });
        }
        self.created_ms.entry(folder(epoch)).or_insert(epoch.created_ms);
        let runs = self.delivered.entry((folder(epoch), batch.shard)).or_default();
        match runs.last_mut().filter(|last| last.run == epoch.run) {
            Some(last) => last.number = batch.number,
            None => {
                let GatewayEpoch { run, previous_runs: previous, .. } = *epoch;
                runs.push(RunDelivered { run, previous, number: batch.number });
            }
        }
        Ok(true)
    }
}

impl IngestStore for MemoryStore {
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        first: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let _open = self.gate.read().await;
            self.apply(epoch, &batch, first)
        })
    }

    fn is_behind(&self) -> bool {
        *self.behind.borrow()
    }

    fn caught_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _ = self.behind.subscribe().wait_for(|behind| !behind).await;
        })
    }

    fn attach(&self, epoch: &GatewayEpoch) {
        let runs = &mut self.state.lock().unwrap().runs;
        runs.entry(folder(epoch)).or_insert(CurrentRun { run: epoch.run, streams: 0 }).streams += 1;
    }

    fn detach(&self, epoch: &GatewayEpoch) {
        let state = &mut *self.state.lock().unwrap();
        if let Some(current) = state.runs.get_mut(&folder(epoch)) {
            current.streams -= 1;
            if current.streams == 0 {
                state.runs.remove(&folder(epoch));
                state.drop_live(epoch);
            }
        }
    }

    fn progress(&self, epoch: &GatewayEpoch, report: &ProgressReport) -> Result<(), StoreError> {
        let state = &mut *self.state.lock().unwrap();
        if state.is_superseded(epoch) {
            return Err(StoreError::Superseded);
        }
        if let Some(watermark) = report.watermark {
            let known = state.watermarks.entry((epoch.gateway.clone(), report.shard)).or_insert(watermark);
            *known = watermark.max(*known);
        }
        let of = |shard| state.watermarks.get(&(epoch.gateway.clone(), shard)).copied();
        let watermark = (0..epoch.shards).map(of).min().flatten();
        let entry = state.gateway(epoch);
        entry.watermark = entry.watermark.max(watermark);
        Ok(())
    }

    fn created_ms(&self, epoch: &GatewayEpoch) -> Option<i64> {
        self.state.lock().unwrap().created_ms.get(&folder(epoch)).copied()
    }

    fn delivered(&self, epoch: &GatewayEpoch) -> Vec<u64> {
        let state = self.state.lock().unwrap();
        (0..epoch.shards).map(|shard| state.highest(epoch, shard)).collect()
    }

    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>> {
        let state = &mut *self.state.lock().unwrap();
        let current = state.runs.entry(folder(epoch)).or_insert(CurrentRun { run: epoch.run, streams: 0 });
        if std::mem::replace(&mut current.run, epoch.run) != epoch.run {
            state.drop_live(epoch);
        }
        state.gateway(epoch).retired = false;
        let delivered = (0..epoch.shards).map(|shard| Delivered {
            number: state.highest(epoch, shard),
            runs: state.delivered.get(&(folder(epoch), shard)).cloned().unwrap_or_default(),
        });
        Box::pin(std::future::ready(Ok(delivered.collect())))
    }

    fn drop_live(&self, epoch: &GatewayEpoch) {
        self.state.lock().unwrap().drop_live(epoch);
    }

    fn series_budget(&self, _: &GatewayEpoch) -> Option<u64> {
        self.state.lock().unwrap().budget
    }
}
