//! The task of one delivery stream.
//!
//! Batches are put concurrently, so that the store can make many durable with one sync; their results are taken
//! in the order in which they came, and acks are merged by shard while the gateway is slow to read them.
//! When the bound of batches in flight is reached, or the next message does not fit into the memory for what waits
//! ([`super::bytes`]), the stream is not read: HTTP/2's flow control slows the gateway. Any error ends the stream after the
//! acks of everything before it; the gateway sends again what was not acknowledged. A batch for whose series or epoch there is
//! no room does not end the stream: it is refused, batches of its shard are left out until it comes again, and other shards
//! continue. The stream of a gateway that is too old to know refusals ends.

//!
//! * `run`: begins the stream, registers it, and cleans up after it.
//! * `task`: its loop: reads, gives batches to the store, sends acks and refusals.
//! * `results`: what follows from the result of each batch. `end`: why a stream ended.

mod end;
mod results;
mod run;
mod task;

pub(super) use self::{end::End, run::run};

#[cfg(test)]
mod tests;
