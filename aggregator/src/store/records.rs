//! Keys and values of the sled tree: everything that is durable beside the journal.
//!
//! | key | value |
//! |---|---|
//! | `g` gateway | its name and watermark |
//! | `o` origin | gateway, epoch, shards |
//! | `n` origin | delivered number and watermark of each shard, as of the journal position in `m` |
//! | `s` series | gateway, device, metric, labels, first and last window, newest reading |
//! | `m` | journal position up to which the packs are complete, next series number |
//! | `p` series, bucket, pack | a pack (see `pack`) |
//!
//! Numbers in keys are big endian, so that sled's order is theirs. Every value but a pack, which has its own, ends
//! in a CRC-32C of key and value: a value under the wrong key is damage too.

use catchment_journal::Position;
use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, Name, SeriesKey, wire};
use prost::Message;

use super::{
    Origin,
    catalog::{Gateway, OriginState, Series, Shard},
};

pub(super) const GATEWAY: u8 = b'g';
pub(super) const ORIGIN: u8 = b'o';
pub(super) const SHARDS: u8 = b'n';
pub(super) const SERIES: u8 = b's';
pub(super) const PACK: u8 = b'p';
/// Key of the [`Meta`] record.
pub(super) const META: &[u8] = b"m";

const CRC_BYTES: usize = 4;

/// How far the packs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Everything before is packed.
    pub(super) packed_to: Position,
    /// Number for the next new series.
    pub(super) next_series: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaRecord {
    #[prost(uint64, tag = "1")]
    packed_to: u64,
    #[prost(uint32, tag = "2")]
    next_series: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GatewayRecord {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(sint64, optional, tag = "3")]
    watermark: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OriginRecord {
    #[prost(uint32, tag = "1")]
    gateway: u32,
    #[prost(fixed64, tag = "2")]
    epoch: u64,
    #[prost(sint64, tag = "3")]
    epoch_created_ms: i64,
    #[prost(uint32, tag = "4")]
    shards: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ShardRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(sint64, optional, tag = "2")]
    watermark: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ShardsRecord {
    #[prost(message, repeated, tag = "1")]
    shards: Vec<ShardRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesRecord {
    #[prost(uint32, tag = "1")]
    gateway: u32,
    #[prost(message, optional, tag = "2")]
    key: Option<wire::SeriesRef>,
    #[prost(sint64, tag = "3")]
    first: i64,
    #[prost(sint64, tag = "4")]
    last: i64,
    #[prost(sint64, tag = "5")]
    end: i64,
    #[prost(sint64, tag = "6")]
    newest: i64,
}

/// Something that is kept as one record of the catalog.
pub(super) trait Stored: Sized {
    /// Its message.
    type Record: Message + Default;
    fn record(&self) -> Self::Record;
    /// `None` if the message's content breaks a rule.
    fn restore(record: Self::Record) -> Option<Self>;
}

impl Stored for Meta {
    type Record = MetaRecord;

    fn record(&self) -> MetaRecord {
        MetaRecord { packed_to: self.packed_to.get(), next_series: self.next_series }
    }

    fn restore(record: MetaRecord) -> Option<Self> {
        Some(Self { packed_to: Position::new(record.packed_to), next_series: record.next_series })
    }
}

impl Stored for Gateway {
    type Record = GatewayRecord;

    fn record(&self) -> GatewayRecord {
        GatewayRecord {
            site: self.id.site.as_str().to_owned(),
            name: self.id.name.as_str().to_owned(),
            watermark: self.watermark.map(Timestamp::as_nanos),
        }
    }

    fn restore(record: GatewayRecord) -> Option<Self> {
        let id = GatewayId { site: Name::new(&record.site).ok()?, name: Name::new(&record.name).ok()? };
        Some(Self { id, watermark: record.watermark.map(Timestamp::from_nanos), present: None })
    }
}

/// The identity of an origin, without its gateway's name.
pub(super) fn origin_record(state: &OriginState) -> OriginRecord {
    OriginRecord {
        gateway: state.gateway,
        epoch: state.origin.epoch,
        epoch_created_ms: state.origin.epoch_created_ms,
        shards: state.origin.shards,
    }
}

/// An origin without its shards, given the gateways; `None` if its gateway is not among them.
pub(super) fn restore_origin(record: OriginRecord, gateways: &[Gateway]) -> Option<OriginState> {
    let gateway = gateways.get(record.gateway as usize)?.id.clone();
    let OriginRecord { epoch, epoch_created_ms, shards, .. } = record;
    Some(OriginState {
        gateway: record.gateway,
        origin: Origin { gateway, epoch, epoch_created_ms, shards },
        shards: Vec::new(),
    })
}

impl Stored for Vec<Shard> {
    type Record = ShardsRecord;

    fn record(&self) -> ShardsRecord {
        let shard =
            |s: &Shard| ShardRecord { number: s.number, watermark: s.watermark.map(Timestamp::as_nanos) };
        ShardsRecord { shards: self.iter().map(shard).collect() }
    }

    fn restore(record: ShardsRecord) -> Option<Self> {
        let shard =
            |s: ShardRecord| Shard { number: s.number, watermark: s.watermark.map(Timestamp::from_nanos) };
        Some(record.shards.into_iter().map(shard).collect())
    }
}

impl Stored for Series {
    type Record = SeriesRecord;

    fn record(&self) -> SeriesRecord {
        SeriesRecord {
            gateway: self.gateway,
            key: Some((&self.key).into()),
            first: self.first.as_nanos(),
            last: self.last.as_nanos(),
            end: self.end.as_nanos(),
            newest: self.newest.as_nanos(),
        }
    }

    fn restore(record: SeriesRecord) -> Option<Self> {
        Some(Self {
            gateway: record.gateway,
            key: SeriesKey::try_from(record.key.as_ref()?).ok()?,
            first: Timestamp::from_nanos(record.first),
            last: Timestamp::from_nanos(record.last),
            end: Timestamp::from_nanos(record.end),
            newest: Timestamp::from_nanos(record.newest),
        })
    }
}

/// The key of a numbered record.
pub(super) fn numbered(kind: u8, number: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(number.to_be_bytes());
    key
}

/// The number in such a key.
pub(super) fn number_of(key: &[u8]) -> Option<u32> {
    let (_, number) = key.split_first()?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// The key of a pack.
pub(super) fn pack_key(series: u32, bucket: i64, pack: u32) -> Vec<u8> {
    let mut key = bucket_key(series, bucket);
    key.extend(pack.to_be_bytes());
    key
}

/// What the keys of all packs of a bucket begin with.
pub(super) fn bucket_key(series: u32, bucket: i64) -> Vec<u8> {
    let mut key = numbered(PACK, series);
    key.extend((bucket as u64 ^ 1 << 63).to_be_bytes());
    key
}

/// Series, bucket and number of the pack under a key.
pub(super) fn pack_of(key: &[u8]) -> Option<(u32, i64, u32)> {
    let (series, rest) = key.strip_prefix(&[PACK])?.split_first_chunk::<4>()?;
    let (bucket, pack) = rest.split_first_chunk::<8>()?;
    let bucket = (u64::from_be_bytes(*bucket) ^ 1 << 63) as i64;
    Some((u32::from_be_bytes(*series), bucket, u32::from_be_bytes(pack.try_into().ok()?)))
}

/// A message as a value under this key.
pub(super) fn seal(key: &[u8], message: &impl Message) -> Vec<u8> {
    let mut value = message.encode_to_vec();
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend(crc.to_le_bytes());
    value
}

/// The message of the value under this key.
///
/// # Errors
/// What is wrong with it, for a person.
pub(super) fn unseal<M: Message + Default>(key: &[u8], value: &[u8]) -> Result<M, &'static str> {
    let (message, crc) = value.split_last_chunk::<CRC_BYTES>().ok_or("its checksum is missing")?;
    if crc32c::crc32c_append(crc32c::crc32c(key), message) != u32::from_le_bytes(*crc) {
        return Err("its checksum does not match");
    }
    M::decode(message).map_err(|_| "its content is malformed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_of_packs_sort_as_their_numbers(a: (u32, i64, u32), b: (u32, i64, u32)) {
            let (key, other) = (pack_key(a.0, a.1, a.2), pack_key(b.0, b.1, b.2));
            prop_assert_eq!(pack_of(&key), Some(a));
            prop_assert_eq!(key.cmp(&other), a.cmp(&b));
        }

        #[test]
        fn no_value_panics(value: Vec<u8>) {
            prop_assert!(unseal::<SeriesRecord>(b"k", &value).is_err());
        }
    }

    #[test]
    fn a_value_under_another_key_is_damage() {
        let message = Meta { packed_to: Position::new(7), next_series: 3 }.record();
        let value = seal(b"m", &message);
        assert_eq!(unseal::<MetaRecord>(b"m", &value), Ok(message));
        assert!(unseal::<MetaRecord>(b"n", &value).is_err());
    }
}
