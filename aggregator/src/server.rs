//! Composition of the services, and the order of shutdown.
//!
//! Shutdown: stop accepting, end delivery streams after their last acks and queries after their last message, then
//! close the store. Connections have half of the stop timeout; those still open are then cut. Nothing acknowledged
//! depends on them.
//!
//! * `start`: from a configuration to what is bound. `run`: serves, and the ordered end. `failure`: why it does not.
//! * `hand_over`, `services`, `ready`: from an accepted connection to its service; what probes see.

mod failure;
mod hand_over;
mod ready;
mod run;
mod services;
mod start;

pub use self::{
    failure::{RunError, StartError},
    run::Aggregator,
    start::{bind, check},
};
#[cfg(test)]
pub(crate) use start::{bind_with, identity};
