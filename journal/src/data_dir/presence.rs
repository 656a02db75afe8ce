//! Whether a running server's folder is still the one that it opened.

use super::DataDir;
use super::identity::{IDENTITY, LOCK};
use crate::fs::RealDisk;
use crate::presence::{PresenceError, check_in_place, check_path};

impl DataDir {
    /// Whether the folder's path still leads to the folder that was opened, with its own `lock` and `identity`. It does
    /// not when the folder was removed, renamed, replaced or unmounted, though open files of it still take writes. Asks
    /// the file system: not for a thread that serves.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub fn check_in_place(&self) -> Result<(), PresenceError> {
        check_in_place(self.path(), &self.folder)?;
        check_in_place(&self.path().join(LOCK), &self.lock)?;
        check_path(&RealDisk, &self.path().join(IDENTITY), Some(self.identity.id), self.identity.len)
    }
}
