//! Contents of a data folder's identity.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::DataDirError;
use super::identity::{FORMAT, FORMAT_OLDEST, FORMAT_VERSION, OWNER};

/// The contents of a data folder's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFacts {
    pub(super) path: PathBuf,
    pub(super) epoch: u64,
    pub(super) created_ms: u64,
    pub(super) values: BTreeMap<String, String>,
}

impl FolderFacts {
    pub(super) fn parse(path: &Path, kind: &str, bytes: Vec<u8>) -> Result<Self, DataDirError> {
        let text =
            String::from_utf8(bytes).map_err(|_| DataDirError::refused(path, "identity is not UTF-8"))?;
        let values: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let number = |key: &str| {
            let value = values.get(key).and_then(|value| value.parse::<u64>().ok());
            value.ok_or_else(|| {
                DataDirError::refused(path, format!("identity: `{key}` is missing or not a number"))
            })
        };
        let foreign = |why: String| DataDirError::Foreign { path: path.to_owned(), why };
        let format = number(FORMAT)?;
        if format > u64::from(FORMAT_VERSION) {
            let why = format!("format {format}; this program knows up to {FORMAT_VERSION}: use a newer one");
            return Err(foreign(why));
        }
        if format < u64::from(FORMAT_OLDEST) {
            let why = format!(
                "format {format}, of a version before the first release; this program knows {FORMAT_OLDEST} to \
                 {FORMAT_VERSION}: use a new folder"
            );
            return Err(foreign(why));
        }
        if values.get("kind").map(String::as_str) != Some(kind) {
            let found = values.get("kind").map_or("nothing", String::as_str);
            return Err(foreign(format!("belongs to {found}, not to {kind}: use another folder")));
        }
        let (epoch, created_ms) = (number("epoch")?, number("created_ms")?);
        Ok(Self { path: path.to_owned(), values, epoch, created_ms })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Random at creation, 1 to 2^63-1; identifies one life of this folder.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the folder was created (Unix milliseconds, by the clock at that time).
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// The folder's owner; `None` if no server that records owners has opened it yet.
    pub fn owner(&self) -> Option<&str> {
        self.get(OWNER)
    }

    /// The line of a report that names an owner, or says that there is none yet.
    pub fn owner_line(owner: Option<&str>) -> String {
        let owner = owner.unwrap_or("nobody yet; the next start binds it to its identity");
        format!("the folder belongs to {owner}\n")
    }

    /// A value given at creation or set later.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}
