//! Why an expression or a list has no answer, as the HTTP side says it.

use std::fmt;

use tonic::{Code, Status};

/// Kinds of failures, by Prometheus' `errorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The request is wrong: `bad_data`, status 400.
    Bad,
    /// It cannot be answered over this data, would be too much, or there are too many queries: `execution`, 422.
    Execution,
    /// The time is over: `timeout`, 503.
    Timeout,
    /// The caller is gone: `canceled`, 499.
    Cancelled,
    /// The store or a program failed: `internal`, 500.
    Internal,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which kind.
    pub(crate) kind: FailureKind,
    /// In words.
    pub(crate) text: String,
}

impl Failure {
    /// A failure in words.
    pub(crate) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let kind = match status.code() {
            Code::InvalidArgument => FailureKind::Bad,
            Code::FailedPrecondition | Code::ResourceExhausted => FailureKind::Execution,
            Code::DeadlineExceeded => FailureKind::Timeout,
            Code::Cancelled => FailureKind::Cancelled,
            _ => FailureKind::Internal,
        };
        Self::new(kind, status.message())
    }
}
