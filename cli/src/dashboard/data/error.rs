//! Why there is no answer.

use hyper::StatusCode;
use tokio::task::JoinError;

use crate::aggregator_client::ClientError;

/// Columns that the first versions with pages could not sort by.
const NEWER_COLUMNS: [&str; 2] = ["expires", "worst"];

/// Why there is no answer, in one line for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    /// The aggregator refuses, or is away.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A parameter is wrong.
    #[error("{0}")]
    Parameter(String),
    /// The answer exceeds what a panel holds.
    #[error(
        "a panel holds {0} values at most: narrow the selector or the range, or take a wider step or fewer aggregates"
    )]
    TooMuch(usize),
    /// The connection failed a moment ago.
    #[error("{reason}")]
    Away {
        /// The words of that failure.
        reason: String,
        /// Another try cannot succeed until certificates or addresses change.
        is_final: bool,
    },
    /// It took too long.
    #[error("the aggregator did not answer in time: narrow the selector or the range")]
    Timeout,
    /// The program ends, or has a defect.
    #[error("the dashboard could not make the answer: {0}")]
    Task(#[from] JoinError),
}

impl DataError {
    /// Whether the same request cannot succeed: the page then shows the words and does not repeat it.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Client(error) => error.is_final(),
            Self::Parameter(_) | Self::TooMuch(_) => true,
            Self::Away { is_final, .. } => *is_final,
            Self::Timeout | Self::Task(_) => false,
        }
    }

    /// Whether the aggregator is of a version that does not know the request.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_unimplemented())
    }

    /// Whether the aggregator is of a version that does not know pages, or not this column to sort them by.
    pub(super) fn is_unknown_page(&self, sort: &str) -> bool {
        let is_newer = NEWER_COLUMNS.contains(&sort);
        self.is_unknown() || is_newer && matches!(self, Self::Client(error) if error.is_unknown_column())
    }

    /// `refused`, or `disconnected` where another try may succeed.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_final() { "refused" } else { "disconnected" }
    }

    /// HTTP's status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Client(ClientError::Role { .. } | ClientError::Connect { lasting: true, .. })
            | Self::Away { is_final: true, .. } => StatusCode::FORBIDDEN,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
            error if error.is_final() => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}
