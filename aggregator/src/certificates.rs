//! When the certificates of gateways and devices end: those of gateways from their own connections, those of devices as
//! their gateways tell.
//!
//! In memory, for lists; a copy in the data folder survives a restart (`file`, `keep`). What is lost with it comes back
//! with the next stream of each gateway: a gateway tells all that it knows when a stream begins.

mod file;
mod keep;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Unbounded},
    sync::{Mutex, MutexGuard, PoisonError},
};

use catchment_proto::{GatewayId, Name, wire};
use tokio::sync::watch;

pub(crate) use self::keep::KeptCertificates;

/// Most devices of a message that are read.
const MESSAGE_MAX: usize = 1_000;
/// Most devices that one gateway may tell of: as many as it may know at once by default, and some that came before.
const PER_GATEWAY_MAX: usize = 200_000;
/// Most gateways and devices, some 150 bytes each.
const HOLDERS_MAX: usize = 1_000_000;

/// Why an entry of a gateway is refused: labels of the metric.
pub(crate) const REFUSED_REASONS: [&str; 3] = [MALFORMED, TOO_MANY_OF_GATEWAY, TOO_MANY];
const MALFORMED: &str = "malformed";
const TOO_MANY_OF_GATEWAY: &str = "too_many_of_gateway";
const TOO_MANY: &str = "too_many";

/// Whose certificate it is. In order of sites, so that a list, which has the same order, walks neighbours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    site: Name,
    is_gateway: bool,
    name: Name,
}

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    /// Unix seconds, above 0.
    expires_s: i64,
    /// When the session began that presented it, Unix seconds: the newest counts.
    session_began_s: i64,
    /// The gateway that told it.
    told_by: Name,
}

#[derive(Debug, Default)]
struct Table {
    ends: BTreeMap<Holder, End>,
    /// Number of entries that each gateway told.
    told: HashMap<GatewayId, usize>,
    /// Counts the changes.
    changes: u64,
}

/// When the certificates of gateways and devices end.
#[derive(Debug)]
pub(crate) struct Certificates {
    table: Mutex<Table>,
    changed: watch::Sender<()>,
    per_gateway_max: usize,
    max: usize,
}

impl Default for Certificates {
    fn default() -> Self {
        Self::bounded(PER_GATEWAY_MAX, HOLDERS_MAX)
    }
}

impl Certificates {
    fn bounded(per_gateway_max: usize, max: usize) -> Self {
        Self { table: Mutex::default(), changed: watch::Sender::new(()), per_gateway_max, max }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a gateway's certificate, Unix seconds; 0: not known.
    pub(crate) fn of_gateway(&self, gateway: &GatewayId) -> i64 {
        self.of(&gateway.site, true, &gateway.name)
    }

    /// The end of a device's certificate, Unix seconds; 0: not known.
    pub(crate) fn of_device(&self, site: &Name, device: &Name) -> i64 {
        self.of(site, false, device)
    }

    fn of(&self, site: &Name, is_gateway: bool, name: &Name) -> i64 {
        let holder = Holder { site: site.clone(), is_gateway, name: name.clone() };
        self.table().ends.get(&holder).map_or(0, |end| end.expires_s)
    }

    /// A gateway has opened a stream with a certificate that ends then, Unix seconds.
    pub(crate) fn note_gateway(&self, gateway: &GatewayId, expires_s: i64, now_s: i64) {
        let holder = Holder { site: gateway.site.clone(), is_gateway: true, name: gateway.name.clone() };
        let told_by = gateway.name.clone();
        let end = End { expires_s, session_began_s: now_s, told_by };
        // Beyond the bound it is not shown, which its own connection does not depend on.
        let _ = self.put(&mut self.table(), gateway, holder, end);
        self.changed.send_replace(());
    }

    /// Takes what a gateway tells of the devices of its site; `refused` counts each entry that is refused.
    pub(crate) fn take(
        &self,
        gateway: &GatewayId,
        told: wire::DeviceCertificates,
        now_s: i64,
        mut refused: impl FnMut(&'static str),
    ) {
        told.devices.iter().skip(MESSAGE_MAX).for_each(|_| refused(MALFORMED));
        let mut table = self.table();
        for one in told.devices.into_iter().take(MESSAGE_MAX) {
            let Ok(name) = Name::new(&one.device) else {
                refused(MALFORMED);
                continue;
            };
            if one.expires_s <= 0 {
                refused(MALFORMED);
                continue;
            }
            let holder = Holder { site: gateway.site.clone(), is_gateway: false, name };
            // A clock that is ahead must not win forever.
            let session_began_s = one.session_began_s.min(now_s);
            let end = End { expires_s: one.expires_s, session_began_s, told_by: gateway.name.clone() };
            if let Err(reason) = self.put(&mut table, gateway, holder, end) {
                refused(reason);
            }
        }
        drop(table);
        self.changed.send_replace(());
    }

    /// Puts the end of a certificate, unless a newer session told it.
    ///
    /// # Errors
    /// There is no room; the reason.
    fn put(
        &self,
        table: &mut Table,
        gateway: &GatewayId,
        holder: Holder,
        end: End,
    ) -> Result<(), &'static str> {
        let known = table.ends.get(&holder);
        if known.is_some_and(|known| known == &end || known.session_began_s > end.session_began_s) {
            return Ok(());
        }
        let before = known.map(|known| known.told_by.clone());
        if before.as_ref() != Some(&gateway.name) {
            if before.is_none() && table.ends.len() >= self.max {
                return Err(TOO_MANY);
            }
            let told = table.told.entry(gateway.clone()).or_default();
            if *told >= self.per_gateway_max {
                return Err(TOO_MANY_OF_GATEWAY);
            }
            *told += 1;
            if let Some(name) = before {
                table.no_longer_told(&GatewayId { site: gateway.site.clone(), name });
            }
        }
        table.ends.insert(holder, end);
        table.changes += 1;
        Ok(())
    }

    /// Up to `most` entries after one, in their order.
    fn slice(&self, after: Option<&Holder>, most: usize) -> Vec<(Holder, End)> {
        let from = after.map_or(Unbounded, Excluded);
        let table = self.table();
        let slice = table.ends.range::<Holder, _>((from, Unbounded)).take(most);
        slice.map(|(holder, end)| (holder.clone(), end.clone())).collect()
    }

    /// Removes an entry unless it has changed.
    fn remove(&self, holder: &Holder, end: &End) {
        let mut table = self.table();
        if table.ends.get(holder) == Some(end) {
            table.ends.remove(holder);
            table.no_longer_told(&GatewayId { site: holder.site.clone(), name: end.told_by.clone() });
        }
    }

    fn changes(&self) -> u64 {
        self.table().changes
    }
}

impl Table {
    /// A gateway has one entry less.
    fn no_longer_told(&mut self, gateway: &GatewayId) {
        if let Some(told) = self.told.get_mut(gateway) {
            *told = told.saturating_sub(1);
            if *told == 0 {
                self.told.remove(gateway);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gateway;

    fn told(devices: &[(&str, i64, i64)]) -> wire::DeviceCertificates {
        let devices = devices.iter().map(|(device, expires_s, session_began_s)| wire::DeviceCertificate {
            device: (*device).to_owned(),
            expires_s: *expires_s,
            session_began_s: *session_began_s,
        });
        wire::DeviceCertificates { devices: devices.collect() }
    }

    fn take(certificates: &Certificates, by: &str, devices: &[(&str, i64, i64)]) -> Vec<&'static str> {
        let mut refused = Vec::new();
        certificates.take(&gateway("berlin", by), told(devices), 1_000, |reason| refused.push(reason));
        refused
    }

    fn of(certificates: &Certificates, device: &str) -> i64 {
        certificates.of_device(&Name::new("berlin").unwrap(), &Name::new(device).unwrap())
    }

    #[test]
    fn the_newest_session_of_a_device_counts_whichever_gateway_tells_it() {
        let certificates = Certificates::default();
        assert_eq!(of(&certificates, "press"), 0);
        assert!(take(&certificates, "a", &[("press", 5_000, 100)]).is_empty());
        assert!(take(&certificates, "b", &[("press", 9_000, 200)]).is_empty());
        // What the first one tells again, with its next stream, is older.
        assert!(take(&certificates, "a", &[("press", 5_000, 100)]).is_empty());
        assert_eq!(of(&certificates, "press"), 9_000);
        // A clock ahead of this one does not win forever.
        take(&certificates, "a", &[("press", 5_000, i64::MAX)]);
        certificates.take(&gateway("berlin", "b"), told(&[("press", 9_500, 1_001)]), 1_001, |_| panic!());
        assert_eq!(of(&certificates, "press"), 9_500);
        // Devices of other sites, and gateways of the same name, are others.
        certificates.note_gateway(&gateway("berlin", "press"), 7_000, 1_000);
        assert_eq!(of(&certificates, "press"), 9_500);
        assert_eq!(certificates.of_gateway(&gateway("berlin", "press")), 7_000);
        assert_eq!(certificates.of_gateway(&gateway("lyon", "press")), 0);
    }

    #[test]
    fn what_a_gateway_tells_is_checked_and_bounded() {
        let certificates = Certificates::bounded(2, 3);
        let refused = take(&certificates, "a", &[("", 1, 1), ("x y", 1, 1), ("d", 0, 1), ("e", i64::MAX, 1)]);
        assert_eq!((refused, of(&certificates, "e")), (vec![MALFORMED; 3], i64::MAX));
        assert_eq!(take(&certificates, "a", &[("f", 5, 1), ("g", 5, 1)]), [TOO_MANY_OF_GATEWAY]);
        assert!(take(&certificates, "a", &[("e", 7, 2)]).is_empty(), "one that it told before");
        assert_eq!(take(&certificates, "b", &[("g", 5, 1), ("h", 5, 1)]), [TOO_MANY]);
        // One that another gateway takes over leaves room.
        assert!(take(&certificates, "b", &[("e", 8, 3)]).is_empty());
        assert_eq!(take(&certificates, "b", &[("f", 8, 3)]), [TOO_MANY_OF_GATEWAY]);
        let (holder, end) = certificates.slice(None, 1).remove(0);
        certificates.remove(&holder, &End { expires_s: 1, ..end.clone() });
        assert_eq!(of(&certificates, "e"), 8, "it has changed meanwhile");
        certificates.remove(&holder, &end);
        assert_eq!((of(&certificates, "e"), certificates.slice(None, 9).len()), (0, 2));
        assert!(take(&certificates, "a", &[("i", 5, 1)]).is_empty());
        let many: Vec<_> = (0..=MESSAGE_MAX).map(|_| ("i", 5, 1)).collect();
        assert_eq!(take(&certificates, "a", &many), [MALFORMED]);
    }
}
