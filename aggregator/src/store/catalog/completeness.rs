//! What the catalog knows for the completeness of answers: retired gateways, late corrections and refused readings.

use std::sync::Arc;

use catchment_partial::Timestamp;
use catchment_proto::{Batch, GatewayId};

use super::{
    Catalog,
    hourly::{LateAndRefused, hour_of, spans_max},
};

impl Catalog {
    /// Retires a gateway, or takes it back. Returns whether it was retired before; `None`: it never delivered.
    pub(in crate::store) fn set_retired(&mut self, gateway: &GatewayId, retired: bool) -> Option<bool> {
        let number = *self.gateway_numbers.get(gateway)?;
        let known = self.gateways.get_mut(number as usize)?;
        let before = std::mem::replace(&mut known.retired, retired);
        if before != retired {
            self.dirty.gateways.insert(number);
            self.retired = if retired { self.retired + 1 } else { self.retired.saturating_sub(1) };
        }
        Some(before)
    }

    /// Whether a gateway is retired.
    pub(in crate::store) fn is_retired(&self, gateway: &GatewayId) -> bool {
        let known = self.gateway_numbers.get(gateway).and_then(|number| self.gateways.get(*number as usize));
        known.is_some_and(|known| known.retired)
    }

    /// Number of retired gateways.
    pub(in crate::store) fn retired(&self) -> u64 {
        self.retired
    }

    /// Counts the late corrections of a batch, and the readings that its shard refused. Call it once for each batch.
    /// Returns how many there are.
    pub(in crate::store) fn count_late_and_refused(
        &mut self,
        epoch: u32,
        batch: &Batch,
        delivered_to: Option<Timestamp>,
    ) -> LateAndRefused {
        let mut hours: Vec<(i64, LateAndRefused)> = Vec::new();
        let mut add = |hour: i64, counts: LateAndRefused| match hours.last_mut() {
            Some((last, sum)) if *last == hour => sum.add(counts),
            _ => hours.push((hour, counts)),
        };
        let late = batch.entries.iter().filter(|entry| Some(entry.window.end()) <= delivered_to);
        late.for_each(|entry| {
            add(hour_of(entry.window.start().as_millis()), LateAndRefused { late: 1, refused: 0 });
        });
        for refused in &batch.refused {
            add(refused.hour, LateAndRefused { late: 0, refused: refused.readings });
        }
        let mut sum = LateAndRefused::default();
        let spans_max = spans_max(self.gateways.len());
        let gateway = self.epoch(epoch).map(|known| known.gateway);
        let Some(number) = gateway.filter(|_| !hours.is_empty()) else { return sum };
        if let Some(known) = self.gateways.get_mut(number as usize) {
            hours.iter().for_each(|(_, of)| sum.add(*of));
            Arc::make_mut(&mut known.hours).add_all(hours, spans_max);
            self.dirty.hours.insert(number);
        }
        sum
    }

    /// Forgets the counts of hours before a time: nothing is stored of them any more.
    pub(in crate::store) fn forget_hours_before(&mut self, time: Timestamp) {
        let time_ms = time.as_millis();
        for (gateway, number) in self.gateways.iter_mut().zip(0..) {
            if gateway.hours.begins_before(time_ms) {
                Arc::make_mut(&mut gateway.hours).forget_before(time_ms);
                self.dirty.hours.insert(number);
            }
        }
    }
}
