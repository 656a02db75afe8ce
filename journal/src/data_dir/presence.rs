//! Checks that a running server's folder is still the one that it opened.

use super::DataDir;
use super::identity::{IDENTITY, LOCK};
use crate::fs::RealDisk;
use crate::presence::{PresenceError, check_in_place, check_path};

impl DataDir {
    /// Checks that the folder's path still leads to the opened folder, with its own `lock` and `identity`. It does not
    /// if the folder was removed, renamed, replaced or unmounted, although its open files still accept writes. Queries
    /// the file system: do not call it on a thread that serves requests.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub fn check_in_place(&self) -> Result<(), PresenceError> {
        check_in_place(self.path(), &self.folder)?;
        check_in_place(&self.path().join(LOCK), &self.lock)?;
        check_path(&RealDisk, &self.path().join(IDENTITY), Some(self.identity.id), self.identity.len)
    }
}
