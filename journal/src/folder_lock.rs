//! The lock of a folder.

use std::{
    fs::{File, TryLockError},
    ops::Deref,
};

/// An exclusive lock on an open file, released when this is dropped.
///
/// Closing the file is not enough: the lock belongs to the open file description (flock(2)), and a process that another
/// thread is just starting holds a copy of every descriptor until it executes its program.
#[derive(Debug)]
pub struct FolderLock(File);

impl FolderLock {
    /// Takes the lock without waiting.
    ///
    /// # Errors
    /// Somebody else holds the lock, or the file system refused.
    pub fn take(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl Deref for FolderLock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A failure leaves what closing the file does.
        let _released = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lock_is_free_although_a_copy_of_its_descriptor_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let lock = FolderLock::take(open()).unwrap();
        assert!(matches!(FolderLock::take(open()), Err(TryLockError::WouldBlock)));
        // As a process that is being started has it.
        let copy = lock.try_clone().unwrap();
        drop(lock);
        FolderLock::take(open()).unwrap();
        drop(copy);
    }
}
