//! Packs and catalog as they lie in a tree.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;

use super::{
    catalog::{Catalog, Gateway, OriginState, Series},
    pack,
    records::{self, META, Meta, Stored},
    row::Row,
    tree::{Change, Tree, keys, prefixed},
};

/// The packs and the catalog in a tree.
pub(super) struct Packs {
    tree: Box<dyn Tree>,
}

/// A pack that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadPack {
    /// Its series.
    pub(super) series: u32,
    /// Its bucket.
    pub(super) bucket: i64,
    /// Its number within the bucket.
    pub(super) pack: u32,
    /// What is wrong.
    pub(super) reason: String,
}

impl std::fmt::Display for BadPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { series, bucket, pack, reason } = self;
        write!(f, "series {series}, bucket {bucket} (hours since 1970), pack {pack}: {reason}")
    }
}

/// The number of a pack within its bucket, and its rows or what is wrong with it.
pub(super) type NumberedPack = (u32, Result<Vec<Row>, BadPack>);

/// The last pack of a bucket.
#[derive(Debug)]
pub(super) struct LastPack {
    pub(super) number: u32,
    /// Its size in bytes and its rows; `None` if it is damaged.
    pub(super) rows: Option<(usize, Vec<Row>)>,
}

/// What was loaded of a tree.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) catalog: Catalog,
    pub(super) meta: Option<Meta>,
}

impl Packs {
    /// What a tree holds.
    pub(super) fn new(tree: impl Tree + 'static) -> Self {
        Self { tree: Box::new(tree) }
    }

    /// Applies a change and makes it durable. After an error nothing may be released that it was to hold.
    ///
    /// # Errors
    /// What the tree said; never to be retried.
    pub(super) fn commit(&self, change: Change) -> Result<(), String> {
        self.tree.commit(change)
    }

    /// Loads the catalog. Fails for any record that is damaged: without it partials would get a second name.
    ///
    /// # Errors
    /// Which record, and what is wrong with it.
    pub(super) fn load(&self) -> Result<Loaded, String> {
        let meta = match self.tree.get(META)? {
            None => None,
            Some(value) => Some(restored::<Meta>(META, &value)?),
        };
        let mut gateways: Vec<Gateway> = Vec::new();
        self.each(&[records::GATEWAY], |key, value| dense(&mut gateways, key, restored(key, value)?))?;
        let mut origins: Vec<OriginState> = Vec::new();
        self.each(&[records::ORIGIN], |key, value| {
            let record = records::unseal(key, value).map_err(|e| damaged(key, e))?;
            let origin = records::restore_origin(record, &gateways);
            dense(&mut origins, key, origin.ok_or_else(|| damaged(key, "its gateway is not known"))?)
        })?;
        self.each(&[records::SHARDS], |key, value| {
            let origin = records::number_of(key).and_then(|number| origins.get_mut(number as usize));
            origin.ok_or_else(|| damaged(key, "its origin is not known"))?.shards = restored(key, value)?;
            Ok(())
        })?;
        let mut series = BTreeMap::new();
        self.each(&[records::SERIES], |key, value| {
            let number = records::number_of(key).ok_or_else(|| damaged(key, "its key is malformed"))?;
            let known: Series = restored(key, value)?;
            if known.gateway as usize >= gateways.len() {
                return Err(damaged(key, "its gateway is not known"));
            }
            series.insert(number, known);
            Ok(())
        })?;
        let next = meta.map_or(0, |meta: Meta| meta.next_series);
        Ok(Loaded { catalog: Catalog::restore(gateways, origins, series, next), meta })
    }

    /// The first bucket in [from, to] in which a series has a pack.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn first_bucket(&self, series: u32, from: i64, to: i64) -> Result<Option<i64>, String> {
        if from > to {
            return Ok(None);
        }
        let range = records::pack_key(series, from, 0)..=records::pack_key(series, to, u32::MAX);
        let mut first = None;
        self.tree.scan(keys(range), &mut |key, _| {
            first = records::pack_of(key).map(|(_, bucket, _)| bucket);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    /// The packs of a bucket, in order: number, and rows or what is wrong with it.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn bucket(&self, series: u32, bucket: i64) -> Result<Vec<NumberedPack>, String> {
        let mut packs = Vec::new();
        self.each(&records::bucket_key(series, bucket), |key, value| {
            let number = records::pack_of(key).map_or(u32::MAX, |(_, _, number)| number);
            packs.push((number, unpacked(key, value)));
            Ok(())
        })?;
        Ok(packs)
    }

    /// The number of the last pack of a bucket, and its size in bytes and rows unless it is damaged.
    ///
    /// # Errors
    /// What the tree said.
    pub(super) fn last_pack(&self, series: u32, bucket: i64) -> Result<Option<LastPack>, String> {
        let Some((key, value)) = self.tree.last(&records::bucket_key(series, bucket))? else {
            return Ok(None);
        };
        let number = records::pack_of(&key).map_or(u32::MAX, |(_, _, number)| number);
        Ok(Some(LastPack { number, rows: unpacked(&key, &value).ok().map(|rows| (value.len(), rows)) }))
    }

    /// Visits every pack of the store: its series, bucket and number, its rows or what is wrong with it.
    ///
    /// # Errors
    /// What the tree said, at which it ended.
    pub(super) fn every_pack(&self, mut visit: impl FnMut(Result<usize, BadPack>)) -> Result<(), String> {
        self.each(&[records::PACK], |key, value| {
            visit(unpacked(key, value).map(|rows| rows.len()));
            Ok(())
        })
    }

    fn each(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        self.tree.scan(prefixed(prefix), &mut |key, value| visit(key, value).map(ControlFlow::Continue))
    }
}

/// The rows of a pack.
fn unpacked(key: &[u8], value: &[u8]) -> Result<Vec<Row>, BadPack> {
    let (series, bucket, number) = records::pack_of(key).unwrap_or((u32::MAX, i64::MAX, u32::MAX));
    let bad = |reason: String| BadPack { series, bucket, pack: number, reason };
    let rows = pack::decode(&Bytes::copy_from_slice(value)).map_err(|e| bad(e.to_string()))?;
    if rows.iter().any(|row| row.name.bucket() != bucket) {
        return Err(bad("it holds windows of another bucket".to_owned()));
    }
    Ok(rows)
}

fn restored<T: Stored>(key: &[u8], value: &[u8]) -> Result<T, String> {
    let record = records::unseal(key, value).map_err(|e| damaged(key, e))?;
    T::restore(record).ok_or_else(|| damaged(key, "its content breaks a rule"))
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
