//! MQTT 3.1.1 and 5 over a device's connection, without sockets and clocks.
//!
//! ```text
//! bytes ─▶ packets (the codec library, both versions as one) ─▶ connection (the rules) ─▶ topics ─▶ Intake, replies
//! ```
//!
//! A gateway is no broker: it takes what devices publish, refuses subscriptions politely, accepts a last will and
//! does not forward it. An acknowledgement is a reply of an intake, so it leaves when the intake is durable.
//!
//! - QoS 0: taken, not acknowledged. QoS 1: PUBACK means durable; a message that a client repeats because it has
//!   not seen the PUBACK counts again, as the protocol has it ("at least once").
//! - QoS 2: the packet identifier is kept with the readings, in the same entry of the journal, until PUBREL; so a
//!   repeated PUBLISH counts once, across reconnects of a persistent session and restarts of the gateway.
//! - What is kept of a persistent session is that it exists, and its open packet identifiers.

pub mod connection;
pub mod packets;
pub mod topics;

#[cfg(test)]
pub(crate) mod tests;
