//! Wires the gateway together, from its configuration to its ordered shutdown. Nothing is wired elsewhere.
//!
//! Bind first, run second: a [`Gateway`] knows its real addresses and has recovered its state before it accepts.
//!
//! * `start`: opens and recovers everything, binds the addresses. `gateway`: what is then started and stopped.
//! * `serve`: what ends a gateway; `end`: its ordered end; `failure`: why it did not start, or stopped.
//! * `observe`, `probes`: what metrics and probes see.

mod end;
mod failure;
mod gateway;
mod observe;
mod probes;
mod serve;
mod start;

pub use failure::{RunError, StartError};
pub use gateway::Gateway;
pub(crate) use start::KIND;
pub use start::{bind, bind_with, check, system};

#[cfg(test)]
mod tests;
