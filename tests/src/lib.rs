//! Harness for tests of the whole system: real servers on port 0, real TLS, and a model that knows the answer.
//!
//! A [`world::World`] is one aggregator and some gateways, as threads or as the real programs, each behind a
//! [`link::Link`] that can be cut, frozen and pointed elsewhere. A [`device::Device`] speaks the protocols from
//! their description alone and notes in the [`model::Model`] what it sends; the model answers questions by
//! going through all readings, and the world's answers must come to equal its own. Everything stops and its
//! folder vanishes when the world is dropped.
//!
//! The harness panics where something is broken: that is a failed test.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

pub mod connection;
pub mod delivery;
pub mod device;
pub mod eventually;
pub mod link;
pub mod model;
pub mod mqtt;
pub mod pki;
pub mod process;
pub mod query;
pub mod rogue;
pub mod server;
pub mod world;

use std::time::{SystemTime, UNIX_EPOCH};

/// The time in Unix milliseconds.
///
/// # Panics
/// When the clock stands before 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The latest whole second that has begun, in Unix milliseconds.
pub fn this_second() -> i64 {
    now_ms() / 1000 * 1000
}
