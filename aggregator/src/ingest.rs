//! Delivery: from a gateway's stream to the store, and acks back.
//!
//! * `service`: the gRPC method; who calls, and a task for the stream.
//! * `shared`: what all streams share.
//! * `stream`: that task: at most so many batches in flight, acks in order, one reason for its end.
//! * `admit`: the rules of a stream, pure.
//! * `budget`: what a stream tells its gateway of series.
//! * `bytes`: memory of all that waits, with a share for each gateway.
//! * `stream_registry`: one current stream a data folder of a gateway; `waiting`: whose batches wait for room.

pub mod admit;
mod budget;
mod bytes;
mod service;
mod shared;
mod stream;
mod stream_registry;
mod waiting;

pub(crate) use bytes::{BYTES_LEAST, ByteBounds, IngestBytes, MESSAGE_BYTES, SHARE_LEAST, STREAM_BYTES};
pub(crate) use service::IngestService;
pub(crate) use shared::Shared;
pub(crate) use stream_registry::StreamRegistry;
