//! Gateway, network and aggregator in one thread, under faults that a seed decides, against a naive model.
//!
//! What runs is the product's code: the decoders and the reading core of a session, the decisions of a device's
//! sessions, the shard with its fold, journal, outbox and checkpoints, the sender's bookkeeping, the rules of a
//! delivery stream, the embedded store with its journal and its packing. What is replaced: sockets and TLS by queues
//! that cut, delay and repeat; the disk by one that loses what was not synced, tears writes, fails and fills up; sled
//! by a tree that is atomic and durable with each commit; threads and tasks by single steps. So a seed is one history,
//! again and again, and thousands take seconds.
//!
//! At the end of a schedule every window of every series must equal the model's: what was acknowledged to a device
//! counts once, what it gave up before it was acknowledged counts once or not at all, and nothing else is there.

// A simulation that meets the impossible is to say so loudly, and its indexes are its own.
#![allow(clippy::indexing_slicing)]

pub mod aggregator;
pub mod device;
pub mod end;
pub mod gateway;
pub mod histories;
pub mod limits;
pub mod messages;
pub mod random;
pub mod schedule;
pub mod stats;
pub mod truth;
pub mod world;

pub use schedule::run;
pub use stats::RunStats;

#[cfg(test)]
mod tests;
