//! Answers: from a request to streamed points.
//!
//! * `selector`: which series, in PromQL's syntax.
//! * `plan`: the request checked against its bounds.
//! * `aggregate`: what a point can say of its readings.
//! * `merge`: series into groups, partials into points.
//! * `walk`: over all series or gateways, a page at a time.
//! * `scan`: a plan carried out over a store, a slice of points of one group at a time, so that the memory of
//!   a query does not grow with its answer.
//! * `scheduler`: slots and turns, shared fairly between operators; pure.
//! * `workers`: the threads, on which queries take turns of some milliseconds.
//! * `result_queue`, `sink`: the messages on their way to the reader, and what the work sees of it.
//! * `runner`: a query from its arrival to its reader's last message, under one deadline.
//! * `error`: why there is no whole answer.
//! * `service`: the gRPC method.

mod aggregate;
mod error;
mod merge;
mod plan;
mod result_queue;
mod runner;
mod scan;
mod scheduler;
mod selector;
mod service;
mod sink;
mod walk;
mod workers;

pub use aggregate::{Aggregate, AggregateError};
pub(crate) use error::QueryError;
pub(crate) use runner::{ResponseStream, Runner};
pub use selector::{Selector, SelectorError};
pub(crate) use service::QueryService;
pub(crate) use sink::Sink;
pub(crate) use walk::{each_gateway, each_series};
pub(crate) use workers::QueryCounts;
