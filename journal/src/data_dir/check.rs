//! A look at a data folder before a start, which creates, locks and changes nothing.

use std::io;
use std::path::Path;

use rustix::fs::Access;

use super::{DataDirError, OWNER, check_empty, check_owner, parse, read_identity};

/// What a data folder says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFacts {
    /// One life of the folder.
    pub epoch: u64,
    /// When it was created, Unix milliseconds.
    pub created_ms: u64,
    /// Whose it is; `None` for one that no server has opened since owners are written down.
    pub owner: Option<String>,
}

/// Checks that `owner` could use a data folder of that kind, or make it. `None`: there is none yet. Changes nothing and
/// takes no lock, so a server may be using it.
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
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            // The root and the working folder are always there, so this ends.
            return if parent.exists() {
                writable(parent).map(|()| None)
            } else {
                check_folder(parent, kind, None)
            };
        }
        Err(error) => return Err(DataDirError::io(path)(error)),
        Ok(_) => writable(path)?,
    }
    let Some(bytes) = read_identity(path)? else { return check_empty(path).map(|()| None) };
    let parsed = parse(path, kind, bytes)?;
    let found = parsed.values.get(OWNER).cloned();
    check_owner(path, kind, found.as_deref(), owner)?;
    Ok(Some(FolderFacts { epoch: parsed.epoch, created_ms: parsed.created_ms, owner: found }))
}

/// Whether it is a folder in which this process may make files.
fn writable(path: &Path) -> Result<(), DataDirError> {
    let failed = DataDirError::io(path);
    if !path.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| failed(errno.into()))
}
