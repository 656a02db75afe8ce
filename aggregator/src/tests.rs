//! The whole aggregator in this process: real mutual TLS on port 0, identities of a new authority.

mod api;
mod completeness;
mod delivering;
mod epochs;
mod flight;
mod queries;
mod retention;
mod rig;
mod roles;
mod sessions;
mod sharing;
mod silent;
mod watch;
mod watch_bounds;
mod watch_queries;
