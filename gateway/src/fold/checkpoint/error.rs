//! Why a checkpoint cannot be read.

/// A checkpoint that cannot be read: its bytes are undamaged but not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint cannot be read: {0}")]
pub struct CheckpointError(String);

impl CheckpointError {
    pub(super) fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }

    /// It ends before the state begins.
    pub(crate) fn short() -> Self {
        Self("it is too short".into())
    }
}
