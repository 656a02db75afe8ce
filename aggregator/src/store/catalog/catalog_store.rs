//! The catalog as stored in a tree: its records, one by one.
//!
//! Damage to dispensable records is reported and skipped: a series, or the delivered numbers of an epoch. Gateways
//! and epochs are indispensable: without their numbers partials would get a second name and count twice.

use std::ops::ControlFlow;

use catchment_journal::PresenceError;

use crate::store::{
    GatewayEpoch,
    catalog::{
        Catalog, EpochState, Gateway,
        groups::{AllSeries, GROUP_SERIES, Group, first_of},
    },
    salvage::tables::loss::LostWindows,
    tables::{applied::Applied, version::TableEntry},
    tree::{
        Tree, WriteBatch, keys, prefixed,
        records::{self, META, Meta, Stored},
    },
};

mod hours;
mod whole;

/// Most consecutive numbers tried after series that cannot be read.
const SKIP_MAX: u32 = 10_000;

/// The records of the catalog in a tree.
pub(in crate::store) struct CatalogStore {
    pub(in crate::store) tree: Box<dyn Tree>,
}

/// Content loaded from a tree.
#[derive(Debug)]
pub(in crate::store) struct Loaded {
    pub(in crate::store) catalog: Catalog,
    pub(in crate::store) meta: Meta,
    /// The tables that count.
    pub(in crate::store) tables: Vec<TableEntry>,
    pub(in crate::store) applied: Applied,
    pub(in crate::store) lost_windows: LostWindows,
    /// Damaged or missing records that were skipped, as text for people.
    pub(in crate::store) findings: Vec<String>,
}

impl CatalogStore {
    /// A catalog store over a tree.
    pub(in crate::store) fn new(tree: impl Tree + 'static) -> Self {
        Self { tree: Box::new(tree) }
    }

    /// Checks that the tree's file is still in its place.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub(in crate::store) fn check_file(&self) -> Result<(), PresenceError> {
        self.tree.check_file()
    }

    /// Applies a write batch together with the resulting [`Meta`] record, and makes both durable. After an error
    /// nothing that the batch should hold may be released.
    ///
    /// # Errors
    /// Error of the tree; never to be retried.
    pub(in crate::store) fn commit(&self, mut writes: WriteBatch, meta: &mut Meta) -> Result<(), String> {
        meta.sequence = writes.sequence();
        writes.record(META.to_vec(), &meta.record());
        self.tree.commit(writes)
    }

    /// Loads the catalog.
    ///
    /// # Errors
    /// The indispensable record that is damaged, and what is wrong with it.
    pub(in crate::store) fn load(&self) -> Result<Loaded, String> {
        let meta = match self.tree.get(META)? {
            Some(value) => restored::<Meta>(META, &value, u64::MAX)?,
            None => {
                self.each(&[], |key, _| Err(damaged(key, "the record that counts the others is missing")))?;
                Meta::default()
            }
        };
        let newest = meta.sequence;
        let mut gateways: Vec<Gateway> = Vec::new();
        self.each(&[records::GATEWAY], |key, value| {
            dense(&mut gateways, key, restored(key, value, newest)?)
        })?;
        let mut epochs: Vec<EpochState> = Vec::new();
        self.each(&[records::EPOCH], |key, value| {
            let record = message(key, value, newest)?;
            let epoch = records::restore_epoch(record, &gateways);
            dense(&mut epochs, key, epoch.ok_or_else(|| damaged(key, "its gateway is not known"))?)
        })?;
        if (gateways.len(), epochs.len()) != (meta.gateways as usize, meta.epochs as usize) {
            return Err(format!(
                "the catalog is damaged: it has {} gateways and {} epochs, but must have {} and {}",
                gateways.len(),
                epochs.len(),
                meta.gateways,
                meta.epochs
            ));
        }
        let mut findings = Vec::new();
        self.load_shards(&mut epochs, newest, &mut findings)?;
        self.load_hours(&mut gateways, newest, &mut findings)?;
        let before = findings.len();
        let series = self.load_groups(&meta, gateways.len(), &mut findings)?;
        let mut catalog = Catalog::restore(gateways, epochs, series, meta.next_series);
        let tables = self.load_tables(&meta, &mut findings)?;
        let applied = self.load_applied(&meta, &mut findings)?;
        let lost_windows = self.load_lost(&meta, &mut findings)?;
        if findings.len() > before {
            catalog.mark_all_damaged();
            catalog.incomplete = true;
        }
        Ok(Loaded { catalog, meta, tables, applied, lost_windows, findings })
    }

    /// Loads delivered numbers and watermarks; damaged ones count as unknown.
    fn load_shards(
        &self,
        epochs: &mut [EpochState],
        newest: u64,
        findings: &mut Vec<String>,
    ) -> Result<(), String> {
        self.each(&[records::SHARDS], |key, value| {
            let epoch = records::number_of(key).and_then(|number| epochs.get_mut(number as usize));
            let Some(epoch) = epoch else {
                findings.push(damaged(key, "its epoch is not known"));
                return Ok(());
            };
            match restored(key, value, newest) {
                Ok(shards) => epoch.shards = shards,
                Err(reason) => {
                    epoch.unknown = true;
                    let GatewayEpoch { gateway, id, .. } = &epoch.epoch;
                    findings.push(format!(
                        "{reason}: the delivered batches of gateway {gateway}, epoch {id} are unknown; \
                         it continues where it is"
                    ));
                }
            }
            Ok(())
        })
    }

    /// Loads the records of tables; skips those that cannot be read.
    fn load_tables(&self, meta: &Meta, findings: &mut Vec<String>) -> Result<Vec<TableEntry>, String> {
        let mut tables = Vec::new();
        self.each(&[records::TABLE], |key, value| {
            let entry = message(key, value, meta.sequence).and_then(|record| {
                TableEntry::restore(key, &record).ok_or_else(|| damaged(key, "it is not that of a table"))
            });
            match entry {
                Ok(entry) => tables.push(entry),
                Err(reason) => findings.push(format!("{reason}: the windows of a table are hidden")),
            }
            Ok(())
        })?;
        let count = tables.len() as u64;
        if count > meta.tables {
            let back = count - meta.tables;
            findings.push(format!(
                "the catalog is damaged: {back} tables have reappeared: their rows may count twice"
            ));
        }
        if count < meta.tables {
            let missing = meta.tables - tables.len() as u64;
            findings.push(format!(
                "the catalog is damaged: {missing} of {} tables are not named: their windows are hidden",
                meta.tables
            ));
        }
        Ok(tables)
    }

    /// Loads what was applied of retention. If that is not known, nothing counts as removed.
    fn load_applied(&self, meta: &Meta, findings: &mut Vec<String>) -> Result<Applied, String> {
        let Some(value) = self.tree.get(records::APPLIED)? else { return Ok(Applied::default()) };
        let applied = message(records::APPLIED, &value, meta.sequence).and_then(|record| {
            Applied::restore(record).ok_or_else(|| damaged(records::APPLIED, "its content breaks a rule"))
        });
        Ok(applied.unwrap_or_else(|reason| {
            findings.push(format!("{reason}: it is not known which windows retention removed"));
            Applied::default()
        }))
    }

    /// Loads which windows are lost.
    fn load_lost(&self, meta: &Meta, findings: &mut Vec<String>) -> Result<LostWindows, String> {
        let Some(value) = self.tree.get(records::LOST)? else { return Ok(LostWindows::default()) };
        let lost = message(records::LOST, &value, meta.sequence).map(LostWindows::restore);
        Ok(lost.unwrap_or_else(|reason| {
            findings.push(format!("{reason}: it is not known which windows an earlier repair lost"));
            LostWindows::default()
        }))
    }

    /// Loads the series; skips records that cannot be read.
    fn load_groups(
        &self,
        meta: &Meta,
        gateways: usize,
        findings: &mut Vec<String>,
    ) -> Result<AllSeries, String> {
        let (mut all, mut found, mut from, mut skipped) = (AllSeries::default(), 0_usize, 0_u32, 0_u32);
        loop {
            let range = records::numbered(records::GROUP, from)..=records::numbered(records::GROUP, u32::MAX);
            let walked = self.tree.scan(keys(range), &mut |key, value| {
                let group = restored::<Group>(key, value, meta.sequence).and_then(|group| {
                    let known = group.series().all(|(_, series)| (series.gateway as usize) < gateways);
                    known.then_some(group).ok_or_else(|| damaged(key, "a gateway is not known"))
                });
                let number = records::number_of(key).unwrap_or(from);
                (from, skipped) = (number.saturating_add(1), 0);
                found += 1;
                match group {
                    // Beyond that, the index would exceed the range of series numbers.
                    Ok(group) if number <= u32::MAX / GROUP_SERIES => all.put_group(number, group),
                    Ok(_) => findings.push(damaged(key, "its number is out of range")),
                    Err(reason) => {
                        findings.push(format!("{reason}: the flushed windows of its series are hidden"))
                    }
                }
                Ok(ControlFlow::Continue(()))
            });
            match walked {
                Ok(()) => break,
                Err(reason) if skipped >= SKIP_MAX || first_of(from) >= meta.next_series => {
                    return Err(reason);
                }
                Err(reason) if skipped == 0 => {
                    findings.push(format!("catalog, group {from} of series: {reason}"))
                }
                Err(_) => {}
            }
            (from, skipped) = (from.saturating_add(1), skipped + 1);
        }
        let must = meta.groups as usize;
        if found < must {
            let missing = must - found;
            findings.push(format!(
                "the catalog is damaged: {missing} of {must} groups of series are missing: their flushed windows are hidden"
            ));
        }
        Ok(all)
    }

    pub(in crate::store) fn each(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        self.tree.scan(prefixed(prefix), &mut |key, value| visit(key, value).map(ControlFlow::Continue))
    }
}

/// Decodes a record. A record newer than the last write batch means that this batch was lost.
fn message<M: prost::Message + Default>(key: &[u8], value: &[u8], newest: u64) -> Result<M, String> {
    match records::unseal(key, value) {
        Ok(sealed) if sealed.sequence > newest => Err(damaged(key, "it is newer than the last write batch")),
        _ => records::message(key, value).map_err(|e| damaged(key, e)),
    }
}

fn restored<T: Stored>(key: &[u8], value: &[u8], newest: u64) -> Result<T, String> {
    T::restore(message(key, value, newest)?).ok_or_else(|| damaged(key, "its content breaks a rule"))
}

/// Appends a record that must have the next number.
fn dense<T>(all: &mut Vec<T>, key: &[u8], next: T) -> Result<(), String> {
    if records::number_of(key) != u32::try_from(all.len()).ok() {
        return Err(damaged(key, "a record before it is missing"));
    }
    all.push(next);
    Ok(())
}

fn damaged(key: &[u8], reason: &str) -> String {
    let kind = key.first().map_or('?', |kind| char::from(*kind));
    let number = records::number_of(key).map_or(String::new(), |number| format!(" {number}"));
    format!("the catalog is damaged: record {kind}{number}: {reason}")
}
