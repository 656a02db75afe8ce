//! Devices that moved to another gateway of their site.

use std::collections::HashMap;

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, Name};

/// The gateway that delivered the newest reading of each device, by site and device.
#[derive(Debug, Default)]
pub(super) struct Newest(HashMap<(Name, Name), (Timestamp, Name)>);

impl Newest {
    /// Approximate memory of a device; the names are shared with the store.
    pub(super) const BYTES: usize = 96;

    /// Takes the newest reading of a device that a gateway delivered.
    pub(super) fn add(&mut self, gateway: &GatewayId, device: &Name, last: Timestamp) {
        let given = (last, gateway.name.clone());
        let newest = self.0.entry((gateway.site.clone(), device.clone())).or_insert_with(|| given.clone());
        // Of two gateways with equal times it is one, always the same: each device counts once.
        if *newest < given {
            *newest = given;
        }
    }

    /// Whether another gateway of the site delivered a newer reading of the device than this one.
    pub(super) fn is_elsewhere(&self, gateway: &GatewayId, device: &Name) -> bool {
        let newest = self.0.get(&(gateway.site.clone(), device.clone()));
        newest.is_some_and(|(_, name)| *name != gateway.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::gateway;

    proptest! {
        #[test]
        fn each_device_of_a_site_is_at_one_gateway_where_it_was_seen_last(
            seen in prop::collection::btree_map((0..2_u8, 0..3_u8, 0..3_u8), 0..4_i64, 0..18),
        ) {
            let gateway_of = |site: u8, name: u8| gateway(&format!("s{site}"), &format!("g{name}"));
            let device_of = |device: u8| Name::new(&format!("d{device}")).unwrap();
            let mut newest = Newest::default();
            for (&(site, name, device), &last) in &seen {
                newest.add(&gateway_of(site, name), &device_of(device), Timestamp::from_millis(last).unwrap());
            }
            for (&(site, name, device), &last) in &seen {
                let rows = || seen.iter().filter(|((s, _, d), _)| (*s, *d) == (site, device));
                let elsewhere = |name| newest.is_elsewhere(&gateway_of(site, name), &device_of(device));
                prop_assert_eq!(rows().filter(|((_, name, _), _)| !elsewhere(*name)).count(), 1);
                if !elsewhere(name) {
                    prop_assert!(rows().all(|(_, other)| *other <= last));
                }
            }
        }
    }
}
