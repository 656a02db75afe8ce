//! When the certificates of devices end, for the aggregator: of each device that of its newest session.
//!
//! Noted once a session, whatever its protocol, before the session reads anything. The changes are numbered, so each
//! stream to an aggregator follows them from the first one on. In memory only: after a restart the devices connect
//! again, and the aggregator keeps what it was told before.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use catchment_proto::{Name, wire};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

/// The certificates of devices; at most as many as the gateway may know devices.
#[derive(Debug)]
pub struct DeviceCertificates {
    table: Mutex<Table>,
    changed: watch::Sender<()>,
    /// Counts those that were dropped.
    dropped: Counter,
}

#[derive(Debug)]
struct Table {
    max: usize,
    /// Number of the last change.
    changes: u64,
    by_device: HashMap<Name, Known>,
    /// The same devices by the number of their last change.
    by_change: BTreeMap<u64, Name>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    change: u64,
    /// Unix seconds.
    expires_s: i64,
    session_began_s: i64,
}

impl DeviceCertificates {
    /// At most `max` devices; the one that changed longest ago is dropped, and counted, for one more.
    pub fn new(max: usize, dropped: Counter) -> Self {
        let table = Table { max, changes: 0, by_device: HashMap::new(), by_change: BTreeMap::new() };
        Self { table: Mutex::new(table), changed: watch::Sender::new(()), dropped }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of a device begins, whose certificate ends then. One with the same end is no change.
    pub fn note(&self, device: &Name, not_after: SystemTime, now: SystemTime) {
        let (expires_s, session_began_s) = (unix_seconds(not_after), unix_seconds(now));
        let mut table = self.table();
        let known = table.by_device.get(device).copied();
        if known.is_some_and(|known| known.expires_s == expires_s) {
            return;
        }
        match known {
            Some(known) => _ = table.by_change.remove(&known.change),
            None if table.by_device.len() >= table.max => {
                if let Some((_, oldest)) = table.by_change.pop_first() {
                    table.by_device.remove(&oldest);
                    self.dropped.inc();
                }
            }
            None => {}
        }
        table.changes += 1;
        let change = table.changes;
        table.by_change.insert(change, device.clone());
        table.by_device.insert(device.clone(), Known { change, expires_s, session_began_s });
        drop(table);
        self.changed.send_replace(());
    }

    /// The first `most` changes after one of this number, and the number of the last of them; `None`: there are none.
    pub(crate) fn after(&self, change: u64, most: usize) -> Option<(Vec<wire::DeviceCertificate>, u64)> {
        let table = self.table();
        let mut last = None;
        let devices = table.by_change.range(change.saturating_add(1)..).take(most);
        let devices = devices.filter_map(|(change, device)| {
            last = Some(*change);
            let Known { expires_s, session_began_s, .. } = *table.by_device.get(device)?;
            Some(wire::DeviceCertificate { device: device.to_string(), expires_s, session_began_s })
        });
        let devices = devices.collect();
        last.map(|last| (devices, last))
    }

    /// Reports changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn note(certificates: &DeviceCertificates, device: &str, expires_s: u64, now_s: u64) {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        certificates.note(&Name::new(device).unwrap(), at(expires_s), at(now_s));
    }

    fn after(certificates: &DeviceCertificates, change: u64, most: usize) -> (String, u64) {
        let (devices, last) = certificates.after(change, most).unwrap_or_default();
        let word = |one: &wire::DeviceCertificate| {
            format!("{}:{}@{}", one.device, one.expires_s, one.session_began_s)
        };
        (devices.iter().map(word).collect::<Vec<_>>().join(" "), last)
    }

    #[test]
    fn changes_are_told_in_parts_and_each_device_once() {
        let certificates = DeviceCertificates::new(10, Counter::default());
        let changed = certificates.subscribe();
        assert!(certificates.after(0, 10).is_none());
        for (device, expires) in [("a", 100), ("b", 200), ("c", 300), ("a", 400)] {
            note(&certificates, device, expires, 50);
        }
        assert!(changed.has_changed().unwrap());
        assert_eq!(after(&certificates, 0, 2), ("b:200@50 c:300@50".to_owned(), 3));
        assert_eq!(after(&certificates, 3, 2), ("a:400@50".to_owned(), 4));
        assert!(certificates.after(4, 2).is_none());
        // A session with the same certificate is no change.
        note(&certificates, "b", 200, 60);
        assert!(certificates.after(4, 2).is_none());
        note(&certificates, "b", 150, 60);
        assert_eq!(after(&certificates, 4, 2), ("b:150@60".to_owned(), 5));
    }

    #[test]
    fn the_one_that_changed_longest_ago_is_dropped_and_counted() {
        let dropped = Counter::default();
        let certificates = DeviceCertificates::new(2, dropped.clone());
        for (device, expires) in [("a", 100), ("b", 200), ("a", 300), ("c", 400)] {
            note(&certificates, device, expires, 50);
        }
        assert_eq!((after(&certificates, 0, 9), dropped.get()), (("a:300@50 c:400@50".to_owned(), 4), 1));
        let table = certificates.table();
        assert_eq!((table.by_device.len(), table.by_change.len()), (2, 2));
    }
}
