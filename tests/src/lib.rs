//! Harness for tests of the whole system: real servers on port 0, real TLS, and a model with the expected results.
//!
//! A [`world::World`] is one aggregator and some gateways, as threads or as the real programs, each behind a
//! [`link::Link`] that can be cut, frozen and redirected. A [`device::Device`] implements the protocols from their
//! documentation alone and records in the [`model::Model`] what it sends; the model answers queries by scanning all
//! readings, and the world's results must converge to the model's. Dropping the world stops everything and removes its
//! folder.
//!
//! The harness panics on any failure, which fails the test.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

pub mod api;
pub mod browser;
pub mod connection;
pub mod debian;
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
pub mod versions;
pub mod world;

use std::time::{SystemTime, UNIX_EPOCH};

/// The time in Unix milliseconds.
///
/// # Panics
/// When the clock is before 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The start of the current second, in Unix milliseconds.
pub fn this_second() -> i64 {
    now_ms() / 1000 * 1000
}
