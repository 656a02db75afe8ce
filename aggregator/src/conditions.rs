//! Named conditions that keep the aggregator from working, and the checks that find them; `/readyz` and the metrics
//! show them.
//!
//! The decisions are pure. A check once a second feeds them, so that a full disk is known before a batch is refused.

use std::{sync::Arc, time::Duration};

use catchment_certs::trust;
use catchment_settings::{Conditions, KnownCondition, Severity};

use crate::store::{MaintenanceStore, Shortage};

/// All connection slots are taken.
pub(crate) const CONNECTIONS_FULL: &str = "connections_full";
/// The file system of the data folder has no room.
const DISK_FULL: &str = "disk_full";
/// The store's journal has reached its bound.
const JOURNAL_FULL: &str = "journal_full";
/// Memory for windows that are not flushed yet is used up.
const MEMORY_FULL: &str = "memory_full";
/// Queries wait until others end.
const QUERIES_FULL: &str = "queries_full";
/// Clocks went ahead by more than retention believes in one round.
pub(crate) const RETENTION_HELD_BACK: &str = "retention_held_back";

/// Every condition that an aggregator may report. Full memory and busy queries make senders and callers wait for
/// seconds and pass by themselves, so a probe does not fail for them (if a flush has no room, `disk_full` reports
/// it).
pub(crate) const KNOWN: [KnownCondition; 17] = [
    KnownCondition { name: CONNECTIONS_FULL, severity: Severity::Unready },
    KnownCondition { name: DISK_FULL, severity: Severity::Unready },
    // Only the one gateway waits.
    KnownCondition { name: "epochs_full", severity: Severity::Notice },
    KnownCondition { name: "folder_gone", severity: Severity::Unready },
    KnownCondition { name: JOURNAL_FULL, severity: Severity::Unready },
    KnownCondition { name: MEMORY_FULL, severity: Severity::Notice },
    KnownCondition { name: QUERIES_FULL, severity: Severity::Notice },
    // Rows are kept longer than the rules say, which harms nothing.
    KnownCondition { name: RETENTION_HELD_BACK, severity: Severity::Notice },
    KnownCondition { name: "series_full", severity: Severity::Unready },
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

/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Raises and clears the conditions about room.
fn report(shortages: &[Shortage], queries_full: bool, conditions: &Conditions) {
    let (mut disk, mut journal, mut memory) = (None, None, None);
    for shortage in shortages {
        match shortage {
            Shortage::Space(why) => {
                disk = Some(format!(
                    "{why}: make room on the data folder's file system; gateways wait until then"
                ));
            }
            Shortage::Backlog(why) => {
                journal = Some(format!(
                    "the store's journal: {why} (store_journal): wait for a flush, or raise it; gateways wait until then"
                ));
            }
            Shortage::Memory => {
                memory = Some(
                    "store_memory is used up: gateways wait until windows are flushed; raise it if this happens often"
                        .to_owned(),
                );
            }
        }
    }
    conditions.report(DISK_FULL, disk);
    conditions.report(JOURNAL_FULL, journal);
    conditions.report(MEMORY_FULL, memory);
    let queries =
        queries_full.then(|| "queries wait: queries_per_operator_max or queries_max is reached".to_owned());
    conditions.report(QUERIES_FULL, queries);
}

/// Repeatedly checks whether the store has room, on threads that may block on the disk, so that a shortage is known
/// before a gateway is refused.
pub(crate) async fn watch(
    store: &Arc<dyn MaintenanceStore>,
    queries_full: impl Fn() -> bool,
    conditions: &Conditions,
) {
    loop {
        let store = Arc::clone(store);
        // Fails only if the check panics, which it does not.
        if let Ok(health) = tokio::task::spawn_blocking(move || store.health()).await {
            report(&health.shortages, queries_full(), conditions);
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_named_until_it_ends() {
        let conditions = Conditions::of(&KNOWN);
        let held = |room: &[Shortage], queries| {
            report(room, queries, &conditions);
            conditions.list().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(held(&[], false), [""; 0]);
        assert_eq!(
            held(&[Shortage::Space("the file system has only 5 bytes free".to_owned())], false),
            ["disk_full"]
        );
        let text = conditions.ready().unwrap_err();
        assert!(text.starts_with("disk_full: the file system has only 5 bytes free"), "{text}");
        assert_eq!(held(&[Shortage::Backlog("7 bytes".to_owned())], false), ["journal_full"]);
        assert!(conditions.ready().unwrap_err().contains("store_journal"));
        assert_eq!(held(&[Shortage::Memory], true), ["memory_full", "queries_full"]);
        assert_eq!(conditions.ready(), Ok(()), "these pass by themselves");
        assert_eq!(held(&[], false), [""; 0]);
    }
}
