//! What a reading says: a number, a state, or both.

use catchment_partial::STATE_BYTES_MAX;

/// The value of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'t> {
    /// A finite number.
    Number(f64),
    /// A state: a text.
    State(&'t str),
    /// A boolean: the number 1 or 0, and beside it the state.
    Boolean(f64, &'t str),
}

impl<'t> Value<'t> {
    /// `true` or `false`.
    pub(crate) const fn boolean(value: bool) -> Self {
        if value { Self::Boolean(1.0, "true") } else { Self::Boolean(0.0, "false") }
    }

    /// The number, if there is one.
    pub(crate) const fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Boolean(number, _) => Some(number),
            Self::State(_) => None,
        }
    }

    /// The state, if there is one.
    pub(crate) const fn state(self) -> Option<&'t str> {
        match self {
            Self::State(state) | Self::Boolean(_, state) => Some(state),
            Self::Number(_) => None,
        }
    }
}

/// Checks that a text may be a state.
///
/// # Errors
/// What is wrong with it, for a message.
pub(crate) fn check_state(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("an empty text");
    }
    if text.len() > STATE_BYTES_MAX {
        return Err("too long");
    }
    if text.chars().any(char::is_control) {
        return Err("a text with a control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_short_text_without_control_characters() {
        for text in ["auto", "A", " ", "Fehler: Öl", "\u{1f600}", &"x".repeat(64), &"é".repeat(32)] {
            assert_eq!(check_state(text), Ok(()), "{text:?}");
        }
        for text in ["", "a\nb", "\0", "\u{7f}", "\u{85}", &"x".repeat(65), &"é".repeat(33)] {
            assert!(check_state(text).is_err(), "{text:?}");
        }
    }
}
