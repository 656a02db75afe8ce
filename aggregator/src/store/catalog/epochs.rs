//! Limits of epochs (lifetimes of gateway data folders): per gateway, per site, and in total. Pure.
//!
//! An epoch is permanent: partial names contain its number, so an epoch that was forgotten and came back would count
//! twice. So each gateway has a limit of its own, which stops that gateway alone.

use std::collections::{BTreeSet, HashMap};

use catchment_proto::{GatewayId, Name};

use crate::store::catalog::Catalog;

/// The three limits, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct EpochBounds {
    /// Of the store.
    pub(in crate::store) total: u64,
    /// Of the gateways of one site together.
    pub(in crate::store) site: u64,
    /// Of one gateway.
    pub(in crate::store) gateway: u64,
}

/// Epochs of batches in the journal that are not applied yet.
#[derive(Debug, Default)]
pub(in crate::store) struct PendingEpochs {
    epochs: BTreeSet<(GatewayId, u64)>,
    /// How many there are of each site.
    sites: HashMap<Name, u64>,
}

impl PendingEpochs {
    /// Adds the epochs of a batch that went into the journal.
    pub(in crate::store) fn add(&mut self, gateway: &GatewayId, epochs: &[u64]) {
        for epoch in epochs {
            if self.epochs.insert((gateway.clone(), *epoch)) {
                *self.sites.entry(gateway.site.clone()).or_default() += 1;
            }
        }
    }

    /// Removes the epochs of a batch that was applied.
    pub(in crate::store) fn release(&mut self, gateway: &GatewayId, epochs: [u64; 2]) {
        if self.epochs.is_empty() {
            return;
        }
        for epoch in epochs {
            if self.epochs.remove(&(gateway.clone(), epoch)) {
                let left = self.of_site(&gateway.site).saturating_sub(1);
                match left {
                    0 => _ = self.sites.remove(&gateway.site),
                    left => _ = self.sites.insert(gateway.site.clone(), left),
                }
            }
        }
    }

    fn contains(&self, gateway: &GatewayId, epoch: u64) -> bool {
        self.epochs.contains(&(gateway.clone(), epoch))
    }

    fn of(&self, gateway: &GatewayId) -> u64 {
        self.epochs.range((gateway.clone(), 0)..=(gateway.clone(), u64::MAX)).count() as u64
    }

    fn of_site(&self, site: &Name) -> u64 {
        self.sites.get(site).copied().unwrap_or(0)
    }
}

/// The epochs of a batch (its own, and that of its names; 0: the same) that are neither known nor pending.
pub(in crate::store) fn new_epochs(
    catalog: &Catalog,
    pending: &PendingEpochs,
    gateway: &GatewayId,
    epochs: [u64; 2],
) -> Vec<u64> {
    let [own, names] = epochs;
    let mut new = vec![own];
    if names != 0 && names != own {
        new.push(names);
    }
    new.retain(|epoch| catalog.find_epoch(gateway, *epoch).is_none() && !pending.contains(gateway, *epoch));
    new
}

impl EpochBounds {
    /// Whether `new` further epochs of a gateway fit.
    ///
    /// # Errors
    /// Which limit is reached, and what to do.
    pub(in crate::store) fn fits(
        &self,
        catalog: &Catalog,
        pending: &PendingEpochs,
        gateway: &GatewayId,
        new: u64,
    ) -> Result<(), String> {
        if new == 0 {
            return Ok(());
        }
        let levels = [
            (
                catalog.epochs_of(gateway) + pending.of(gateway),
                self.gateway,
                format!("gateway {gateway}"),
                "epochs_per_gateway_max",
            ),
            (
                catalog.epochs_of_site(&gateway.site) + pending.of_site(&gateway.site),
                self.site,
                format!("site {}", gateway.site),
                "epochs_per_site_max",
            ),
            (
                (catalog.epochs.len() + pending.epochs.len()) as u64,
                self.total,
                "this aggregator".to_owned(),
                "epochs_max",
            ),
        ];
        for (held, max, whose, key) in levels {
            if held.saturating_add(new) > max {
                return Err(format!(
                    "no room for a new data folder of gateway {gateway}: {held} of {max} of {whose} are known; start the gateway \
                     with its earlier folder, or raise {key}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::GatewayEpoch, *};
    use crate::testing::gateway;

    fn epoch(gateway: &GatewayId, id: u64) -> GatewayEpoch {
        GatewayEpoch {
            gateway: gateway.clone(),
            id,
            created_ms: 1,
            shards: 1,
            run: 0,
            previous_runs: Default::default(),
        }
    }

    #[test]
    fn the_reached_limit_is_named_and_stops_no_other_gateway() {
        let bounds = EpochBounds { total: 6, site: 4, gateway: 3 };
        let (mut catalog, mut pending) = (Catalog::default(), PendingEpochs::default());
        let [bad, beside, far, late] =
            [("berlin", "bad"), ("berlin", "g"), ("lyon", "g"), ("rome", "g")].map(|(s, g)| gateway(s, g));
        catalog.intern_epoch(&epoch(&bad, 1));
        catalog.intern_epoch(&epoch(&bad, 2));
        pending.add(&bad, &[3]);
        assert!(new_epochs(&catalog, &pending, &bad, [3, 2]).is_empty(), "known, or pending");
        assert_eq!(new_epochs(&catalog, &pending, &bad, [4, 4]), [4]);
        assert!(new_epochs(&catalog, &pending, &bad, [1, 0]).is_empty());
        let refused = bounds.fits(&catalog, &pending, &bad, 1).unwrap_err();
        assert!(refused.contains("3 of 3 of gateway berlin/bad are known"), "{refused}");
        assert!(refused.ends_with("raise epochs_per_gateway_max"), "{refused}");
        assert_eq!(bounds.fits(&catalog, &pending, &bad, 0), Ok(()));
        assert_eq!(bounds.fits(&catalog, &pending, &beside, 1), Ok(()));
        catalog.intern_epoch(&epoch(&beside, 1));
        pending.release(&bad, [3, 0]);
        catalog.intern_epoch(&epoch(&bad, 3));
        let refused = bounds.fits(&catalog, &pending, &beside, 1).unwrap_err();
        assert!(refused.contains("4 of 4 of site berlin") && refused.ends_with("epochs_per_site_max"));
        assert_eq!(bounds.fits(&catalog, &pending, &far, 2), Ok(()));
        catalog.intern_epoch(&epoch(&far, 1));
        catalog.intern_epoch(&epoch(&far, 2));
        let refused = bounds.fits(&catalog, &pending, &late, 1).unwrap_err();
        assert!(refused.contains("6 of 6 of this aggregator") && refused.ends_with("raise epochs_max"));
    }
}
