//! Identities: names as in certificates, and the identities made of them.
//!
//! A `Name` can only be constructed through its check, so code that holds one need not check again.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Name of a site, device, gateway, aggregator or operator: 1 to 63 characters of `A-Z a-z 0-9 . _ -`,
/// the first a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is not a valid [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text has more than 63 characters; holds its length in bytes.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// The first character is neither a letter nor a digit.
    #[error("a name starts with a letter or digit, not with {0:?}")]
    Start(char),
    /// The text contains a character that is not allowed.
    #[error("a name holds letters, digits, '.', '_' and '-' only, not {0:?}")]
    Character(char),
}

impl Name {
    /// Maximum length in characters, all of them ASCII.
    pub const LENGTH_MAX: usize = 63;

    /// Checks a text and makes it a name.
    ///
    /// # Errors
    /// The first rule that the text violates.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start(first));
        }
        if let Some(other) =
            text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return Err(NameError::Character(other));
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Defines an identity at a site, displayed as `SITE/NAME`.
macro_rules! sited_identity {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type {
            /// Its site.
            pub site: Name,
            /// Its name, unique within its role at the site.
            pub name: Name,
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.site, self.name)
            }
        }
    };
}

/// Defines an identity at the centre, displayed as its name.
macro_rules! central_identity {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type {
            /// Its name, unique within its role.
            pub name: Name,
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.name.fmt(f)
            }
        }
    };
}

sited_identity! {
    /// A device, as named in its certificate.
    DeviceId
}
sited_identity! {
    /// A gateway, as named in its certificate.
    GatewayId
}
central_identity! {
    /// An aggregator, as named in its certificate.
    AggregatorId
}
central_identity! {
    /// A person or program that may query, as named in its certificate.
    OperatorId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "7", "press-17", "A.b_c-9", &"x".repeat(63)] {
            assert_eq!(Name::new(good).map(|n| n.as_str().to_owned()), Ok(good.to_owned()));
        }
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(64)), Err(NameError::TooLong(64)));
        assert_eq!(Name::new("-a"), Err(NameError::Start('-')));
        assert_eq!(Name::new("a/b"), Err(NameError::Character('/')));
        assert_eq!(Name::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(Name::new("aé"), Err(NameError::Character('é')));
    }

    #[test]
    fn identities_are_displayed_as_paths() {
        let id = DeviceId { site: Name::new("berlin").unwrap(), name: Name::new("press-17").unwrap() };
        assert_eq!(id.to_string(), "berlin/press-17");
    }
}
