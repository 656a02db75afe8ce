//! Keys and values of the sled tree: everything durable besides the journal.
//!
//! | key | value |
//! |---|---|
//! | `g` gateway | its name and watermark |
//! | `o` epoch | gateway, epoch, shards |
//! | `n` epoch | delivered number, watermark, gaps and delivering runs of each shard, as of the journal position in `m` |
//! | `h` gateway | late corrections and refused readings by hour, as of the journal position in `m` |
//! | `s` group | for each of its series: gateway, device, metric, labels, first and last window, newest reading |
//! | `m` | journal position up to which everything is flushed, sequence number of the last write batch, record counts |
//! | `t` resolution, partition, table | length, contents and age of a table's file (see `tables::version`) |
//! | `r` | what was applied of retention (see `tables::applied`) |
//! | `l` | spans of windows that were lost to damage (see `salvage::tables::loss`) |
//! | `i` | identity of the store, made by its first backup (see `backup::snapshot`) |
//! | `p` group, bucket, block | a block of windows of an earlier version (see `blocks`); becomes a table at the next start |
//!
//! Numbers in keys are big endian, so that sled's order is their order. Each value is sealed ([`seal`]): it carries
//! its key, the sequence number of the write batch that wrote it, and a checksum of everything. So a value under the
//! wrong key is damage, an old value that sled brought back is distinguished from its successor, and whole values can
//! be found in the bytes of a file that sled cannot read (`salvage`).
//!
//! Silent losses of sled are noticed too: `m` counts gateways, epochs, groups and tables, and each group has a
//! [`BlockManifest`] of its blocks.

use catchment_journal::Position;
use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, Name, SeriesKey, wire};
use prost::Message;

use crate::store::{
    GatewayEpoch,
    catalog::{EpochState, Gateway, Series, groups::Group},
};

pub(in crate::store) use crate::store::tree::sealed::{HEAD_BYTES, MAGIC, message, seal, sealed, unseal};

mod hours;
pub(in crate::store) mod shards;

pub(in crate::store) const GATEWAY: u8 = b'g';
pub(in crate::store) const EPOCH: u8 = b'o';
pub(in crate::store) const SHARDS: u8 = b'n';
pub(in crate::store) const HOURS: u8 = b'h';
pub(in crate::store) const GROUP: u8 = b's';
/// A block of an earlier version.
pub(in crate::store) const BLOCK: u8 = b'p';
pub(in crate::store) const TABLE: u8 = b't';
/// Key of the record of [`crate::store::tables::applied::Applied`].
pub(in crate::store) const APPLIED: &[u8] = b"r";
/// Key of the record of [`crate::store::salvage::tables::loss::LostWindows`].
pub(in crate::store) const LOST: &[u8] = b"l";
/// Key of the record of [`crate::store::backup`] that identifies the store.
pub(in crate::store) const STORE_ID: &[u8] = b"i";
/// Key of the [`Meta`] record.
pub(in crate::store) const META: &[u8] = b"m";

/// Metadata of the tree: how much of the journal is flushed, and which records must exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Meta {
    /// Everything before this position is flushed.
    pub(in crate::store) flushed_to: Position,
    /// Number for the next new series.
    pub(in crate::store) next_series: u32,
    /// Sequence number of the last write batch, which wrote this record.
    pub(in crate::store) sequence: u64,
    /// Numbers of records of gateways, epochs and groups.
    pub(in crate::store) gateways: u32,
    pub(in crate::store) epochs: u32,
    pub(in crate::store) groups: u32,
    /// Number of tables that count.
    pub(in crate::store) tables: u64,
    /// Numbers of tables below this one are used.
    pub(in crate::store) next_table: u64,
}

/// The blocks of a group of series, so that a missing or older one is noticed: their number, and a sum over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct BlockManifest {
    pub(in crate::store) blocks: u64,
    pub(in crate::store) sum: u64,
}

impl BlockManifest {
    /// Adds a block, as written by the write batch of this sequence number.
    pub(in crate::store) fn add(&mut self, key: &[u8], sequence: u64) {
        self.blocks = self.blocks.wrapping_add(1);
        self.sum = self.sum.wrapping_add(mark(key, sequence));
    }
}

fn mark(key: &[u8], sequence: u64) -> u64 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &sequence.to_le_bytes());
    (u64::from(crc) << 32 | (sequence & 0xffff_ffff)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct MetaRecord {
    #[prost(uint64, tag = "1")]
    flushed_to: u64,
    #[prost(uint32, tag = "2")]
    next_series: u32,
    #[prost(uint64, tag = "3")]
    sequence: u64,
    #[prost(uint32, tag = "4")]
    gateways: u32,
    #[prost(uint32, tag = "5")]
    epochs: u32,
    #[prost(uint32, tag = "6")]
    groups: u32,
    #[prost(uint64, tag = "7")]
    tables: u64,
    #[prost(uint64, tag = "8")]
    next_table: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct GatewayRecord {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(sint64, optional, tag = "3")]
    watermark: Option<i64>,
    /// Versions that do not know it leave it out when they write the record again: the gateway counts again.
    #[prost(bool, tag = "4")]
    retired: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct EpochRecord {
    #[prost(uint32, tag = "1")]
    gateway: u32,
    #[prost(fixed64, tag = "2")]
    id: u64,
    #[prost(sint64, tag = "3")]
    created_ms: i64,
    #[prost(uint32, tag = "4")]
    shards: u32,
    #[prost(uint64, tag = "5")]
    forgotten: u64,
    #[prost(bool, tag = "6")]
    concurrent: bool,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesRecord {
    /// Its index in the group.
    #[prost(uint32, tag = "1")]
    place: u32,
    #[prost(uint32, tag = "2")]
    gateway: u32,
    /// A message [`wire::SeriesRef`].
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(sint64, tag = "4")]
    first: i64,
    #[prost(sint64, tag = "5")]
    last: i64,
    #[prost(sint64, tag = "6")]
    end: i64,
    #[prost(sint64, tag = "7")]
    newest: i64,
    /// Number of the epoch that delivered it last; absent in records of earlier versions.
    #[prost(uint32, optional, tag = "8")]
    epoch: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct GroupRecord {
    #[prost(message, repeated, tag = "1")]
    series: Vec<SeriesRecord>,
    #[prost(uint64, tag = "2")]
    blocks: u64,
    #[prost(fixed64, tag = "3")]
    blocks_sum: u64,
}

/// A type stored as one record of the catalog.
pub(in crate::store) trait Stored: Sized {
    /// Its message.
    type Record: Message + Default;
    fn record(&self) -> Self::Record;
    /// `None` if the message's content breaks a rule.
    fn restore(record: Self::Record) -> Option<Self>;
}

impl Stored for Meta {
    type Record = MetaRecord;

    fn record(&self) -> MetaRecord {
        let Self { flushed_to, next_series, sequence, gateways, epochs, groups, tables, next_table } = *self;
        let flushed_to = flushed_to.get();
        MetaRecord { flushed_to, next_series, sequence, gateways, epochs, groups, tables, next_table }
    }

    fn restore(record: MetaRecord) -> Option<Self> {
        let MetaRecord { flushed_to, next_series, sequence, gateways, epochs, groups, tables, next_table } =
            record;
        let flushed_to = Position::new(flushed_to);
        Some(Self { flushed_to, next_series, sequence, gateways, epochs, groups, tables, next_table })
    }
}

impl Stored for Gateway {
    type Record = GatewayRecord;

    fn record(&self) -> GatewayRecord {
        GatewayRecord {
            site: self.id.site.as_str().to_owned(),
            name: self.id.name.as_str().to_owned(),
            watermark: self.watermark.map(Timestamp::as_nanos),
            retired: self.retired,
        }
    }

    fn restore(record: GatewayRecord) -> Option<Self> {
        let id = GatewayId { site: Name::new(&record.site).ok()?, name: Name::new(&record.name).ok()? };
        let watermark = record.watermark.map(Timestamp::from_nanos);
        Some(Self { watermark, retired: record.retired, ..Self::new(id) })
    }
}

/// The record of an epoch, without its gateway's name.
pub(in crate::store) fn epoch_record(state: &EpochState) -> EpochRecord {
    EpochRecord {
        gateway: state.gateway,
        id: state.epoch.id,
        created_ms: state.epoch.created_ms,
        shards: state.epoch.shards,
        forgotten: state.forgotten,
        concurrent: state.concurrent,
    }
}

/// An epoch without its shards; `None` if its gateway is unknown.
pub(in crate::store) fn restore_epoch(record: EpochRecord, gateways: &[Gateway]) -> Option<EpochState> {
    let gateway = gateways.get(record.gateway as usize)?.id.clone();
    let EpochRecord { id, created_ms, shards, forgotten, concurrent, .. } = record;
    Some(EpochState {
        gateway: record.gateway,
        epoch: GatewayEpoch { gateway, id, created_ms, shards, run: 0, previous_runs: Default::default() },
        shards: Vec::new(),
        unknown: false,
        open: false,
        forgotten,
        concurrent,
    })
}

impl Stored for Group {
    type Record = GroupRecord;

    fn record(&self) -> GroupRecord {
        let one = |(place, series): (u32, &Series)| SeriesRecord {
            place,
            gateway: series.gateway,
            key: series.key.encoded().to_vec(),
            first: series.first.as_nanos(),
            last: series.last.as_nanos(),
            end: series.end.as_nanos(),
            newest: series.newest.as_nanos(),
            epoch: series.epoch,
        };
        let BlockManifest { blocks, sum } = self.manifest;
        GroupRecord { series: self.series().map(one).collect(), blocks, blocks_sum: sum }
    }

    fn restore(record: GroupRecord) -> Option<Self> {
        let mut group = Self::default();
        group.stored = true;
        group.manifest = BlockManifest { blocks: record.blocks, sum: record.blocks_sum };
        for one in record.series {
            let key = wire::SeriesRef::decode(one.key.as_slice()).ok()?;
            let series = Series {
                gateway: one.gateway,
                key: SeriesKey::try_from(&key).ok()?.into(),
                first: Timestamp::from_nanos(one.first),
                last: Timestamp::from_nanos(one.last),
                end: Timestamp::from_nanos(one.end),
                newest: Timestamp::from_nanos(one.newest),
                epoch: one.epoch,
                flushed: Timestamp::from_nanos(one.last),
            };
            group.put(one.place, series).then_some(())?;
        }
        Some(group)
    }
}

/// The key of a numbered record.
pub(in crate::store) fn numbered(kind: u8, number: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(number.to_be_bytes());
    key
}

/// The number in the key of a numbered record.
pub(in crate::store) fn number_of(key: &[u8]) -> Option<u32> {
    let (_, number) = key.split_first()?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// The key of a block.
#[cfg(test)]
pub(in crate::store) fn block_key(group: u32, bucket: i64, block: u32) -> Vec<u8> {
    let mut key = bucket_key(group, bucket);
    key.extend(block.to_be_bytes());
    key
}

/// Prefix of the keys of all blocks of a bucket.
#[cfg(test)]
pub(in crate::store) fn bucket_key(group: u32, bucket: i64) -> Vec<u8> {
    let mut key = numbered(BLOCK, group);
    key.extend((bucket as u64 ^ 1 << 63).to_be_bytes());
    key
}

/// Group, bucket and number of a block, from its key.
pub(in crate::store) fn parse_block_key(key: &[u8]) -> Option<(u32, i64, u32)> {
    let (group, rest) = key.strip_prefix(&[BLOCK])?.split_first_chunk::<4>()?;
    let (bucket, block) = rest.split_first_chunk::<8>()?;
    let bucket = (u64::from_be_bytes(*bucket) ^ 1 << 63) as i64;
    Some((u32::from_be_bytes(*group), bucket, u32::from_be_bytes(block.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
