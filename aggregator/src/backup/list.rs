//! What a backup's folder says it holds: the file `backup.list`, written atomically and last.
//!
//! The content of a file lies under its name and checksum, so that files of the previous backup stay what they are until
//! the next one is complete.

use std::path::{Path, PathBuf};

use catchment_journal::{AtomicFileError, RealDisk, read_atomic, write_atomic};
use prost::Message;

use super::FILES_MAX;
use crate::store::{BackupFile, Contents};

/// Name of the list.
pub(crate) const LIST: &str = "backup.list";
/// Folder of the files.
pub(super) const FILES: &str = "files";
/// Format of the list.
const FORMAT: u32 = 1;
/// Longest name of a file.
const NAME_BYTES_MAX: usize = 200;

#[derive(Clone, PartialEq, Message)]
struct ListRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(fixed64, tag = "2")]
    store: u64,
    /// False before the first backup is complete.
    #[prost(bool, tag = "3")]
    complete: bool,
    #[prost(uint32, tag = "4")]
    contents_format: u32,
    #[prost(sint64, tag = "5")]
    taken_ms: i64,
    #[prost(string, tag = "6")]
    version: String,
    #[prost(message, repeated, tag = "7")]
    files: Vec<FileRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct FileRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(fixed32, tag = "3")]
    checksum: u32,
}

/// What the list of a folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackupList {
    /// The store that the folder is for.
    pub(super) store: u64,
    /// The last complete backup.
    pub(super) complete: Option<Contents>,
}

/// Why the list cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    File(#[from] AtomicFileError),
    /// It breaks a rule.
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
}

/// Reads the list of a folder; `None`: there is none.
///
/// # Errors
/// See [`ListError`].
pub(super) fn read(dir: &Path) -> Result<Option<BackupList>, ListError> {
    let path = dir.join(LIST);
    let Some(bytes) = read_atomic(&RealDisk, &path)? else { return Ok(None) };
    let wrong = |reason: String| ListError::Content { path: path.clone(), reason };
    let record =
        ListRecord::decode(bytes.as_slice()).map_err(|_| wrong("it is no list of a backup".to_owned()))?;
    if record.format != FORMAT {
        let found = record.format;
        return Err(wrong(format!(
            "it has format {found}, this program knows format {FORMAT}: use a newer one"
        )));
    }
    let file = |file: FileRecord| BackupFile { name: file.name, bytes: file.bytes, checksum: file.checksum };
    let files: Vec<BackupFile> = record.files.into_iter().map(file).collect();
    check_files(&files).map_err(wrong)?;
    let complete = record.complete.then_some(Contents {
        store: record.store,
        format: record.contents_format,
        taken_ms: record.taken_ms,
        version: record.version,
        files,
    });
    Ok(Some(BackupList { store: record.store, complete }))
}

/// Writes the list, durably.
///
/// # Errors
/// Of the file system; the previous list is still there.
pub(super) fn write(dir: &Path, list: &BackupList) -> std::io::Result<()> {
    let contents = list.complete.clone().unwrap_or_default();
    let file = |file: BackupFile| FileRecord { name: file.name, bytes: file.bytes, checksum: file.checksum };
    let record = ListRecord {
        format: FORMAT,
        store: list.store,
        complete: list.complete.is_some(),
        contents_format: contents.format,
        taken_ms: contents.taken_ms,
        version: contents.version,
        files: contents.files.into_iter().map(file).collect(),
    };
    write_atomic(&RealDisk, &dir.join(LIST), &record.encode_to_vec())
}

/// Checks number and names of files: they become paths.
///
/// # Errors
/// What is wrong.
pub(super) fn check_files(files: &[BackupFile]) -> Result<(), String> {
    if files.len() > FILES_MAX {
        return Err(format!("{} files, at most {FILES_MAX} are possible", files.len()));
    }
    let mut names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(format!("the file {name} twice"));
    }
    match names.into_iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!("{:?} is no name of a file", name.chars().take(200).collect::<String>())),
        None => Ok(()),
    }
}

/// Whether a text is a relative path that stays in its folder.
fn is_name(name: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    let component = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(usable);
    name.len() <= NAME_BYTES_MAX && name.split('/').all(component)
}

/// Where a file's content lies, relative to [`FILES`].
pub(super) fn stored_name(file: &BackupFile) -> String {
    format!("{}.{:08x}", file.name, file.checksum)
}

/// The file of a stored name, of this length.
pub(super) fn of_stored_name(stored: &str, bytes: u64) -> Option<BackupFile> {
    let (name, checksum) = stored.rsplit_once('.')?;
    let checksum = (checksum.len() == 8).then(|| u32::from_str_radix(checksum, 16).ok()).flatten()?;
    is_name(name).then(|| BackupFile { name: name.to_owned(), bytes, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for name in ["catalog-12", "tables/windows+19000-57.table", "a/b/c", "days-1-2.table"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "/a", "a//b", "a/", "..", "a/../b", ".part", "a/.x", "a\\b", "a b", "ä", "a\0"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(!is_name(&"a".repeat(NAME_BYTES_MAX + 1)));
    }

    #[test]
    fn a_stored_name_tells_the_file() {
        let file = BackupFile { name: "tables/hours+3-9.table".to_owned(), bytes: 7, checksum: 0x0a0b };
        assert_eq!(of_stored_name(&stored_name(&file), 7), Some(file));
        for stored in ["a", "a.12", "a.1234567g", "../a.12345678", ".12345678"] {
            assert_eq!(of_stored_name(stored, 7), None, "{stored}");
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let file = BackupFile { name: "catalog-3".to_owned(), bytes: 1 << 40, checksum: u32::MAX };
        let contents =
            Contents { store: 9, format: 1, taken_ms: -5, version: "1.2".to_owned(), files: vec![file] };
        for complete in [None, Some(contents)] {
            let list = BackupList { store: 9, complete };
            write(dir.path(), &list).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(list));
        }
        let path = dir.path().join(LIST);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(read(dir.path()), Err(ListError::File(AtomicFileError::Damaged { .. }))));
    }

    #[test]
    fn files_are_listed_once() {
        let file = |name: &str| BackupFile { name: name.to_owned(), bytes: 0, checksum: 0 };
        assert!(check_files(&[file("a"), file("b")]).is_ok());
        assert_eq!(check_files(&[file("a"), file("b"), file("a")]), Err("the file a twice".to_owned()));
        assert!(check_files(&[file("../a")]).unwrap_err().contains("no name"));
    }
}
