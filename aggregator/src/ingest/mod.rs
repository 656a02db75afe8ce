//! Delivery: from a gateway's stream to the store, and acks back.
//!
//! * `service`: the gRPC method; who calls, and a task for the stream.
//! * `stream`: that task: at most so many batches in flight, acks in order, one reason for its end.
//! * `admit`: the rules of a stream, pure.
//! * `sessions`: one current stream a data folder of a gateway.

pub mod admit;
mod service;
mod sessions;
mod stream;

pub(crate) use service::{IngestService, Shared};
pub(crate) use sessions::Sessions;
