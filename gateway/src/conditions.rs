//! The gateway's conditions, shown by `/readyz` and the metrics, and the checks that find them.
//!
//! The decisions are pure; a check once a second feeds them, so that a full disk is known before a device is refused.

use std::{sync::Arc, time::Duration};

use catchment_certs::trust;
use catchment_journal::FullReason;
use catchment_settings::{Conditions, KnownCondition, Severity};

use crate::{kept, shard::ShardLog};

/// All slots for connections are in use.
pub(crate) const CONNECTIONS_FULL: &str = "connections_full";
/// The gateway knows `devices_max` devices.
pub(crate) const DEVICES_FULL: &str = "devices_full";
/// The file system of the data folder is full.
const DISK_FULL: &str = "disk_full";
/// The journal of a shard has reached its bound.
const JOURNAL_FULL: &str = "journal_full";
/// The outbox of a shard has reached its bound.
const OUTBOX_FULL: &str = "outbox_full";
/// The aggregator cannot read batches that wait for it.
pub(crate) const AGGREGATOR_OUTDATED: &str = "aggregator_outdated";
/// No stream to an aggregator for [`UPLINK_DOWN_AFTER`].
const UPLINK_DOWN: &str = "uplink_down";

/// All conditions of a gateway. Without an uplink a gateway is still ready: it takes readings, durably, until the
/// outbox is full, which is a condition of its own. A failing probe would send devices away without need.
pub(crate) const KNOWN: [KnownCondition; 17] = [
    KnownCondition { name: AGGREGATOR_OUTDATED, severity: Severity::Notice },
    KnownCondition { name: CONNECTIONS_FULL, severity: Severity::Unready },
    // Known devices are still served.
    KnownCondition { name: DEVICES_FULL, severity: Severity::Notice },
    KnownCondition { name: DISK_FULL, severity: Severity::Unready },
    KnownCondition { name: "folder_gone", severity: Severity::Unready },
    KnownCondition { name: JOURNAL_FULL, severity: Severity::Unready },
    KnownCondition { name: OUTBOX_FULL, severity: Severity::Unready },
    KnownCondition { name: UPLINK_DOWN, severity: Severity::Notice },
    KnownCondition { name: "uplink_refused", severity: Severity::Unready },
    trust::CERTIFICATE_ENDS,
    trust::CERTIFICATE_REFUSED,
    // They count; a restart may not know them.
    trust::REVOCATIONS_NOT_KEPT,
    trust::REVOCATION_LIST_ENDS,
    trust::REVOCATION_LIST_MISSING,
    trust::REVOCATION_LIST_OUTDATED,
    trust::ROOT_NOT_VALID,
    // What was loaded before counts on.
    trust::TRUST_NOT_LOADED,
];

/// By then an aggregator has restarted, or the gateway has moved to the next one.
const UPLINK_DOWN_AFTER: Duration = Duration::from_secs(60);

/// How often the logs are checked for room.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Why journal and outbox of each shard have no room, `None` where they have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shortages {
    pub(crate) journals: Vec<Option<FullReason>>,
    pub(crate) outboxes: Vec<Option<FullReason>>,
}

impl Shortages {
    /// Raises and clears the conditions for full disks and logs.
    pub(crate) fn report(&self, conditions: &Conditions) {
        let all = self.journals.iter().chain(&self.outboxes).flatten();
        let disk =
            all.filter(|why| !is_bound(why)).min_by_key(|why| !matches!(why, FullReason::DiskFree { .. }));
        let text = disk.map(|why| {
            format!("{why}: free space on the data folder's file system; devices wait as soon as the space that the journal has reserved is used up")
        });
        conditions.report(DISK_FULL, text);
        let bound = |logs: &[Option<FullReason>], what, key, advice| {
            let shard = logs.iter().position(|why| why.as_ref().is_some_and(is_bound))?;
            let why = logs.get(shard)?.as_ref()?;
            Some(format!(
                "{what} of shard {shard}: {why}, its share of {key}: {advice}; its devices wait until then"
            ))
        };
        let advice = "wait for a checkpoint, or raise it";
        conditions.report(JOURNAL_FULL, bound(&self.journals, "the journal", "journal_bytes_max", advice));
        let advice = "let the aggregator take the backlog, or raise it";
        conditions.report(OUTBOX_FULL, bound(&self.outboxes, "the outbox", "outbox_bytes_max", advice));
    }
}

const fn is_bound(why: &FullReason) -> bool {
    matches!(why, FullReason::LogBound { .. })
}

/// How long there has been no stream to an aggregator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UplinkWatch {
    /// By the monotonic clock.
    down_since: Option<Duration>,
}

impl UplinkWatch {
    /// Takes whether there is a stream, and the monotonic time.
    pub(crate) fn check(&mut self, connected: bool, now: Duration, conditions: &Conditions) {
        self.down_since = if connected { None } else { self.down_since.or(Some(now)) };
        let down =
            self.down_since.map(|since| now.saturating_sub(since)).filter(|down| *down >= UPLINK_DOWN_AFTER);
        let text = down.map(|_| {
            let after = UPLINK_DOWN_AFTER.as_secs();
            format!("no stream to an aggregator for more than {after} s: partials wait in the outbox; the log says why")
        });
        conditions.report(UPLINK_DOWN, text);
    }
}

/// Checks forever whether the logs, a journal and an outbox per shard, have room: before a device is refused, and off
/// the threads that must not wait for a disk. Before they have none, kept batches give way.
pub(crate) async fn watch_room(logs: &[ShardLog], conditions: &Conditions) {
    let logs: Arc<[ShardLog]> = logs.into();
    loop {
        let looked = Arc::clone(&logs);
        let look = move || {
            kept::give_way(looked.iter());
            let room = |log: Option<&ShardLog>| log.and_then(ShardLog::shortage);
            let (journals, outboxes) =
                looked.chunks(2).map(|pair| (room(pair.first()), room(pair.get(1)))).unzip();
            Shortages { journals, outboxes }
        };
        // Fails only if the check panics, which it does not.
        if let Ok(shortages) = tokio::task::spawn_blocking(look).await {
            shortages.report(conditions);
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(conditions: &Conditions) -> Vec<&'static str> {
        conditions.list().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn missing_room_is_named_and_the_gateway_unready_until_there_is_some() {
        let conditions = Conditions::of(&KNOWN);
        let (bound, disk) = (FullReason::LogBound { bytes_max: 7 }, FullReason::DiskFree { free: 5 });
        let none = || vec![None, None];
        let report = |journals, outboxes| {
            Shortages { journals, outboxes }.report(&conditions);
            held(&conditions)
        };
        assert_eq!(report(none(), none()), [""; 0]);
        assert_eq!(report(vec![None, Some(disk.clone())], none()), ["disk_full"]);
        let text = conditions.ready().unwrap_err();
        assert!(text.starts_with("disk_full: the file system has only 5 bytes free"), "{text}");
        assert_eq!(report(none(), vec![Some(FullReason::Disk("quota".into())), None]), ["disk_full"]);
        assert_eq!(report(vec![Some(bound.clone()), None], none()), ["journal_full"]);
        assert_eq!(report(none(), vec![None, Some(bound)]), ["outbox_full"]);
        let text = conditions.ready().unwrap_err();
        assert!(text.contains("shard 1") && text.contains("outbox_bytes_max"), "{text}");
        assert_eq!(report(none(), none()), [""; 0]);
        assert_eq!(conditions.ready(), Ok(()));
    }

    #[test]
    fn a_long_uplink_outage_is_shown_but_the_gateway_stays_ready() {
        let (conditions, mut watch) = (Conditions::of(&KNOWN), UplinkWatch::default());
        let mut look = |connected, seconds| {
            watch.check(connected, Duration::from_secs(seconds), &conditions);
            held(&conditions)
        };
        assert_eq!(look(false, 100), [""; 0]);
        assert_eq!(look(false, 159), [""; 0]);
        assert_eq!(look(false, 160), ["uplink_down"]);
        assert_eq!(conditions.ready(), Ok(()));
        assert_eq!(look(true, 161), [""; 0]);
        assert_eq!(look(false, 162), [""; 0]);
        assert_eq!(look(false, 221), [""; 0]);
        assert_eq!(look(false, 222), ["uplink_down"]);
    }
}
