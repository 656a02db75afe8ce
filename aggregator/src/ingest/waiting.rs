//! Gateways whose batches wait in their outbox because the store has no room for them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use catchment_proto::GatewayId;

/// Most gateways named in a summary.
const NAMED_MAX: usize = 8;

/// Stable codes of refused batches, also the reasons in the metrics.
pub(super) const TOO_MANY_SERIES: &str = "too_many_series";
pub(super) const TOO_MANY_EPOCHS: &str = "too_many_epochs";
/// All of them, as labels for metrics.
pub(crate) const REFUSAL_REASONS: [&str; 2] = [TOO_MANY_SERIES, TOO_MANY_EPOCHS];

/// Code and message of a refusal.
type RefusalReason = (&'static str, String);

/// What each gateway waits for, by epoch and shard.
type All = BTreeMap<GatewayId, BTreeMap<(u64, u32), RefusalReason>>;

/// What each gateway's shards wait for, by epoch. Bounded by the streams and their shards.
#[derive(Debug, Default)]
pub(crate) struct WaitingBatches(Mutex<All>);

impl WaitingBatches {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a shard's batch was refused for this reason.
    pub(super) fn begin(&self, (gateway, epoch): (&GatewayId, u64), shard: u32, reason: RefusalReason) {
        self.lock().entry(gateway.clone()).or_default().insert((epoch, shard), reason);
    }

    /// Clears a shard whose batches are accepted again. With `None` the epoch's stream has ended: clears all its
    /// shards, which may be refused again on the next stream. Returns whether anything waited.
    pub(super) fn end(&self, (gateway, epoch): (&GatewayId, u64), shard: Option<u32>) -> bool {
        let mut all = self.lock();
        let Some(shards) = all.get_mut(gateway) else { return false };
        let waited = match shard {
            Some(shard) => shards.remove(&(epoch, shard)).is_some(),
            None => shards.extract_if(.., |(of, _), _| *of == epoch).count() > 0,
        };
        if shards.is_empty() {
            all.remove(gateway);
        }
        waited
    }

    /// What a gateway waits for, if anything.
    pub(crate) fn of(&self, gateway: &GatewayId) -> Option<String> {
        self.lock().get(gateway)?.values().next().map(|(_, message)| message.clone())
    }

    /// The gateways that wait with this code and why; `None` if there are none.
    pub(super) fn summary(&self, code: &str) -> Option<String> {
        let all = self.lock();
        let waiting = all.iter().filter_map(|(gateway, shards)| {
            let (_, message) = shards.values().find(|(other, _)| *other == code)?;
            Some((gateway, message))
        });
        let named = waiting.clone().take(NAMED_MAX);
        let mut lines: Vec<String> =
            named.map(|(gateway, message)| format!("gateway {gateway} waits: {message}")).collect();
        let more = waiting.skip(NAMED_MAX).count();
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

    const CODE: &str = "too_many_series";

    #[test]
    fn waiting_gateways_are_named_until_their_batches_are_accepted() {
        let waiting_batches = WaitingBatches::default();
        assert_eq!(waiting_batches.summary(CODE), None);
        let berlin = gateway("berlin", "g1");
        waiting_batches.begin((&berlin, 1), 0, (CODE, "no room".to_owned()));
        waiting_batches.begin((&berlin, 1), 1, (CODE, "no room either".to_owned()));
        assert_eq!(waiting_batches.of(&berlin).as_deref(), Some("no room"));
        assert!(!waiting_batches.end((&berlin, 2), Some(0)), "another folder of the gateway");
        assert!(waiting_batches.end((&berlin, 1), Some(0)) && !waiting_batches.end((&berlin, 1), Some(0)));
        assert_eq!(waiting_batches.summary(CODE).as_deref(), Some("gateway berlin/g1 waits: no room either"));
        for number in 0..20 {
            waiting_batches.begin((&gateway("lyon", &format!("g{number}")), 1), 0, (CODE, "full".to_owned()));
        }
        let summary = waiting_batches.summary(CODE).unwrap();
        assert_eq!(summary.matches(" waits: ").count(), NAMED_MAX);
        assert!(summary.ends_with("; 13 more gateways wait"), "{summary}");
        waiting_batches.begin((&berlin, 1), 2, ("too_many_epochs", "no place".to_owned()));
        assert_eq!(
            waiting_batches.summary("too_many_epochs").as_deref(),
            Some("gateway berlin/g1 waits: no place")
        );
        assert!(waiting_batches.end((&berlin, 1), None) && !waiting_batches.end((&berlin, 1), None));
        assert_eq!(waiting_batches.of(&berlin), None);
    }
}
