//! Gateway, network and aggregator in one thread, under faults that a seed decides, against a naive model.
//!
//! The product's own code runs: the decoders and the reading core of a session, the decisions of a device's sessions,
//! the shard with its fold, journal, outbox and checkpoints, what the outbox sender sends and releases, the rules of a
//! delivery stream, the embedded store with its journal and its flusher. Replaced are sockets and TLS, by queues that
//! cut, delay and repeat; the disk, by one that loses unsynced data, tears writes, fails and fills up; sled, by a tree
//! that is atomic and durable with each commit; threads and tasks, by single steps. So a seed always gives the same
//! history, and thousands of schedules take seconds.
//!
//! At the end of a schedule every window of every series must equal the model's: readings acknowledged to a device
//! count once, readings that it gave up before their acknowledgement count once or not at all, and there are no others.

// A simulation should panic on the impossible, and its indexes are its own.
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
