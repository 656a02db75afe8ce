//! A folder for files that are set aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::store::{salvage::repair::free_name, tables::version};

/// A folder for files that are set aside; made when there is the first one.
pub(in crate::store) struct Aside<'a> {
    data: &'a Path,
    folder: Option<PathBuf>,
}

impl<'a> Aside<'a> {
    pub(in crate::store) fn new(data: &'a Path) -> Self {
        Self { data, folder: None }
    }

    /// Moves a file there, if it exists.
    ///
    /// # Errors
    /// Of the file system.
    pub(in crate::store) fn put(&mut self, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name().filter(|_| path.exists()) else { return Ok(()) };
        let folder = match &self.folder {
            Some(folder) => folder,
            None => {
                let folder = free_name(self.data, version::FOLDER)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                fs::create_dir_all(&folder)?;
                self.folder.insert(folder)
            }
        };
        let free = |n: u32| folder.join(format!("{}-{n}", name.to_string_lossy()));
        let place = folder.join(name);
        let place = if place.exists() {
            (1..100).map(free).find(|place| !place.exists()).unwrap_or(place)
        } else {
            place
        };
        fs::rename(path, place)
    }

    /// The folder, if there is one.
    pub(in crate::store) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}
