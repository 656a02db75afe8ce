//! Answers: from a request to streamed points.
//!
//! * `selector`: which series, in PromQL's syntax.
//! * `plan`: the request checked against its bounds.
//! * `aggregate`: what a point can say of its readings.
//! * `merge`: series into groups, partials into points.
//! * `scan`: a plan carried out over a store, a slice of points of one group at a time, so that the memory of
//!   a query does not grow with its answer.
//! * `runner`: a thread for each question, few at a time, under a deadline.
//! * `service`: the gRPC method.

mod aggregate;
mod merge;
mod plan;
mod runner;
mod scan;
mod selector;
mod service;

pub use aggregate::{Aggregate, AggregateError};
pub(crate) use runner::{AnswerStream, AskError, Runner};
pub use selector::{Selector, SelectorError};
pub(crate) use service::QueryService;
