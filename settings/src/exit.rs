//! Exit status of programs: 0 done, 1 failed, 2 wrong usage; an error is one readable line.
//!
//! One rule for all programs: the status is 2 if the input must change before another attempt can succeed: flags,
//! variables, the configuration file, the identity that they name, a data folder that belongs to another owner or
//! cannot be created. The status is 1 for everything else, which may pass by itself or be fixed elsewhere: a port or
//! folder in use, a disk, the network, a refusal by the peer. A check that could not read everything, and found no damage
//! in the rest, ends with 3.

use std::{fmt::Write as _, process::ExitCode};

use crate::{output, text};

/// Marks an error as wrong usage or configuration: exit status 2 instead of 1.
#[derive(Debug, thiserror::Error)]
#[error("{}", one_line(.0))]
pub struct UsageError(pub anyhow::Error);

impl UsageError {
    /// Wraps an error; for `map_err`.
    pub fn wrap(error: impl Into<anyhow::Error>) -> anyhow::Error {
        anyhow::Error::new(Self(error.into()))
    }

    /// Wraps an error if it is one of usage or configuration.
    pub fn wrap_if(is_usage: bool, error: impl Into<anyhow::Error>) -> anyhow::Error {
        if is_usage { Self::wrap(error) } else { error.into() }
    }
}

/// Prints the error with its causes as one line to standard error; returns its exit status.
pub fn report(error: &anyhow::Error) -> ExitCode {
    output::eprint_line(format_args!("error: {}", one_line(error)));
    if error.downcast_ref::<UsageError>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The error and its causes, each once: many libraries repeat the cause in their own message.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !line.contains(&text) {
            // Writing into a String cannot fail.
            let _ = write!(line, ": {text}");
        }
    }
    text::one_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_status_2_and_everything_else_1() {
        let usage = UsageError::wrap(anyhow::anyhow!("no --listen")).context("while starting");
        assert_eq!(report(&usage), ExitCode::from(2));
        assert_eq!(report(&anyhow::anyhow!("disk")), ExitCode::FAILURE);
    }

    #[test]
    fn causes_are_listed_once_in_one_line() {
        let error = anyhow::anyhow!("file x: denied").context("file x: denied").context("reading\nsettings");
        assert_eq!(one_line(&error), "reading; settings: file x: denied");
        // A usage error repeats no cause either.
        let io = std::io::Error::other("denied");
        let usage = UsageError::wrap(anyhow::Error::new(io).context("file x: denied"));
        assert_eq!(one_line(&usage), "file x: denied");
    }
}
