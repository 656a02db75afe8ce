//! Checks a data folder before a start, without locking or changing anything.

use std::io;
use std::path::Path;

use rustix::fs::Access;

use super::{DataDirError, FolderFacts, check_empty, check_owner, read_identity};

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
