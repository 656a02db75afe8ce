//! Errors, and where in the text they are.

use std::{error::Error, fmt};

/// Bytes `from..to` of the text as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub from: usize,
    /// After the last byte.
    pub to: usize,
}

impl Span {
    /// Line and column of its beginning, both from 1; columns count characters.
    #[must_use]
    pub fn position(self, text: &str) -> (usize, usize) {
        let before = text.get(..self.from).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    }
}

/// Why an expression has no answer.
#[derive(Debug)]
pub enum PromqlError {
    /// The expression or a parameter is wrong, or refused by design: `bad_data`.
    Bad(String),
    /// It cannot be evaluated over this data, such as two series with the same labels: `execution`.
    Execution(String),
    /// It ended for a reason of the source: time, memory, or its caller is gone.
    Source(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for PromqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(reason) | Self::Execution(reason) => f.write_str(reason),
            Self::Source(error) => error.fmt(f),
        }
    }
}

impl Error for PromqlError {}

impl PromqlError {
    /// A wrong expression.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self::Bad(reason.into())
    }

    /// Text that is no PromQL, or mistyped; worded as Prometheus does, `line:column: parse error: reason`.
    pub(crate) fn syntax(text: &str, span: Span, reason: impl fmt::Display) -> Self {
        Self::at(text, span, format_args!("parse error: {reason}"))
    }

    /// An expression that is refused, with its place.
    pub(crate) fn at(text: &str, span: Span, reason: impl fmt::Display) -> Self {
        let (line, column) = span.position(text);
        Self::Bad(format!("{line}:{column}: {reason}"))
    }

    /// An expression that this data has no answer to.
    pub fn execution(reason: impl Into<String>) -> Self {
        Self::Execution(reason.into())
    }
}
