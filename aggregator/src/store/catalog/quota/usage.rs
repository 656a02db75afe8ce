//! How gateways use the limits of series, with the sums of that over all of them and over each site. Pure.
//!
//! The sums change with each gateway's use, so that nothing walks all gateways to answer a question of one.

use std::collections::HashMap;

use catchment_proto::{GatewayId, Name};

/// Series of one gateway in the catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Usage {
    /// Series in the store.
    pub(in crate::store) series: u64,
    /// Series that its present data folder delivered and that were forgotten since.
    pub(in crate::store) forgotten: u64,
}

/// A budget that was sent to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentBudget {
    /// The epoch it was sent to.
    pub(super) epoch: u64,
    pub(super) series_max: u64,
}

/// Everything of one gateway that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GatewayUse {
    pub(super) usage: Usage,
    /// New series of batches in the journal that are not applied yet.
    pub(super) pending: u64,
    pub(super) sent: Option<SentBudget>,
}

impl GatewayUse {
    /// Series, also those to come.
    pub(super) fn series(&self) -> u64 {
        self.usage.series.saturating_add(self.pending)
    }

    /// Series that its data folder may hold without a grant.
    pub(super) fn known(&self) -> u64 {
        self.series().saturating_add(self.usage.forgotten)
    }

    pub(super) fn sums(&self) -> Sums {
        let granted = self.sent.map_or(0, |sent| sent.series_max.saturating_sub(self.known()));
        Sums { series: self.series(), granted, gateways: 1 }
    }
}

/// The sums over some gateways. Numbers of series have 32 bits, so they do not overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) series: u64,
    /// Series granted and not used.
    pub(super) granted: u64,
    pub(super) gateways: u64,
}

impl Sums {
    /// The sums without one of the gateways.
    pub(super) fn without(self, one: Self) -> Self {
        Self {
            series: self.series.saturating_sub(one.series),
            granted: self.granted.saturating_sub(one.granted),
            gateways: self.gateways.saturating_sub(one.gateways),
        }
    }

    fn with(self, one: Self) -> Self {
        Self {
            series: self.series.saturating_add(one.series),
            granted: self.granted.saturating_add(one.granted),
            gateways: self.gateways.saturating_add(one.gateways),
        }
    }
}

/// The gateways that count.
#[derive(Debug, Default)]
pub(super) struct Usages {
    gateways: HashMap<GatewayId, GatewayUse>,
    total: Sums,
    sites: HashMap<Name, Sums>,
}

impl Usages {
    /// The use of a gateway; `None`: it does not count.
    pub(super) fn of(&self, gateway: &GatewayId) -> Option<GatewayUse> {
        self.gateways.get(gateway).copied()
    }

    /// Sets the use of a gateway; `None`: it does not count any more.
    pub(super) fn set(&mut self, gateway: &GatewayId, now: Option<GatewayUse>) {
        let before = match now {
            Some(now) => self.gateways.insert(gateway.clone(), now),
            None => self.gateways.remove(gateway),
        };
        let sums = |of: Option<GatewayUse>| of.map_or_else(Sums::default, |of| of.sums());
        let (before, now) = (sums(before), sums(now));
        self.total = self.total.without(before).with(now);
        let site = self.site(&gateway.site).without(before).with(now);
        if site.gateways == 0 {
            self.sites.remove(&gateway.site);
        } else {
            self.sites.insert(gateway.site.clone(), site);
        }
    }

    /// The sums over all gateways.
    pub(super) fn total(&self) -> Sums {
        self.total
    }

    /// The sums over the gateways of a site.
    pub(super) fn site(&self, site: &Name) -> Sums {
        self.sites.get(site).copied().unwrap_or_default()
    }
}
