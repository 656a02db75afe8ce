//! Delivers the outboxes to an aggregator: one stream, batches up, acknowledgements down.
//!
//! Every batch is sent in its shard's order, from the lowest that is not acknowledged, and released when the
//! aggregator says that it is durable there. A stream that fails is opened again, at the next aggregator, after a
//! pause. What was sent without an acknowledgement is sent again, which is harmless.
//!
//! ```text
//! streams ─▶ stream ─▶ one sender a shard ─▶ sender_core ─▶ in_flight, refusal_backoff, transcode
//!               │            ▲
//!               └─▶ responses (feedback) ─▶ ack_deadlines
//! ```
//!
//! `sender_core`, `in_flight` and what they use are pure; the simulation drives them too. `outbox_chunk` reads the
//! outbox, `outbox_start` finds where to begin, `transcode` rewrites batches for an aggregator of an earlier version, `known_peer` keeps what it can read, `feedback` holds what the aggregator said
//! about a shard, `revocations` takes the aggregator's revocation lists, `certificates` tells when those of devices end, `backoff` makes the pauses between streams, `stream_error` says why a stream ended.

mod ack_deadlines;
mod backoff;
mod certificates;
mod config;
pub mod feedback;
pub mod in_flight;
mod known_peer;
pub mod outbox_chunk;
pub mod outbox_start;
mod refusal_backoff;
mod responses;
mod revocations;
mod sender;
pub mod sender_core;
mod stream;
mod stream_error;
mod streams;
pub mod transcode;

pub(crate) use self::{config::UplinkConfig, known_peer::KnownPeer, streams::run};
