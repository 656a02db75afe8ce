//! Packets of both versions as one: what a device may send, and the bytes of replies.
//!
//! The codec library reads and writes the bytes. This folder bounds what it is given (whole packets only, never longer
//! than the bound, so it holds no buffer of its own) and hides the differences of the versions.
//! Sources: MQTT Version 3.1.1 and MQTT Version 5.0, OASIS Standards.
//!
//! - `packet`, `violation`: what is read, and why a connection ends (what is answered: [`crate::intake::Reply`]);
//! - `codec`: reads and writes the packets of one connection; `length`: where a packet ends;
//! - `borrowed_publish`: ordinary messages, read in place; `read`, `write`: all other packets, from and to the
//!   library's;
//! - `conformance`: what the standards forbid and the library lets pass;
//! - `disconnect`, `fitting`: the last packet of a connection, and packets that fit what the client takes.

mod borrowed_publish;
mod codec;
mod conformance;
mod disconnect;
mod fitting;
mod length;
mod packet;
mod read;
mod violation;
mod write;

pub use rmqtt_codec::types::QoS;

pub use self::{
    borrowed_publish::BorrowedPublish,
    codec::Packets,
    packet::{CONNECT, Connect, Packet},
    violation::Violation,
};
