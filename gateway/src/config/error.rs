//! What is wrong with the settings.

/// A missing or invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting without a default.
    #[error("no {0}: set --{0}, its environment variable, or its key in the --config file")]
    Missing(&'static str),
    /// A value out of its range.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what is allowed.
        reason: String,
    },
}

impl ConfigError {
    /// The key that is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Missing(key) | Self::Value { key, .. } => key,
        }
    }
}
