//! Logs to standard error, as text or JSON lines, filtered in `tracing`'s syntax.

use std::{io, str::FromStr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Shape of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not in `tracing`'s syntax.
    #[error("log filter {filter:?}: {reason}; write for example info or warn,catchment=debug")]
    Filter {
        /// The filter given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This process has a subscriber already.
    #[error("logging was started before")]
    Twice,
}

/// Sends this process's logs to standard error; without a filter, `info` and above.
///
/// # Errors
/// A filter that cannot be read; a second call.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<(), LoggingError> {
    let filter = check_filter(filter.unwrap_or("info"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LoggingError::Twice)
}

/// Reads a filter.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::from_str(filter)
        .map_err(|error| LoggingError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_named() {
        assert!(check_filter("warn,catchment=debug").is_ok());
        let message = check_filter("info,catchment=loud").unwrap_err().to_string();
        assert!(message.contains("catchment=loud"), "{message}");
    }
}
