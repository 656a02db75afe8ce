//! Tells the quota how gateways use the limits of series: only what has changed.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use catchment_proto::GatewayId;

use super::{
    Catalog,
    quota::{Quota, Usage},
};

/// Gateways whose use may have changed since it was last told. Behind a lock of its own, because the quota is brought up
/// to date while the catalog is only read. Bounded by the gateways of the catalog, and by those that have sent a Start:
/// a Start is followed by a report.
#[derive(Debug, Default)]
pub(super) struct ChangedUsages(Mutex<Changed>);

#[derive(Debug, Default)]
struct Changed {
    /// By number.
    gateways: HashSet<u32>,
    /// Those without a number, and those that had none.
    unnumbered: HashSet<GatewayId>,
}

impl ChangedUsages {
    fn get_mut(&mut self) -> &mut Changed {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The use of a gateway, by number, may have changed.
    pub(super) fn note(&mut self, gateway: u32) {
        self.get_mut().gateways.insert(gateway);
    }

    /// As [`ChangedUsages::note`], of the first so many gateways.
    pub(super) fn note_all(&mut self, gateways: usize) {
        self.get_mut().gateways.extend((0..).take(gateways));
    }

    /// A gateway that may not have a number has sent a Start, or its last epoch was forgotten.
    pub(super) fn note_unnumbered(&mut self, gateway: GatewayId) {
        self.get_mut().unnumbered.insert(gateway);
    }
}

impl Catalog {
    /// Brings the quota up to date. Call it before each question to the quota, and keep the state locked in between.
    /// Returns how many gateways were looked at.
    pub(in crate::store) fn report_usages(&self, quota: &mut Quota) -> usize {
        let Changed { gateways, unnumbered } = std::mem::take(&mut *self.changed_usages.lock());
        let numbered = gateways.iter().filter_map(|number| self.gateways.get(*number as usize));
        let changed = numbered.map(|gateway| &gateway.id).chain(&unnumbered);
        changed.map(|gateway| quota.note(gateway, self.usage(gateway))).count()
    }

    /// How a gateway uses the limits; `None`: it does not count, because it is not known.
    pub(in crate::store) fn usage(&self, gateway: &GatewayId) -> Option<Usage> {
        match self.gateway_numbers.get(gateway) {
            Some(number) => {
                Some(Usage { series: self.series_count(*number), forgotten: self.forgotten(gateway) })
            }
            None => self.provisional.newest(gateway).map(|_| Usage::default()),
        }
    }
}
