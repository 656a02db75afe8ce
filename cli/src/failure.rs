//! How a command ends when it does not succeed: one readable line and an exit status, by the rule of
//! [`catchment_settings::exit`].
//!
//! Library errors become a [`Failure`] at the edge of a command, where it is known which flag they belong to.

use std::fmt::Display;

pub use catchment_settings::text::one_line;

use crate::aggregator_client::ClientError;

/// Why a command did not do its job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense; exit status 2.
    #[error("{0}")]
    Usage(String),
    /// It was tried, and failed; exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// Wrong usage, in one line.
    pub fn usage(line: impl Display) -> Self {
        Self::Usage(one_line(&line.to_string()))
    }

    /// A failed try, in one line.
    pub fn failed(line: impl Display) -> Self {
        Self::Failed(one_line(&line.to_string()))
    }

    /// The exit status that stands for it.
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
            // What was given has to be changed before anybody can answer.
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
