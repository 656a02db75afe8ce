//! A sequenced device: sends messages to a gateway until each one is acknowledged as durable.
//!
//! ```text
//! caller ──bounded channel──▶ deliver ──window of unacknowledged messages──▶ codec ──▶ TLS ──▶ gateway
//!    ▲                          │  ▲                                                             │
//!    └────────── events ────────┘  └────────────── welcome, acks, refusals ◀────────────────────┘
//! ```
//!
//! Invariants: the caller's sequence numbers grow; a message leaves the window only when it is acknowledged
//! or refused as a whole; after a reconnect everything above the welcome's ack is sent again, unchanged and in
//! order. So each message counts once, however often the connection fails. While the window is full the
//! channel is not read: a slow gateway slows the caller.

mod codec;
mod deliver;
mod dial;
mod values;
mod window;

pub use codec::{About, Codec, CodecError, Frames, JsonLines, RawLine, RawLines, Refusal, Reply};
pub use deliver::{DeliverError, Event, Options, deliver};
pub use dial::{Dial, DialError, GatewayAddress, GatewayAddressError, GatewayLink};
pub use values::{Value, Values};
pub use window::{Message, Window};

use std::fmt;

/// Device protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// One JSON value per line.
    Json,
    /// `catchment/1`: length-prefixed protobuf messages.
    Frames,
}

impl Protocol {
    /// The application protocols (ALPN) to offer.
    pub fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Json => &[],
            Self::Frames => &[b"catchment/1"],
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Json => "json",
            Self::Frames => "frames",
        })
    }
}

/// An epoch of its own for each run: 16 random hexadecimal digits.
pub fn random_epoch() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests;
