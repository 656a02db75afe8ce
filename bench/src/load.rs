//! Load on a server, from this process: connections with TLS whose messages are made ahead but for numbers and times.
//!
//! [`run()`] opens all connections, then lets them send until the time is over, then waits for what is not yet
//! acknowledged; what the server used of its processors is read just before and just after. Two threads at the most,
//! each with an event loop of its own: the machine's processors are shared with the server.

pub(crate) mod backfill;
pub(crate) mod connection;
pub(crate) mod delivery;
pub(crate) mod frames;
pub(crate) mod handshakes;
pub(crate) mod idle;
pub(crate) mod json;
pub(crate) mod line_protocol;
pub(crate) mod manual;
pub(crate) mod mqtt;
pub(crate) mod queries;
mod run;
mod shape;
mod target;
mod ticks;
mod unique;
pub(crate) mod walk;

pub(crate) use self::{
    run::{event_loop, run, threads},
    shape::{Ending, Outcome, Shape},
    target::{Target, client, cpu_of},
    unique::{now_ns, unique},
};

#[cfg(test)]
mod tests;
