//! Queries: from a request to streamed points.
//!
//! * `plan`: the request, checked against its limits.
//! * `range`: its windows and their points.
//! * `aggregate`: the aggregates of a point.
//! * `walk`: iterates over the selected series or all gateways, page by page.
//! * `groups`: series into groups.
//! * `order`: which groups come first, or at all.
//! * `completeness`: which gateways count, and how far an answer is complete.
//! * `scan`: executes a plan: the parts of a query a few ahead of what is sent, so that its memory does not grow with its
//!   answer.
//! * `pieces`, `large_group`: which part reads what: several small groups, a span of time of a long one, some of the
//!   series of a large one.
//! * `read`: a part: rows of a store into points into messages.
//! * `points`, `follow`: rows into points, one series after the other in order of time.
//! * `messages`: points into messages.
//! * `fill`: points without readings.
//! * `task`: what work needs: turns, deadline, memory, parts.
//! * `scheduler`: slots and turns, shared fairly between operators; pure.
//! * `workers`, `ingest_watch`: the threads, on which queries and their parts take turns of a few milliseconds, and how many
//!   of them at once.
//! * `result_queue`, `sink`: the messages in flight to the reader, and the work's interface to them.
//! * `runner`: a query from its arrival to its reader's last message, under one deadline.
//! * `promql`: the source of the evaluator of PromQL, and lists of series and labels.
//! * `raw`: raw readings, asked of the gateways.
//! * `error`: why an answer is incomplete.
//! * `watch`: pushes the points of a query as they change.
//! * `service`: the gRPC methods.

mod aggregate;
mod completeness;
mod compute;
mod error;
mod fill;
mod follow;
mod groups;
mod ingest_watch;
mod large_group;
mod messages;
mod order;
mod pieces;
mod plan;
mod points;
pub(crate) mod promql;
mod range;
mod raw;
mod read;
mod result_queue;
mod runner;
mod scan;
mod scheduler;
mod service;
mod sink;
mod task;
mod walk;
mod watch;
mod workers;

pub use crate::selector::{Selector, SelectorError};
pub use aggregate::{
    Aggregate, AggregateError, AggregateValue, ArgumentError, Arithmetic, Figures, OrderAggregate,
    StateAggregate, ValueAggregate, characters,
};
pub(crate) use compute::are_quick;
pub(crate) use error::{QueryError, REFUSED_REASONS};
pub(crate) use plan::layout;
pub(crate) use runner::{ResponseStream, Runner};
pub(crate) use service::QueryService;
pub(crate) use sink::Sink;
pub(crate) use walk::{each_gateway, each_series};
pub(crate) use watch::{WATCH_REASONS, WatchHub};
pub(crate) use workers::QueryCounts;
