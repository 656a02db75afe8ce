//! Retention, forgetting, health.

use catchment_partial::Timestamp;
use catchment_proto::GatewayId;
use futures_util::future::BoxFuture;

use super::{
    MemoryStore,
    state::{RowName, State},
};
use crate::{
    selector::Selector,
    store::{MaintenanceStore, Retained, RetentionRule, StoreError, StoreFailure, StoreHealth},
};

impl MaintenanceStore for MemoryStore {
    /// It has windows only, and keeps series without windows.
    fn retain(&self, rules: &[RetentionRule], now: Timestamp) -> Result<Retained, StoreError> {
        let mut state = self.state.lock().unwrap();
        if state.fault.take().is_some() {
            return Err(StoreError::Full("no room".to_owned()));
        }
        let State { series, rows, .. } = &mut *state;
        let count = rows.len();
        rows.retain(|(id, window, ..), _| {
            let Some((gateway, key)) = &series[id.number() as usize] else { return false };
            let rule = rules.iter().find(|rule| rule.selector.matches(gateway, key));
            let keep = rule.and_then(|rule| rule.keep[0]);
            keep.is_none_or(|keep| window.end().saturating_add_nanos(keep.as_nanos() as i64) > now)
        });
        Ok(Retained { rows: (count - rows.len()) as u64, ..Retained::default() })
    }

    fn forget_series(&self, selector: &Selector) -> Result<u64, StoreError> {
        let state = &mut *self.state.lock().unwrap();
        let mut forgotten = 0;
        for series in &mut state.series {
            forgotten += u64::from(series.take_if(|(gateway, key)| selector.matches(gateway, key)).is_some());
        }
        let held = |name: &RowName| state.series[name.0.number() as usize].is_some();
        state.rows.retain(|name, _| held(name));
        state.live.retain(|name, _| held(name));
        Ok(forgotten)
    }

    fn retire_gateway(&self, gateway: &GatewayId, retired: bool) -> Result<Option<bool>, StoreError> {
        let mut state = self.state.lock().unwrap();
        let entry = state.gateways.iter_mut().find(|entry| entry.epoch.gateway == *gateway);
        Ok(entry.map(|entry| std::mem::replace(&mut entry.retired, retired)))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state.lock().unwrap().closed = true;
        Box::pin(async {
            drop(self.gate.read().await);
            Ok(())
        })
    }

    fn failure(&self) -> Option<StoreFailure> {
        let state = self.state.lock().unwrap();
        Some(StoreFailure { reason: state.failed.clone()?, data_gone: state.gone.clone() })
    }

    fn health(&self) -> StoreHealth {
        StoreHealth { failure: self.failure(), shortages: Vec::new() }
    }
}
