//! Checks a data folder before a start, without locking or changing anything.

use std::io;
use std::path::Path;

use rustix::fs::Access;

use super::error::DataDirError;
use super::facts::FolderFacts;
use super::identity::{IDENTITY, LOCK, read_identity};
use crate::fs::{Disk as _, RealDisk};

/// Checks that `owner` could use or create a data folder of this kind. `None`: it does not exist yet. Changes nothing
/// and takes no lock, so a server may be using the folder.
///
/// # Errors
/// See [`DataDirError`].
pub fn check_folder(
    path: &Path,
    kind: &str,
    owner: Option<&str>,
) -> Result<Option<FolderFacts>, DataDirError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_leads_somewhere(path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            // The root and the working folder always exist, so the recursion ends.
            return if parent.exists() {
                writable(parent)?;
                can_hold_folders(parent).map_err(DataDirError::io(path)).map(|()| None)
            } else {
                check_folder(parent, kind, None)
            };
        }
        Err(error) => return Err(DataDirError::io(path)(error)),
        Ok(_) => writable(path)?,
    }
    let Some(bytes) = read_identity(path)? else { return check_empty(path).map(|()| None) };
    let facts = FolderFacts::parse(path, kind, bytes)?;
    check_owner(path, kind, facts.owner(), owner)?;
    facts.missing_logs()?;
    Ok(Some(facts))
}

/// Refuses a dangling symbolic link: no folder can be created in its place.
pub(super) fn check_leads_somewhere(path: &Path) -> Result<(), DataDirError> {
    if path.is_symlink() && !path.exists() {
        let why = "dangling symbolic link: create the folder that it points to, or use another path";
        return Err(DataDirError::io(path)(io::Error::new(io::ErrorKind::NotFound, why)));
    }
    Ok(())
}

/// Checks that `path` is a folder in which this process may create files.
fn writable(path: &Path) -> Result<(), DataDirError> {
    let failed = DataDirError::io(path);
    if !path.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| failed(errno.into()))
}

/// Checks that folders can be created there: some file systems refuse them, whatever the permissions say. Removes its
/// trial folder.
fn can_hold_folders(parent: &Path) -> io::Result<()> {
    let trial = parent.join(format!(".catchment-check-{}", std::process::id()));
    std::fs::create_dir(&trial)?;
    std::fs::remove_dir(&trial)
}

/// Checks that `found` may use a folder of `owner`. Anyone may use a folder without an owner; if `found` is `None`, the
/// owner is not checked.
pub(super) fn check_owner(
    path: &Path,
    kind: &str,
    owner: Option<&str>,
    found: Option<&str>,
) -> Result<(), DataDirError> {
    match (owner, found) {
        (Some(owner), Some(found)) if owner != found => {
            let (owner, found) = (owner.to_owned(), found.to_owned());
            Err(DataDirError::Owner { path: path.to_owned(), kind: kind.to_owned(), owner, found })
        }
        _ => Ok(()),
    }
}

/// Checks that a new folder holds only files that its creation or the file system puts there.
pub(super) fn check_empty(path: &Path) -> Result<(), DataDirError> {
    let names = RealDisk.list(path).map_err(DataDirError::io(path))?;
    match names.iter().find(|name| !name.starts_with('.') && *name != LOCK && *name != "lost+found") {
        None => Ok(()),
        Some(name) => Err(DataDirError::Identity {
            path: path.to_owned(),
            why: format!("holds `{name}` but no identity: restore `{IDENTITY}`, or use an empty folder"),
        }),
    }
}
