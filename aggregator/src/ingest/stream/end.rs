//! Why a delivery stream ended.

use catchment_certs::EndReason;
use tonic::{Code, Status};

use crate::{ingest::admit::Refusal, session_end, store::StoreError};

/// Why streams end: all labels for metrics.
pub(crate) const END_REASONS: [&str; 22] = [
    "closed",
    "lost",
    "stopping",
    "superseded",
    "too_many_streams",
    "silent",
    "protocol",
    "shard",
    "gap",
    "malformed",
    "too_large",
    "watermark",
    "names",
    "full",
    "too_many_epochs",
    "store_failed",
    "store_unreadable",
    "panicked",
    EndReason::Revoked.reason(),
    EndReason::Expired.reason(),
    EndReason::Untrusted.reason(),
    EndReason::MaxAge.reason(),
];

/// Why a stream ended: a label for metrics, and the status for the gateway unless it ended the stream itself.
#[derive(Debug)]
pub(in crate::ingest) struct End {
    pub(in crate::ingest) reason: &'static str,
    pub(in crate::ingest) status: Option<Status>,
}

impl End {
    pub(in crate::ingest) fn new(reason: &'static str, code: Code, message: impl Into<String>) -> Self {
        Self { reason, status: Some(Status::new(code, message)) }
    }

    /// The session of the gateway's connection has ended.
    pub(super) fn of_session(reason: EndReason) -> Self {
        Self { reason: reason.reason(), status: Some(session_end::status(reason)) }
    }

    /// The stream's names exceed the memory for names.
    pub(in crate::ingest) fn names() -> Self {
        let message = "the series names of this stream exceed the memory left for names (ingest_bytes_max): begin \
                       a new stream and name the series again";
        Self::new("names", Code::ResourceExhausted, message)
    }

    /// Whether the gateway is held for a while before it may come back.
    pub(in crate::ingest) fn holds_back(&self) -> bool {
        matches!(self.reason, "full" | "too_many_epochs")
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason(), refusal.code(), refusal.to_string())
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        let (reason, code) = match &error {
            StoreError::Full(_) | StoreError::TooManySeries { .. } => ("full", Code::ResourceExhausted),
            StoreError::TooManyEpochs { .. } => ("too_many_epochs", Code::ResourceExhausted),
            StoreError::Gap { .. } => ("gap", Code::FailedPrecondition),
            StoreError::Superseded => ("superseded", Code::Aborted),
            StoreError::Body { .. } => ("malformed", Code::InvalidArgument),
            StoreError::Failed(_) => ("store_failed", Code::Unavailable),
            StoreError::Read(_) => ("store_unreadable", Code::Unavailable),
        };
        let advice = if reason == "full" { "; send again later" } else { "" };
        Self::new(reason, code, format!("{error}{advice}"))
    }
}

/// The gateway broke the stream: a message too large, a reset, or a lost connection.
pub(super) fn broken(status: Status) -> End {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => End { reason: "too_large", status: Some(status) },
        Code::Internal | Code::InvalidArgument => End { reason: "malformed", status: Some(status) },
        _ => End { reason: "lost", status: None },
    }
}
