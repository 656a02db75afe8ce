//! Queries: from a request to streamed points.
//!
//! * `plan`: the request, checked against its limits.
//! * `aggregate`: the aggregates of a point.
//! * `merge`: series into groups, partials into points.
//! * `follow`: one series after the other in order of time, for aggregates that depend on it.
//! * `walk`: iterates over all series or gateways, page by page.
//! * `scan`: executes a plan over a store, a slice of points of one group at a time, so that the memory of a query
//!   does not grow with its answer.
//! * `scheduler`: slots and turns, shared fairly between operators; pure.
//! * `workers`: the threads, on which queries take turns of a few milliseconds.
//! * `result_queue`, `sink`: the messages in flight to the reader, and the work's interface to them.
//! * `runner`: a query from its arrival to its reader's last message, under one deadline.
//! * `error`: why an answer is incomplete.
//! * `service`: the gRPC method.

mod aggregate;
mod error;
mod follow;
mod ingest_watch;
mod large_group;
mod merge;
mod messages;
mod pieces;
mod plan;
mod points;
mod read;
mod result_queue;
mod runner;
mod scan;
mod scheduler;
mod service;
mod sink;
mod task;
mod walk;
mod workers;

pub use crate::selector::{Selector, SelectorError};
pub use aggregate::{
    Aggregate, AggregateError, AggregateValue, ArgumentError, Figures, OrderAggregate, StateAggregate,
    ValueAggregate,
};
pub(crate) use error::QueryError;
pub(crate) use runner::{ResponseStream, Runner};
pub(crate) use service::QueryService;
pub(crate) use sink::Sink;
pub(crate) use walk::{each_gateway, each_series};
pub(crate) use workers::QueryCounts;
