//! Arrow Flight: answers of queries as record batches, for programs that read Arrow.
//!
//! * `request`: from a ticket, a descriptor or a metric's name to the request of `Query.Aggregate`.
//! * `service`: the gRPC methods. A query runs as that of `Query.Aggregate`, with the same limits.
//! * `stream`: from the messages of an answer to batches, as they come.
//! * `encoder`: from batches to Flight's messages.
//! * `list`: the metrics, a flight each.

mod encoder;
mod list;
mod request;
mod service;
mod stream;

pub(crate) use service::ArrowFlight;
