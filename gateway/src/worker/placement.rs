//! The assignment of devices to shards, which never changes: a device's state lies in the journal of its shard.

use catchment_proto::Name;

/// The shard of a device: FNV-1a of its name, modulo the number of shards. Part of the data folder's format.
pub fn shard_of(device: &Name, shards: u32) -> u32 {
    let hash = device.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}
