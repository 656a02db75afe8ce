//! What a device sends.

use std::num::NonZeroU16;

use rmqtt_codec::types::Publish;

use super::borrowed_publish::BorrowedPublish;

/// First byte of a CONNECT.
pub const CONNECT: u8 = 0x10;

/// What a device sends.
#[derive(Debug)]
pub enum Packet<'a> {
    /// The first packet.
    Connect(Box<Connect>),
    /// An ordinary message.
    BorrowedPublish(BorrowedPublish<'a>),
    /// Any other message.
    Publish(Box<Publish>),
    /// The client has released a QoS 2 message.
    Release(NonZeroU16),
    /// SUBSCRIBE.
    Subscribe {
        /// Packet identifier.
        id: NonZeroU16,
        /// Number of filters.
        filters: usize,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// Packet identifier.
        id: NonZeroU16,
        /// Number of filters.
        filters: usize,
    },
    /// It is alive.
    Ping,
    /// It ends the connection.
    Disconnect {
        /// It also ends its session.
        forget: bool,
        /// Its session is to outlive the connection.
        keep: bool,
    },
}

/// A CONNECT, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Client identifier; may be empty when `clean`.
    pub client: String,
    /// What is kept of an earlier session is to be forgotten.
    pub clean: bool,
    /// The session is to outlive the connection.
    pub persistent: bool,
    /// Longest silence of the client in seconds; 0 for any.
    pub keep_alive: u16,
    /// It wants to authenticate by more than its certificate.
    pub authenticates: bool,
}
