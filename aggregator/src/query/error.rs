//! Why an answer is incomplete: as text, as a gRPC status, and as a metric label.

use std::time::Duration;

use catchment_settings::ByteSize;
use tonic::Status;

use super::{plan::PlanError, points::WidthMismatch};
use crate::{selector::SelectorError, store::StoreError};

/// Why a query has no complete answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(transparent)]
    Width(#[from] WidthMismatch),
    #[error(
        "the answer has more than {max} points: use a wider step, a shorter range, or fewer labels in by, or raise query_points_max"
    )]
    TooManyPoints { max: u64 },
    #[error("no answer within {}: ask for less, or raise query_timeout", humantime::format_duration(*.0))]
    Deadline(Duration),
    #[error(
        "nothing of the answer was read for {}: read it as it comes, or raise query_read_timeout",
        humantime::format_duration(*.0)
    )]
    Unread(Duration),
    #[error(
        "{waiting} queries of this operator are waiting already: retry when some have ended, or raise queries_waiting_per_operator_max or queries_waiting_max"
    )]
    TooManyWaiting { waiting: usize },
    #[error(
        "no query of this operator ended within {} to make room for this one: send fewer at once, or raise queries_per_operator_max or queries_max",
        humantime::format_duration(*.0)
    )]
    Busy(Duration),
    #[error(
        "the query needs more memory than is free for this operator, of {} in all: select fewer series, use fewer labels in by, or raise query_memory",
        ByteSize(*.0 as u64)
    )]
    Memory(usize),
    #[error("the caller is gone")]
    Gone,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    BadExpression(String),
    #[error("{0}")]
    Execution(String),
    #[error(
        "stored windows of {0} ms lie across the times of the expression, and wider ones were found each time it was evaluated: ask for a shorter range"
    )]
    WiderWindows(u32),
    #[error("the query failed unexpectedly; see the aggregator's log")]
    Panicked,
}

/// Why queries are refused: all labels for metrics.
pub(crate) const REFUSED_REASONS: [&str; 12] = [
    "malformed",
    "step",
    "execution",
    "too_many_points",
    "deadline",
    "unread",
    "too_many_waiting",
    "busy",
    "memory",
    "caller_gone",
    "store",
    "failed",
];

impl QueryError {
    /// Label of the metric.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Plan(_) | Self::Selector(_) | Self::BadExpression(_) => "malformed",
            Self::Width(_) | Self::WiderWindows(_) => "step",
            Self::Execution(_) => "execution",
            Self::TooManyPoints { .. } => "too_many_points",
            Self::Deadline(_) => "deadline",
            Self::Unread(_) => "unread",
            Self::TooManyWaiting { .. } => "too_many_waiting",
            Self::Busy(_) => "busy",
            Self::Memory(_) => "memory",
            Self::Gone => "caller_gone",
            Self::Store(_) => "store",
            Self::Panicked => "failed",
        }
    }
}

impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Plan(_)
            | QueryError::Selector(_)
            | QueryError::Width(_)
            | QueryError::BadExpression(_)
            | QueryError::TooManyPoints { .. } => Self::invalid_argument(message),
            QueryError::Deadline(_) | QueryError::Unread(_) => Self::deadline_exceeded(message),
            QueryError::TooManyWaiting { .. } | QueryError::Busy(_) | QueryError::Memory(_) => {
                Self::resource_exhausted(message)
            }
            QueryError::Execution(_) | QueryError::WiderWindows(_) => Self::failed_precondition(message),
            QueryError::Gone => Self::cancelled(message),
            QueryError::Store(StoreError::Failed(_)) => Self::unavailable(message),
            QueryError::Store(_) | QueryError::Panicked => Self::internal(message),
        }
    }
}
