//! Quotas and budgets of series: how many there may be, and how many more each gateway may create. Pure.
//!
//! A new series needs room within three limits: the store's, its site's and its gateway's. A batch that does not fit
//! is refused before any part of it is stored ([`Quota::fits`]). To make that rare, each gateway gets a budget
//! ([`Quota::budget`]): the most series that its data folder may hold. A gateway refuses readings of further series
//! before it acknowledges them.
//!
//! A budget is the number of series that the folder may already hold, as far as the store knows, plus a grant. Grants
//! are reservations: no gateway, new or known, gets room that was granted to another. Invariant: series and grants
//! together never exceed a limit, unless there were more series from the beginning (a limit was lowered, or a journal
//! was replayed).
//!
//! Two kinds of names need no grant, because the folder most likely holds them already:
//! * series of the same gateway that an earlier data folder delivered: the same devices send them again. Without
//!   this, a gateway whose folder is lost while its site is full would refuse every device that it ever served;
//! * series that were forgotten here: a folder keeps its names, so its count does not fall. Without this, forgetting
//!   would make no room at the gateway that filled the limit.
//!
//! If the guess is wrong, batches of that gateway wait in its outbox, and the gateway is reported as waiting. Grants
//! live in memory: after a restart they are given again, and series that a gateway created under an older grant may
//! have to wait too.

use std::collections::{HashMap, HashSet};

use catchment_proto::{GatewayId, SeriesKey};

mod usage;

pub(in crate::store) use usage::Usage;
use usage::{GatewayUse, SentBudget, Sums, Usages};

/// The three limits, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Bounds {
    /// Of the store.
    pub(in crate::store) total: u64,
    /// Of the gateways of one site together.
    pub(in crate::store) site: u64,
    /// Of one gateway.
    pub(in crate::store) gateway: u64,
}

/// One limit, as it applies to one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Level {
    max: u64,
    /// Series within the limit.
    series: u64,
    /// Series granted to other gateways that they have not used.
    granted: u64,
    /// Gateways that share the limit.
    gateways: u64,
}

impl Level {
    /// Room for this gateway.
    fn free(&self) -> u64 {
        self.max.saturating_sub(self.series).saturating_sub(self.granted)
    }

    /// Part of a shared limit granted to one gateway at once: half of an equal share, so that a later gateway finds
    /// some; whatever is delivered makes room for the next grant.
    fn share(&self) -> u64 {
        let free = self.free();
        (free / self.gateways.max(1) / 2).max(1).min(free)
    }
}

/// All limits, as they apply to one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Headroom {
    total: Level,
    site: Level,
    gateway: Level,
    /// Series that the gateway's folder may hold without a grant.
    known: u64,
}

impl Headroom {
    fn free(&self) -> u64 {
        self.total.free().min(self.site.free()).min(self.gateway.free())
    }
}

/// Quotas, budgets, and new series that are not in the catalog yet.
#[derive(Debug)]
pub(in crate::store) struct Quota {
    bounds: Bounds,
    /// Those of the gateways of the catalog, and of those that sent a Start lately.
    usages: Usages,
    /// Budgets of further gateways: they sent a Start that is forgotten. At most [`OTHERS_MAX`].
    others: HashMap<GatewayId, SentBudget>,
    /// New series of batches in the journal that are not applied yet.
    pending: HashMap<GatewayId, HashSet<SeriesKey>>,
    /// Limits that were reported as nearly reached.
    warned: HashSet<String>,
}

/// Most budgets of gateways that are not known any more.
const OTHERS_MAX: usize = 1_024;

/// Percentages of a limit: reported as nearly reached from the first on, cleared below the second.
const NEAR: (u64, u64) = (90, 85);

impl Quota {
    /// Nothing is granted yet.
    pub(in crate::store) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            usages: Usages::default(),
            others: HashMap::new(),
            pending: HashMap::new(),
            warned: HashSet::new(),
        }
    }

    /// Notes how a gateway uses the limits now; `None`: it does not count, because it is not known any more.
    pub(in crate::store) fn note(&mut self, gateway: &GatewayId, usage: Option<Usage>) {
        let sent = self.sent(gateway);
        let pending = self.pending(gateway);
        self.usages.set(gateway, usage.map(|usage| GatewayUse { usage, pending, sent }));
        match (usage, sent) {
            (Some(_), _) => _ = self.others.remove(gateway),
            (None, Some(sent)) => self.keep(gateway, sent),
            (None, None) => {}
        }
    }

    fn sent(&self, gateway: &GatewayId) -> Option<SentBudget> {
        match self.usages.of(gateway) {
            Some(of) => of.sent,
            None => self.others.get(gateway).copied(),
        }
    }

    /// Keeps the budget of a gateway that does not count: it may be connected still.
    fn keep(&mut self, gateway: &GatewayId, sent: SentBudget) {
        if self.others.len() >= OTHERS_MAX && !self.others.contains_key(gateway) {
            self.others.clear();
        }
        self.others.insert(gateway.clone(), sent);
    }

    fn pending(&self, gateway: &GatewayId) -> u64 {
        self.pending.get(gateway).map_or(0, |keys| keys.len() as u64)
    }

    /// The limits as they apply to a gateway. One that does not count yet counts for itself.
    fn headroom(&self, of: &GatewayId) -> Headroom {
        let counted = self.usages.of(of);
        let own =
            counted.unwrap_or_else(|| GatewayUse { pending: self.pending(of), ..GatewayUse::default() });
        let without_own = |sums: Sums| counted.map_or(sums, |own| sums.without(own.sums()));
        // Its own grant is its own.
        let level = |max, others: Sums| Level {
            max,
            series: others.series.saturating_add(own.series()),
            granted: others.granted,
            gateways: others.gateways + 1,
        };
        Headroom {
            total: level(self.bounds.total, without_own(self.usages.total())),
            site: level(self.bounds.site, without_own(self.usages.site(&of.site))),
            gateway: level(self.bounds.gateway, Sums::default()),
            known: own.known(),
        }
    }

    /// Whether `new` further series of a gateway fit.
    ///
    /// # Errors
    /// Which limit is reached, and what to do.
    pub(in crate::store) fn fits(&self, gateway: &GatewayId, new: u64) -> Result<(), String> {
        let headroom = self.headroom(gateway);
        if new <= headroom.free() {
            return Ok(());
        }
        let full = |level: &Level, whose: String, key: &str| {
            let &Level { max, series, granted, .. } = level;
            let others = match granted {
                0 => String::new(),
                granted => format!(", {granted} more are granted to other gateways"),
            };
            let needed = series.saturating_add(granted).saturating_add(new);
            format!(
                "no room for {new} new series: {whose} may have {max} series and has {series}{others}; raise {key} to {needed} \
                 or more, or forget series"
            )
        };
        Err(if new > headroom.gateway.free() {
            full(&headroom.gateway, format!("gateway {gateway}"), "series_per_gateway_max")
        } else if new > headroom.site.free() {
            full(&headroom.site, format!("site {}", gateway.site), "series_per_site_max")
        } else {
            full(&headroom.total, "this aggregator".to_owned(), "store_series_max")
        })
    }

    /// Reserves room for the new series of a gateway's batch until [`Quota::release`].
    pub(in crate::store) fn reserve(&mut self, gateway: &GatewayId, new: &[SeriesKey]) {
        if !new.is_empty() {
            self.pending.entry(gateway.clone()).or_default().extend(new.iter().cloned());
            self.note_pending(gateway);
        }
    }

    /// Releases series that are in the catalog now, or will not arrive.
    pub(in crate::store) fn release(&mut self, gateway: &GatewayId, new: &[SeriesKey]) {
        if new.is_empty() {
            return;
        }
        if let Some(pending) = self.pending.get_mut(gateway) {
            new.iter().for_each(|key| _ = pending.remove(key));
            if pending.is_empty() {
                self.pending.remove(gateway);
            }
            self.note_pending(gateway);
        }
    }

    fn note_pending(&mut self, gateway: &GatewayId) {
        if let Some(of) = self.usages.of(gateway) {
            let pending = self.pending(gateway);
            self.usages.set(gateway, Some(GatewayUse { pending, ..of }));
        }
    }

    /// Whether a series is reserved but not in the catalog yet.
    pub(in crate::store) fn is_pending(&self, gateway: &GatewayId, key: &SeriesKey) -> bool {
        self.pending.get(gateway).is_some_and(|pending| pending.contains(key))
    }

    /// Most series that a gateway's folder may hold. A budget that was sent is never lowered: the gateway may have
    /// used it.
    pub(in crate::store) fn budget(&mut self, gateway: &GatewayId, epoch: u64) -> u64 {
        let headroom = self.headroom(gateway);
        let grant = headroom.gateway.free().min(headroom.site.share()).min(headroom.total.share());
        let before = self.sent(gateway).filter(|sent| sent.epoch == epoch).map_or(0, |sent| sent.series_max);
        let series_max = headroom.known.saturating_add(grant).max(before);
        let sent = SentBudget { epoch, series_max };
        match self.usages.of(gateway) {
            Some(of) => self.usages.set(gateway, Some(GatewayUse { sent: Some(sent), ..of })),
            None => self.keep(gateway, sent),
        }
        series_max
    }

    /// The budget last sent to a gateway.
    pub(in crate::store) fn last_sent(&self, gateway: &GatewayId) -> Option<u64> {
        self.sent(gateway).map(|sent| sent.series_max)
    }

    /// Limits of a gateway that have become nearly reached since the last call, one line each.
    pub(in crate::store) fn warnings(&mut self, gateway: &GatewayId) -> Vec<String> {
        let headroom = self.headroom(gateway);
        let levels = [
            (headroom.gateway, format!("gateway {gateway}"), "series_per_gateway_max"),
            (headroom.site, format!("site {}", gateway.site), "series_per_site_max"),
            (headroom.total, "this aggregator".to_owned(), "store_series_max"),
        ];
        let mut news = Vec::new();
        for (Level { max, series, .. }, whose, key) in levels {
            let part = series.saturating_mul(100) / max.max(1);
            if part < NEAR.1 {
                self.warned.remove(&whose);
            } else if part >= NEAR.0 && self.warned.insert(whose.clone()) {
                news.push(format!(
                    "{whose} has {series} of {max} allowed series: raise {key} or forget series before it is full"
                ));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests;
