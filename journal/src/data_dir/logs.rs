//! Which logs belong to a data folder.
//!
//! A log's salt is random and stands in each of its segments, so it names the log. The identity keeps the salts of the
//! folder's logs as `log.<path>=<salt in hex>`. So a start notices a log that is gone, also where nothing else of it is
//! left, and one that came from another folder. A log that is made anew takes a new salt: its old entry is removed before
//! it is made, and the new one is written before anything is acknowledged into it.

use std::path::Path;

use super::{DataDir, DataDirError, FolderFacts, refused, unfit_value};
use crate::error::OpenError;
use crate::fs::RealDisk;
use crate::open::{find_salt, list_segments};

/// Before the path of a log in a key of the identity.
const KEY: &str = "log.";

/// What stands where a log is expected.
enum Found {
    /// No segment.
    Nothing,
    /// Segments without a whole header: opening the log says what that means.
    Unreadable,
    /// The log of this salt.
    Log(u64),
}

fn find(path: &Path) -> Result<Found, OpenError> {
    if !path.is_dir() {
        return Ok(Found::Nothing);
    }
    let segments = list_segments(&RealDisk, path)?;
    if segments.is_empty() {
        return Ok(Found::Nothing);
    }
    Ok(find_salt(&RealDisk, path, &segments)?.map_or(Found::Unreadable, Found::Log))
}

impl DataDirError {
    fn unreadable(folder: &Path, log: &str, error: OpenError) -> Self {
        match error {
            OpenError::Io { path, source } => Self::Io { path, source },
            other => refused(folder, format!("`{log}`: {other}")),
        }
    }
}

impl FolderFacts {
    /// Whether the identity names the log at this path within the folder. It names none before the folder's first start
    /// is over, or of a version that did not name them.
    pub fn names_log(&self, log: &str) -> bool {
        self.values.contains_key(&format!("{KEY}{log}"))
    }

    /// Whether the identity names any log.
    pub fn names_logs(&self) -> bool {
        self.values.keys().any(|key| key.starts_with(KEY))
    }

    /// The logs that the identity names and that are gone, by their paths within the folder.
    ///
    /// # Errors
    /// A log of another folder stands in the place of one of this; or reading failed.
    pub fn missing_logs(&self) -> Result<Vec<String>, DataDirError> {
        let mut missing = Vec::new();
        for (key, value) in &self.values {
            let Some(log) = key.strip_prefix(KEY) else { continue };
            let known = u64::from_str_radix(value, 16);
            let known = known.map_err(|_| refused(&self.path, format!("identity: `{key}` is no number")))?;
            let found = find(&self.path.join(log));
            match found.map_err(|error| DataDirError::unreadable(&self.path, log, error))? {
                Found::Nothing => missing.push(log.to_owned()),
                Found::Log(salt) if salt != known => {
                    return Err(DataDirError::Log { path: self.path.clone(), log: log.to_owned() });
                }
                Found::Log(_) | Found::Unreadable => {}
            }
        }
        Ok(missing)
    }
}

impl DataDir {
    /// Removes logs from the identity, durably: before they are made anew.
    ///
    /// # Errors
    /// Output failed.
    pub fn forget_logs(&mut self, logs: &[String]) -> Result<(), DataDirError> {
        let mut values = self.facts.values.clone();
        for log in logs {
            values.remove(&format!("{KEY}{log}"));
        }
        self.rewrite(values)
    }

    /// Names these logs in the identity, durably, and removes the keys in `done` with the same write: before anything is
    /// acknowledged into a log.
    ///
    /// # Errors
    /// A log cannot be read, or output failed.
    pub fn name_logs(&mut self, logs: &[String], done: &[String]) -> Result<(), DataDirError> {
        let mut values = self.facts.values.clone();
        done.iter().for_each(|key| drop(values.remove(key)));
        for log in logs {
            let found = find(&self.path().join(log));
            if let Found::Log(salt) =
                found.map_err(|error| DataDirError::unreadable(self.path(), log, error))?
            {
                values.insert(format!("{KEY}{log}"), format!("{salt:016x}"));
            }
        }
        self.rewrite(values)
    }

    /// Writes a value into the identity, durably.
    ///
    /// # Errors
    /// Key or value do not fit on a line, or output failed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), DataDirError> {
        if key.contains(['=', '\n']) || value.contains('\n') {
            return Err(unfit_value(self.path()));
        }
        let mut values = self.facts.values.clone();
        values.insert(key.to_owned(), value.to_owned());
        self.rewrite(values)
    }
}
