//! The protocols of a session: which one it is, and how its bytes become an [`Intake`](crate::intake::Intake).
//!
//! Pure: the session feeds bytes and the time, and writes what comes back.
//!
//! - `kind`: the protocols, their names and ALPN; `options`: what they need of the configuration;
//! - `reader`: what all readers have in common; `frames`, `json_lines`, `line_protocol`, `mqtt`: one reader each;
//! - `sequence`: ordinals and sequence numbers of the protocols that count messages;
//! - `decoder`: the decoding half of a connection, whatever its protocol.
//!
//! How responses look in each protocol: [`super::encode`].

mod decoder;
mod frames;
mod json_lines;
mod kind;
mod line_protocol;
mod mqtt;
mod options;
mod reader;
mod sequence;

pub use self::{
    decoder::Decoder,
    kind::{ALPN_FRAMES, ALPN_MQTT, Protocol},
    options::ProtocolOptions,
    reader::{Closing, DecodeStop},
};
