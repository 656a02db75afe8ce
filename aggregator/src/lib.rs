//! The centre: takes partials from gateways, keeps them, answers queries.
//!
//! The way of a batch: `transport` (a connection and whose it is) → `ingest` (the rules of a stream, acks in
//! order) → [`store`] (durable, by name and revision). The way of a question: `transport` → `query` or `fleet` →
//! [`store`]. `server` composes them: [`bind`] first, [`Aggregator::run`] second, and an ordered stop.

mod access;
mod clock;
pub mod clock_bound;
mod conditions;
pub mod config;
mod fleet;
pub mod ingest;
pub mod inspect;
mod metrics;
pub mod query;
mod server;
pub mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod usage;

pub use config::{Config, ConfigError, Options, QueryLimits};
pub use server::{Aggregator, RunError, StartError, bind, check};
