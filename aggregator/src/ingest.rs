//! Delivery: from a gateway's stream to the store, and acks back.
//!
//! * `service`: the gRPC method; authenticates the gateway and spawns a task per stream.
//! * `shared`: what all streams share.
//! * `stream`: that task: bounds batches in flight, acks in order, ends for one reason.
//! * `admit`: the rules of a stream, pure.
//! * `leave_out`: leaves windows out of a batch that are too far ahead of the clock.
//! * `budget`: the series budget that a stream sends to its gateway.
//! * `backlog`: whether a stream delivers the past, which waits for tables.
//! * `bytes`: memory of everything that waits, with a share for each gateway.
//! * `revocations`: the revocation lists that gateways are sent, and who holds them.
//! * `raw_routes`: queries for raw readings, and the readings back.
//! * `stream_registry`: one current stream per data folder of a gateway; `waiting`: gateways whose batches wait for
//!   room.

pub mod admit;
mod backlog;
mod budget;
mod bytes;
mod leave_out;
mod raw_routes;
mod revocations;
mod service;
mod shared;
mod stream;
mod stream_registry;
mod waiting;

pub(crate) use bytes::{BYTES_LEAST, ByteBounds, IngestBytes, MESSAGE_BYTES, SHARE_LEAST, STREAM_BYTES};
pub(crate) use raw_routes::CREDIT;
pub(crate) use revocations::{ListsState, publish as publish_revocations};
pub(crate) use service::IngestService;
pub(crate) use shared::Shared;
pub(crate) use stream::END_REASONS;
pub(crate) use stream_registry::StreamRegistry;
pub(crate) use waiting::REFUSAL_REASONS;
