//! The whole aggregator in this process: real mutual TLS on port 0, identities of a fresh authority.

mod asking;
mod completeness;
mod delivering;
mod epochs;
mod rig;
mod roles;
mod sharing;
mod silent;
