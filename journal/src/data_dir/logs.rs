//! Which logs belong to a data folder.
//!
//! A log's salt is random and stands in each of its segments, so it names the log. The identity keeps the salts of the
//! folder's logs as `log.<path>=<salt in hex>`. So a start notices a log that is gone, also where nothing else of it is
//! left, and one that came from another folder. A log that has to be made anew gets its salt first: the identity then has
//! both (`<salt>,<new salt>`), until the start is over. So at no moment another folder's log would be taken.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{DataDir, DataDirError, FolderFacts};
use crate::error::OpenError;
use crate::fs::{Disk as _, RealDisk};
use crate::open::{find_salt, list_segments};

/// Before the path of a log in a key of the identity.
const KEY: &str = "log.";

/// What stands where a log is expected.
enum Found {
    /// No segment, or none with a whole header.
    Nothing,
    /// The log of this salt.
    Log(u64),
}

/// Finds the log at a path within a folder.
fn find(folder: &Path, log: &str) -> Result<Found, DataDirError> {
    let path = folder.join(log);
    // A link to a disk that is not mounted is not a log that is gone.
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
    /// is over, or of a version that did not name them.
    pub fn lists_log(&self, log: &str) -> bool {
        self.values.contains_key(&key(log))
    }

    /// Whether the identity names any log.
    pub fn lists_logs(&self) -> bool {
        self.values.keys().any(|key| key.starts_with(KEY))
    }

    /// The salts that a log may have.
    fn salts(&self, log: &str) -> Result<Vec<u64>, DataDirError> {
        let value = self.values.get(&key(log)).map_or("", String::as_str);
        let salts = value.split(',').filter(|salt| !salt.is_empty());
        let salts: Result<Vec<u64>, _> = salts.map(|salt| u64::from_str_radix(salt, 16)).collect();
        salts.map_err(|_| DataDirError::refused(&self.path, format!("identity: `{KEY}{log}` is no number")))
    }

    /// Finds a log that may only be this folder's.
    fn find_own(&self, log: &str) -> Result<Found, DataDirError> {
        let (salts, found) = (self.salts(log)?, find(&self.path, log)?);
        match found {
            Found::Log(salt) if !salts.is_empty() && !salts.contains(&salt) => {
                Err(DataDirError::Log { path: self.path.clone(), log: log.to_owned() })
            }
            found => Ok(found),
        }
    }

    /// The logs that the identity names and that are gone or have no whole header, by their paths within the folder.
    ///
    /// # Errors
    /// A log of another folder stands in the place of one of this; or reading failed.
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
    /// Names these logs in the identity, durably, before they are opened: the salts that those must get that are made anew.
    ///
    /// # Errors
    /// A log of another folder stands in the place of one of this; a log cannot be read; or output failed.
    pub fn prepare_logs(&mut self, logs: &[String]) -> Result<BTreeMap<String, u64>, DataDirError> {
        let (mut values, mut new) = (self.facts.values.clone(), BTreeMap::new());
        for log in logs {
            let (mut salts, found) = (self.facts.salts(log)?, self.facts.find_own(log)?);
            match found {
                Found::Log(salt) if salts.is_empty() => salts.push(salt),
                Found::Log(_) => {}
                Found::Nothing => {
                    // One that an earlier start chose and did not get to.
                    if salts.len() < 2 {
                        salts.push(RealDisk.random_u64());
                    }
                    new.extend(salts.last().map(|salt| (log.clone(), *salt)));
                }
            }
            values.insert(key(log), salts.into_iter().map(text).collect::<Vec<_>>().join(","));
        }
        self.rewrite(values)?;
        Ok(new)
    }

    /// The logs are open: the identity names them as they are, and no longer has the keys in `done`. Durably, before anything is
    /// acknowledged into a log.
    ///
    /// # Errors
    /// A log cannot be read, or output failed.
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
