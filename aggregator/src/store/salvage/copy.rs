//! A temporary copy of a folder, for checks that must not change the original; removed on drop.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use catchment_journal::{Disk, RealDisk};

use crate::store::OpenError;

/// Free space that a copy must leave.
const FREE_MIN: u64 = 64 << 20;

/// A temporary copy.
pub(in crate::store) struct TempCopy(PathBuf);

impl TempCopy {
    /// Copies a folder next to itself, or into the system's folder for temporary files if only that has room.
    ///
    /// # Errors
    /// There is no room, or an I/O error.
    pub(in crate::store) fn of(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { what: format!("cannot copy {}", folder.display()), source };
        let bytes = size(folder).map_err(failed)?;
        let needed = bytes.saturating_add(FREE_MIN);
        let name = format!(".check-{}", std::process::id());
        let places = [folder.parent().map(Path::to_owned), Some(std::env::temp_dir())];
        let roomy = |place: &PathBuf| RealDisk.free_bytes(place).is_ok_and(|free| free >= needed);
        let place = places.into_iter().flatten().find(roomy).ok_or_else(|| {
            let text = format!("{needed} bytes must be free next to it or in TMPDIR");
            failed(io::Error::new(io::ErrorKind::StorageFull, text))
        })?;
        let copy = Self(place.join(name));
        let _ = fs::remove_dir_all(&copy.0);
        copy_folder(folder, &copy.0).map_err(failed)?;
        Ok(copy)
    }

    /// Path of the copy.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempCopy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a temporary copy cannot be removed");
        }
    }
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let inside = entry.metadata()?;
        bytes = bytes.saturating_add(if inside.is_dir() { size(&entry.path())? } else { inside.len() });
    }
    Ok(bytes)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
