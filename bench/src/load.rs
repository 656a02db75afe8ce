//! Load on a server, from this process: TLS connections whose messages are made ahead except for numbers and times.
//!
//! [`run()`] opens all connections, lets them send until the time is over, then waits for outstanding acknowledgements;
//! the server's processor time is read just before and just after. At most two threads, each with its own event loop:
//! the server shares the machine's processors.

pub(crate) mod backfill;
pub(crate) mod connection;
pub(crate) mod crowd;
pub(crate) mod delivery;
pub(crate) mod frames;
pub(crate) mod handshakes;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod idle;
pub(crate) mod json;
pub(crate) mod line_protocol;
pub(crate) mod manual;
pub(crate) mod mqtt;
pub(crate) mod operator;
pub(crate) mod queries;
mod run;
mod shape;
mod target;
mod ticks;
mod unique;
pub(crate) mod walk;
pub(crate) mod watch;

pub(crate) use self::{
    run::{event_loop, run, threads},
    shape::{Ending, Outcome, Shape},
    target::{Target, client, cpu_of},
    unique::{now_ns, unique},
};

#[cfg(test)]
mod tests;
