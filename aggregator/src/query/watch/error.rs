//! Why a watch is refused or ends: as text, as a gRPC status, and as a metric label.

use catchment_settings::ByteSize;
use tonic::Status;

use super::token::TokenError;
use crate::query::error::QueryError;

/// Why a watch is refused or ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("a watch needs a step: give the width of its points")]
    NoStep,
    #[error("{0} cannot be watched: leave it out, or query it repeatedly")]
    Unsupported(&'static str),
    #[error("from is {0} ms, which is outside the years 1678 to 2261")]
    From(i64),
    #[error(
        "{watches} watches are open already, {own} of them by this operator: end some, or raise watches_per_operator_max or watches_max"
    )]
    TooMany { watches: usize, own: usize },
    #[error(
        "the watch selects more than {max} series: select fewer, split it into several watches, or raise watch_series_max"
    )]
    Series { max: usize },
    #[error(
        "the watch needs more memory than is free for this operator, of {} in all: select fewer series, watch less, or raise watch_memory",
        ByteSize(*.0 as u64)
    )]
    Memory(usize),
    #[error("this aggregator is stopping: continue with the last token when it is back")]
    Stopping,
}

/// Labels of the metrics, beside those of queries.
pub(crate) const WATCH_REASONS: [&str; 4] = ["token", "too_many", "too_many_series", "stopping"];

impl WatchError {
    /// Label of the metric; one of [`WATCH_REASONS`] or of those of queries.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Query(error) => error.reason(),
            Self::Token(_) => "token",
            Self::NoStep | Self::Unsupported(_) | Self::From(_) => "malformed",
            Self::TooMany { .. } => "too_many",
            Self::Series { .. } => "too_many_series",
            Self::Memory(_) => "memory",
            Self::Stopping => "stopping",
        }
    }
}

impl From<WatchError> for Status {
    fn from(error: WatchError) -> Self {
        let message = error.to_string();
        match error {
            WatchError::Query(error) => error.into(),
            WatchError::Token(_) | WatchError::NoStep | WatchError::Unsupported(_) | WatchError::From(_) => {
                Self::invalid_argument(message)
            }
            WatchError::TooMany { .. } | WatchError::Series { .. } | WatchError::Memory(_) => {
                Self::resource_exhausted(message)
            }
            WatchError::Stopping => Self::unavailable(message),
        }
    }
}
