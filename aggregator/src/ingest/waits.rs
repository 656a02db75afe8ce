//! Gateways whose batches wait in their outbox, because the store has no room for them now.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use catchment_proto::GatewayId;

/// Gateways that a summary names.
const NAMED_MAX: usize = 8;

/// What each gateway's shards wait for. Bounded by the connections and their shards.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<BTreeMap<GatewayId, BTreeMap<u32, String>>>);

impl Waits {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<GatewayId, BTreeMap<u32, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard's batch was refused, for this reason.
    pub(super) fn begin(&self, gateway: &GatewayId, shard: u32, reason: String) {
        self.lock().entry(gateway.clone()).or_default().insert(shard, reason);
    }

    /// A shard's batches are taken again, or with `None`, the gateway's stream has ended: it is refused anew on the next. Answers
    /// whether something waited.
    pub(super) fn end(&self, gateway: &GatewayId, shard: Option<u32>) -> bool {
        let mut all = self.lock();
        let Some(shards) = all.get_mut(gateway) else { return false };
        let waited = match shard {
            Some(shard) => shards.remove(&shard).is_some(),
            None => !std::mem::take(shards).is_empty(),
        };
        if shards.is_empty() {
            all.remove(gateway);
        }
        waited
    }

    /// What a gateway waits for.
    pub(crate) fn of(&self, gateway: &GatewayId) -> Option<String> {
        self.lock().get(gateway)?.values().next().cloned()
    }

    /// Who waits, and for what; `None`: nobody.
    pub(super) fn summary(&self) -> Option<String> {
        let all = self.lock();
        let named = all.iter().take(NAMED_MAX).filter_map(|(gateway, shards)| {
            let reason = shards.values().next()?;
            Some(format!("gateway {gateway} waits: {reason}"))
        });
        let mut lines: Vec<String> = named.collect();
        let more = all.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            lines.push(format!("{more} more gateways wait"));
        }
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gateway;

    #[test]
    fn those_who_wait_are_named_until_they_are_taken() {
        let waits = Waits::default();
        assert_eq!(waits.summary(), None);
        let berlin = gateway("berlin", "g1");
        waits.begin(&berlin, 0, "no room".to_owned());
        waits.begin(&berlin, 1, "no room either".to_owned());
        assert_eq!(waits.of(&berlin).as_deref(), Some("no room"));
        assert!(waits.end(&berlin, Some(0)) && !waits.end(&berlin, Some(0)));
        assert_eq!(waits.summary().as_deref(), Some("gateway berlin/g1 waits: no room either"));
        for number in 0..20 {
            waits.begin(&gateway("lyon", &format!("g{number}")), 0, "full".to_owned());
        }
        let summary = waits.summary().unwrap();
        assert_eq!(summary.matches(" waits: ").count(), NAMED_MAX);
        assert!(summary.ends_with("; 13 more gateways wait"), "{summary}");
        assert!(waits.end(&berlin, None) && !waits.end(&berlin, None));
        assert_eq!(waits.of(&berlin), None);
    }
}
