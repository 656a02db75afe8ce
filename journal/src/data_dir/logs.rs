//! The logs that belong to a data folder.
//!
//! A log's salt is random and is part of each of its segments, so it identifies the log. The identity keeps the salts
//! of the folder's logs as `log.<path>=<salt in hex>`. So a start notices a log that is gone, even without a trace, and
//! a log that came from another folder. If a log must be recreated, its new salt is recorded first: the identity then
//! has both (`<salt>,<new salt>`) until the start is complete. So another folder's log is never accepted, at any
//! moment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::identity::{FORMAT, FORMAT_VERSION};
use super::{DataDir, DataDirError, FolderFacts};
use crate::error::OpenError;
use crate::fs::{Disk as _, RealDisk};
use crate::open::{find_salt, list_segments};

/// Prefix of a log's key in the identity, before its path.
const KEY: &str = "log.";

/// What was found where a log is expected.
enum Found {
    /// No segment, or none with an intact header.
    Nothing,
    /// The log with this salt.
    Log(u64),
}

/// Finds the log at a path within a folder.
fn find(folder: &Path, log: &str) -> Result<Found, DataDirError> {
    let path = folder.join(log);
    // A link to an unmounted disk does not mean that the log is gone.
    for part in path.ancestors().take_while(|part| *part != folder) {
        if part.symlink_metadata().is_ok() && !part.is_dir() {
            return Err(DataDirError::io(part)(io::ErrorKind::NotADirectory.into()));
        }
    }
    if !path.is_dir() {
        return Ok(Found::Nothing);
    }
    let salt = list_segments(&RealDisk, &path).and_then(|segments| find_salt(&RealDisk, &path, &segments));
    match salt {
        Ok(salt) => Ok(salt.map_or(Found::Nothing, Found::Log)),
        Err(OpenError::Io { path, source }) => Err(DataDirError::Io { path, source }),
        Err(other) => Err(DataDirError::refused(folder, format!("`{log}`: {other}"))),
    }
}

fn key(log: &str) -> String {
    format!("{KEY}{log}")
}

fn text(salt: u64) -> String {
    format!("{salt:016x}")
}

impl FolderFacts {
    /// Whether the identity names the log at this path within the folder. It names none before the folder's first start
    /// is complete, or if an older version that did not record them wrote it.
    pub fn lists_log(&self, log: &str) -> bool {
        self.values.contains_key(&key(log))
    }

    /// Whether the identity names any log.
    pub fn lists_logs(&self) -> bool {
        self.values.keys().any(|key| key.starts_with(KEY))
    }

    /// The salt under which a log at this path within the folder begins if it must be created anew; `None` if the
    /// identity does not name the log.
    pub fn salt(&self, log: &str) -> Option<u64> {
        self.salts(log).ok()?.last().copied()
    }

    /// The salts allowed for a log.
    fn salts(&self, log: &str) -> Result<Vec<u64>, DataDirError> {
        let value = self.values.get(&key(log)).map_or("", String::as_str);
        let salts = value.split(',').filter(|salt| !salt.is_empty());
        let salts: Result<Vec<u64>, _> = salts.map(|salt| u64::from_str_radix(salt, 16)).collect();
        salts
            .map_err(|_| DataDirError::refused(&self.path, format!("identity: `{KEY}{log}` is not a number")))
    }

    /// Finds a log; refuses one of another folder.
    fn find_own(&self, log: &str) -> Result<Found, DataDirError> {
        let (salts, found) = (self.salts(log)?, find(&self.path, log)?);
        match found {
            Found::Log(salt) if !salts.is_empty() && !salts.contains(&salt) => {
                Err(DataDirError::Log { path: self.path.clone(), log: log.to_owned() })
            }
            found => Ok(found),
        }
    }

    /// Paths (within the folder) of the logs that the identity names and that are gone or have no intact header.
    ///
    /// # Errors
    /// A log belongs to another folder, or reading failed.
    pub fn missing_logs(&self) -> Result<Vec<String>, DataDirError> {
        let mut missing = Vec::new();
        for log in self.values.keys().filter_map(|key| key.strip_prefix(KEY)) {
            if matches!(self.find_own(log)?, Found::Nothing) {
                missing.push(log.to_owned());
            }
        }
        Ok(missing)
    }
}

impl DataDir {
    /// Records these logs in the identity, durably, before they are opened. Returns the salts for the logs that must be
    /// created. The same write raises the folder's format to [`FORMAT_VERSION`]: earlier versions refuse the folder from
    /// now on, so they never misread what is written into it afterwards.
    ///
    /// # Errors
    /// A log belongs to another folder, a log cannot be read, or writing failed.
    pub fn prepare_logs(&mut self, logs: &[String]) -> Result<BTreeMap<String, u64>, DataDirError> {
        let (mut values, mut new) = (self.facts.values.clone(), BTreeMap::new());
        for log in logs {
            let (mut salts, found) = (self.facts.salts(log)?, self.facts.find_own(log)?);
            match found {
                Found::Log(salt) if salts.is_empty() => salts.push(salt),
                Found::Log(_) => {}
                Found::Nothing => {
                    // A second salt comes from an earlier start that did not complete; it is used again.
                    if salts.len() < 2 {
                        salts.push(RealDisk.random_u64());
                    }
                    new.extend(salts.last().map(|salt| (log.clone(), *salt)));
                }
            }
            values.insert(key(log), salts.into_iter().map(text).collect::<Vec<_>>().join(","));
        }
        let before = values.insert(FORMAT.to_owned(), FORMAT_VERSION.to_string());
        let raised = before.filter(|before| *before != FORMAT_VERSION.to_string());
        self.rewrite(values)?;
        if let Some(before) = raised {
            let folder = self.path().display();
            tracing::info!(%folder, before, now = FORMAT_VERSION, "the data folder's format was raised: earlier versions refuse it");
        }
        Ok(new)
    }

    /// Records the salts of the open logs and removes the keys in `done`, durably. Call it before anything is
    /// acknowledged into a log.
    ///
    /// # Errors
    /// A log cannot be read, or writing failed.
    pub fn confirm_logs(&mut self, logs: &[String], done: &[String]) -> Result<(), DataDirError> {
        let mut values = self.facts.values.clone();
        done.iter().for_each(|key| drop(values.remove(key)));
        for log in logs {
            if let Found::Log(salt) = self.facts.find_own(log)? {
                values.insert(key(log), text(salt));
            }
        }
        self.rewrite(values)
    }
}
