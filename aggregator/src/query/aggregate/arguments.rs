//! Arguments of aggregates: numbers and states, parsed and displayed.

use std::fmt;

use catchment_partial::{Partial, STATE_BYTES_MAX};

/// Longest text of a number, in bytes: more digits than a double has.
const NUMBER_BYTES_MAX: usize = 64;
/// Characters that a state may contain only in quotation marks.
const SPECIAL: [char; 4] = [',', '(', ')', '"'];

/// Why the arguments of an aggregate are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The text is no finite number.
    #[error("{0:?} is not a finite number")]
    Number(String),
    /// Not as many arguments as it takes.
    #[error("it takes {expected}, not {got}")]
    Count {
        /// What it takes.
        expected: &'static str,
        /// Number of arguments.
        got: usize,
    },
    /// Bounds that do not increase.
    #[error("bounds must increase")]
    Order,
    /// A percentage out of range.
    #[error("the percentage must be at least 0 and less than 50")]
    Percent,
    /// The text is no state.
    #[error(
        "a state has 1 to {STATE_BYTES_MAX} bytes and no control characters; one with {:?} or spaces at its ends is written in quotation marks, as in \"a,b\"",
        SPECIAL.map(String::from).concat()
    )]
    State,
}

/// Parses numbers separated by commas.
///
/// # Errors
/// One is not a finite number.
pub(super) fn numbers(text: &str) -> Result<Vec<f64>, ArgumentError> {
    text.split(',').map(number).collect()
}

fn number(text: &str) -> Result<f64, ArgumentError> {
    let text = text.trim();
    // Letters of `inf` and `nan` are not among them.
    let plain = text.len() <= NUMBER_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    let value = plain.then(|| text.parse::<f64>().ok()).flatten().filter(|value| value.is_finite());
    // Turn negative zero into zero.
    value.map(|value| value + 0.0).ok_or_else(|| ArgumentError::Number(text.chars().take(40).collect()))
}

/// Parses a state: bare, or in quotation marks with `\"` and `\\` for these characters.
///
/// # Errors
/// It is not a state.
pub(super) fn state(text: &str) -> Result<String, ArgumentError> {
    let text = text.trim();
    let state = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest).ok_or(ArgumentError::State)?,
        None if text.contains(SPECIAL) => return Err(ArgumentError::State),
        None => text.to_owned(),
    };
    if Partial::is_state(&state) { Ok(state) } else { Err(ArgumentError::State) }
}

/// The text before the closing quotation mark, which must be the last character.
fn unquoted(text: &str) -> Option<String> {
    let mut state = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(state),
            '\\' => state.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => state.push(other),
        }
    }
}

/// A number as the shortest text that parses back.
pub(super) struct Number(pub(super) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Unlike `Display`, `Debug` writes large and small magnitudes with an exponent.
        let text = format!("{:?}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// A state as it parses back: bare where that is possible.
pub(super) struct State<'a>(pub(super) &'a str);

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State(text) = self;
        if !text.contains(SPECIAL) && text.trim() == *text {
            return f.write_str(text);
        }
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{escaped}\"")
    }
}
