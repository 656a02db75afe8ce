//! Packs and catalog as they lie in a tree.
//!
//! What can be done without is told and left out: a series whose record is damaged, the delivered numbers of an
//! origin. Gateways and origins cannot: without their numbers partials would get a second name and count twice.

use std::ops::ControlFlow;

use bytes::Bytes;
use catchment_journal::PresenceError;

use super::{
    Origin,
    catalog::{Catalog, Gateway, OriginState},
    groups::{AllSeries, GROUP_SERIES, Group, first_of},
    pack,
    records::{self, META, Meta, Stored, Tally},
    row::Row,
    tree::{Change, Pair, Tree, keys, prefixed},
};

/// Numbers that are tried one after another behind series that cannot be read.
const SKIP_MAX: u32 = 10_000;

/// The packs and the catalog in a tree.
pub(super) struct Packs {
    tree: Box<dyn Tree>,
}

/// A pack that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadPack {
    /// Its group of series.
    pub(super) group: u32,
    /// Its bucket.
    pub(super) bucket: i64,
    /// Its number within the bucket.
    pub(super) pack: u32,
    /// What is wrong.
    pub(super) reason: String,
}

impl std::fmt::Display for BadPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, bucket, pack, reason } = self;
        let first = first_of(*group);
        write!(f, "series from {first} on, bucket {bucket} (hours since 1970), pack {pack}: {reason}")
    }
}

/// A pack that was read.
#[derive(Debug)]
pub(super) struct GoodPack {
    /// Number of the change that wrote it.
    pub(super) change: u64,
    pub(super) rows: Vec<Row>,
}

/// The number of a pack within its bucket, and the pack or what is wrong with it.
pub(super) type NumberedPack = (u32, Result<GoodPack, BadPack>);

/// What was loaded of a tree.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) catalog: Catalog,
    pub(super) meta: Meta,
    /// What is damaged or missing and could be done without, for a person.
    pub(super) findings: Vec<String>,
}

impl Packs {
    /// What a tree holds.
    pub(super) fn new(tree: impl Tree + 'static) -> Self {
        Self { tree: Box::new(tree) }
    }

    /// Whether what the tree stands on is still in its place.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub(super) fn look(&self) -> Result<(), PresenceError> {
        self.tree.look()
    }

    /// Applies a change and makes it durable, with what it makes of the [`Meta`] record. After an error nothing may
    /// be released that it was to hold.
    ///
    /// # Errors
    /// What the tree said; never to be retried.
    pub(super) fn commit(&self, mut change: Change, meta: &mut Meta) -> Result<(), String> {
        meta.change = change.number();
        change.record(META.to_vec(), &meta.record());
        self.tree.commit(change)
    }

    /// Loads the catalog.
    ///
    /// # Errors
    /// Which record cannot be done without, and what is wrong with it.
    pub(super) fn load(&self) -> Result<Loaded, String> {
        let meta = match self.tree.get(META)? {
            Some(value) => restored::<Meta>(META, &value, u64::MAX)?,
            None => {
                self.each(&[], |key, _| Err(damaged(key, "the record of what must be there is missing")))?;
                Meta::default()
            }
        };
        let newest = meta.change;
        let mut gateways: Vec<Gateway> = Vec::new();
        self.each(&[records::GATEWAY], |key, value| {
            dense(&mut gateways, key, restored(key, value, newest)?)
        })?;
        let mut origins: Vec<OriginState> = Vec::new();
        self.each(&[records::ORIGIN], |key, value| {
            let record = message(key, value, newest)?;
            let origin = records::restore_origin(record, &gateways);
            dense(&mut origins, key, origin.ok_or_else(|| damaged(key, "its gateway is not known"))?)
        })?;
        if (gateways.len(), origins.len()) != (meta.gateways as usize, meta.origins as usize) {
            return Err(format!(
                "the catalog is damaged: it has {} gateways and {} epochs of them, but must have {} and {}",
                gateways.len(),
                origins.len(),
                meta.gateways,
                meta.origins
            ));
        }
        let mut findings = Vec::new();
        self.load_shards(&mut origins, newest, &mut findings)?;
        let before = findings.len();
        let series = self.load_groups(&meta, gateways.len(), &mut findings)?;
        let mut catalog = Catalog::restore(gateways, origins, series, meta.next_series);
        if findings.len() > before {
            catalog.doubt_all();
        }
        Ok(Loaded { catalog, meta, findings })
    }

    /// Loads delivered numbers and watermarks; where they are damaged they count as unknown.
    fn load_shards(
        &self,
        origins: &mut [OriginState],
        newest: u64,
        findings: &mut Vec<String>,
    ) -> Result<(), String> {
        self.each(&[records::SHARDS], |key, value| {
            let origin = records::number_of(key).and_then(|number| origins.get_mut(number as usize));
            let Some(origin) = origin else {
                findings.push(damaged(key, "its origin is not known"));
                return Ok(());
            };
            match restored(key, value, newest) {
                Ok(shards) => origin.shards = shards,
                Err(reason) => {
                    origin.unknown = true;
                    let Origin { gateway, epoch, .. } = &origin.origin;
                    findings.push(format!(
                        "{reason}: how far gateway {gateway}, epoch {epoch} has delivered is not known; \
                         it goes on where it is"
                    ));
                }
            }
            Ok(())
        })
    }

    /// Loads the series; goes on behind what cannot be read.
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
                let group = restored::<Group>(key, value, meta.change).and_then(|group| {
                    let known = group.series().all(|(_, series)| (series.gateway as usize) < gateways);
                    known.then_some(group).ok_or_else(|| damaged(key, "a gateway is not known"))
                });
                let number = records::number_of(key).unwrap_or(from);
                (from, skipped) = (number.saturating_add(1), 0);
                found += 1;
                match group {
                    // Beyond that, the index would be larger than numbers of series can ask for.
                    Ok(group) if number <= u32::MAX / GROUP_SERIES => all.put_group(number, group),
                    Ok(_) => findings.push(damaged(key, "its number is out of range")),
                    Err(reason) => {
                        findings.push(format!("{reason}: the packed windows of its series are not shown"))
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
                "the catalog is damaged: {missing} of {must} groups of series are missing: their packed windows are not shown"
            ));
        }
        Ok(all)
    }

    /// The first bucket in [from, to] in which a group has a pack.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn first_bucket(&self, group: u32, from: i64, to: i64) -> Result<Option<i64>, String> {
        if from > to {
            return Ok(None);
        }
        let range = records::pack_key(group, from, 0)..=records::pack_key(group, to, u32::MAX);
        let mut first = None;
        self.tree.scan(keys(range), &mut |key, _| {
            first = records::pack_of(key).map(|(_, bucket, _)| bucket);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    /// The packs of a bucket of a group, in order: number, and rows (with `only`, those of one series) or what is wrong
    /// with it.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn bucket(
        &self,
        group: u32,
        bucket: i64,
        only: Option<u32>,
    ) -> Result<Vec<NumberedPack>, String> {
        let mut packs = Vec::new();
        self.each(&records::bucket_key(group, bucket), |key, value| {
            let number = records::pack_of(key).map_or(u32::MAX, |(_, _, number)| number);
            packs.push((number, unpacked(key, value, only)));
            Ok(())
        })?;
        Ok(packs)
    }

    /// Key and value of the last pack of a bucket.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn last_pack(&self, group: u32, bucket: i64) -> Result<Option<Pair>, String> {
        self.tree.last(&records::bucket_key(group, bucket))
    }

    /// Visits the packs of a group (`None`: of all, also of those that the catalog does not know): key, and pack or
    /// what is wrong with it.
    ///
    /// # Errors
    /// What the tree said, at which it ended.
    pub(super) fn packs_of(
        &self,
        group: Option<u32>,
        mut visit: impl FnMut(&[u8], Result<GoodPack, BadPack>),
    ) -> Result<(), String> {
        let prefix = group.map_or(vec![records::PACK], |group| records::numbered(records::PACK, group));
        self.each(&prefix, |key, value| {
            visit(key, unpacked(key, value, None));
            Ok(())
        })
    }

    /// What the packs of a group add up to, and what is wrong with those that cannot be read.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn tally(&self, group: u32) -> Result<(Tally, Vec<BadPack>), String> {
        let (mut tally, mut bad) = (Tally::default(), Vec::new());
        self.packs_of(Some(group), |key, pack| match pack {
            Ok(pack) => tally.add(key, pack.change),
            Err(damaged) => bad.push(damaged),
        })?;
        Ok((tally, bad))
    }

    fn each(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        self.tree.scan(prefixed(prefix), &mut |key, value| visit(key, value).map(ControlFlow::Continue))
    }
}

/// The pack of a value; with `only`, its rows of one series.
pub(super) fn unpacked(key: &[u8], value: &[u8], only: Option<u32>) -> Result<GoodPack, BadPack> {
    let (group, bucket, number) = records::pack_of(key).unwrap_or((u32::MAX, i64::MAX, u32::MAX));
    let bad = |reason: String| BadPack { group, bucket, pack: number, reason };
    let sealed = records::unseal(key, value).map_err(|e| bad(e.to_owned()))?;
    let content = Bytes::copy_from_slice(sealed.content);
    let rows = pack::decode_rows(group, &content, only).map_err(|e| bad(e.to_string()))?;
    if rows.iter().any(|row| row.name.bucket() != bucket) {
        return Err(bad("it holds windows of another bucket".to_owned()));
    }
    Ok(GoodPack { change: sealed.change, rows })
}

/// The message of a record that is not newer than the last change: else that one was lost.
fn message<M: prost::Message + Default>(key: &[u8], value: &[u8], newest: u64) -> Result<M, String> {
    match records::unseal(key, value) {
        Ok(sealed) if sealed.change > newest => Err(damaged(key, "it is newer than the last change")),
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
