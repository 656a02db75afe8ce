//! Failures of commands: one readable line and an exit status, as [`catchment_settings::exit`] defines it.
//!
//! Library errors become a [`Failure`] at the edge of a command, where the flag that caused them is known.

use std::fmt::Display;

pub use catchment_settings::text::one_line;

use crate::aggregator_client::ClientError;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Wrong usage; exit status 2.
    #[error("{0}")]
    Usage(String),
    /// The command failed; exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// Wrong usage, in one line.
    pub fn usage(line: impl Display) -> Self {
        Self::Usage(one_line(&line.to_string()))
    }

    /// A failed command, in one line.
    pub fn failed(line: impl Display) -> Self {
        Self::Failed(one_line(&line.to_string()))
    }

    /// The process's exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            // The flags or the request must change first.
            ClientError::Url(_)
            | ClientError::Request(_)
            | ClientError::Identity(_)
            | ClientError::Tls(_) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_without_control_characters() {
        assert_eq!(Failure::usage("a\n  b\n\nc").to_string(), "a; b; c");
        assert_eq!(one_line("red \u{1b}[31m"), "red \u{fffd}[31m");
        assert_eq!((Failure::usage("").exit_status(), Failure::failed("").exit_status()), (2, 1));
    }
}
