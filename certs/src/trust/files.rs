//! The four files of an identity, and how a change shows without reading them.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::folder::{CA_FILE, CERT_FILE, CRL_FILE, KEY_FILE};

const FILES: [&str; 4] = [CERT_FILE, KEY_FILE, CA_FILE, CRL_FILE];

/// What identifies the contents of the files. Follows symbolic links: Kubernetes replaces a folder of secrets by
/// switching one link, and the files behind it are others then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Result<FileStamp, io::ErrorKind>; FILES.len()]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(dir: &Path) -> Self {
        Self(FILES.map(|name| {
            let metadata = fs::metadata(dir.join(name)).map_err(|error| error.kind())?;
            Ok(FileStamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        }))
    }
}
