//! A temporary folder for a check.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Makes a folder; fails if it already exists.
    pub(crate) fn new(purpose: &str) -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("catchment-{purpose}-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
