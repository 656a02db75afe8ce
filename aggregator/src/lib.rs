//! The aggregator: accepts partials from gateways, stores them and answers queries.
//!
//! Data path of a batch: `transport` (the connection and its identity) → `ingest` (rules of a stream, acks in order)
//! → [`store`] (durable, ordered by number and revision). Data path of a query: `transport` → `query`, `flight` or `fleet` →
//! [`store`]. `server` composes them: [`bind`], then [`Aggregator::run`], then a graceful shutdown.

mod access;
pub mod backup;
pub mod calendar;
mod certificates;
mod clock;
pub mod clock_bound;
mod conditions;
pub mod config;
mod fleet;
mod flight;
pub mod ingest;
pub mod inspect;
mod metrics;
mod prometheus;
pub mod query;
mod retention;
pub mod selector;
mod server;
mod session_end;
pub mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod usage;

pub use config::{Config, ConfigError, Options, QueryLimits};
pub use server::{Aggregator, RunError, StartError, bind, check};
