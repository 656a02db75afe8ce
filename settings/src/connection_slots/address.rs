//! Addresses that count as one peer.

use std::net::{IpAddr, Ipv6Addr};

/// Addresses that count as one: an IPv6 host can choose from a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressBlock {
    /// One IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
}

impl AddressBlock {
    /// The block of an address; an IPv4 address that is mapped to IPv6 is one of IPv4.
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self::V4(addr.to_bits()),
            IpAddr::V6(addr) => Self::V6(network(addr)),
        }
    }
}

/// The first half of the address.
fn network(addr: Ipv6Addr) -> u64 {
    u64::try_from(addr.to_bits() >> 64).unwrap_or(u64::MAX)
}
