//! The task of one delivery stream.
//!
//! Batches are put concurrently, so that the store can make many durable with one sync. Their results are taken in
//! order of arrival, and acks are merged by shard while the gateway is slow to read them.
//! The stream is not read while the most batches are in flight, or while the next message does not fit into the
//! memory for waiting messages ([`super::bytes`]): HTTP/2 flow control slows the gateway. Any error ends the stream
//! after the acks of everything before it; the gateway resends whatever was not acknowledged. A batch with new series
//! or a new epoch for which there is no room does not end the stream: it is refused, later batches of its shard are
//! skipped until the gateway resends it, and other shards continue. If the gateway is too old to know refusals, its
//! stream ends.

//!
//! * `run`: begins the stream, registers it, and cleans up after it.
//! * `task`: its loop: reads, gives batches to the store, sends acks and refusals.
//! * `results`: what follows from the result of each batch. `end`: why a stream ended.

mod end;
mod results;
mod run;
mod task;

pub(crate) use self::end::END_REASONS;
pub(super) use self::{end::End, run::run};

#[cfg(test)]
mod tests;
