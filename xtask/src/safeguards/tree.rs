//! A copy of the repository in which something can be broken.
//!
//! It is below the target folder. A file is written only if its content differs, so that builds of the copy stay
//! incremental; files deleted here are deleted there too. One run uses it at a time. If a run did not end in order,
//! everything is compiled anew, because its artifacts may hold a change.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::command::repository;

/// Folders without sources, for use without git.
const NO_SOURCE: [&str; 3] = ["target", ".git", ".cache"];

/// The copy.
pub(super) struct Tree {
    root: PathBuf,
    /// Exists while a run uses the copy.
    used: PathBuf,
    /// Held for the same time.
    _lock: Option<File>,
}

/// Files below a folder, relative to it.
fn walk(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            found.insert(path);
        } else if !NO_SOURCE.iter().any(|name| entry.file_name() == *name) {
            walk(root, &path, found)?;
        }
    }
    Ok(())
}

/// The repository's files in their current state: those tracked by git and new ones that it does not ignore.
fn sources() -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(repository());
    let mut found = BTreeSet::new();
    match git.output() {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).context("git ls-files: a file name is not UTF-8")?;
            let names = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
            // Deleted but not yet committed: git still lists it.
            found.extend(names.filter(|name| repository().join(name).is_file()));
        }
        _ => walk(repository(), Path::new(""), &mut found)?,
    }
    Ok(found)
}

/// Whether a text occurs once in a file.
pub(super) fn occurs_once(text: &str, file: &str, find: &str) -> anyhow::Result<()> {
    match text.matches(find).count() {
        1 => Ok(()),
        0 => bail!("{file}: the safeguard moved: update the table. Text not found:\n{find}"),
        times => bail!("{file}: text occurs {times} times: make it longer in the table:\n{find}"),
    }
}

impl Tree {
    /// Brings the copy below this folder up to date.
    pub(super) fn update(folder: &Path) -> anyhow::Result<Self> {
        let (root, used) = (folder.join("tree"), folder.join("used"));
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().with_context(|| format!("another run uses {}", folder.display()))?;
        let anew = used.exists();
        fs::write(&used, "")?;
        let sources = sources()?;
        let mut there = BTreeSet::new();
        walk(&root, Path::new(""), &mut there)?;
        for gone in there.difference(&sources) {
            fs::remove_file(root.join(gone))?;
        }
        for source in &sources {
            let (from, to) = (repository().join(source), root.join(source));
            let content = fs::read(&from).with_context(|| from.display().to_string())?;
            if !anew && fs::read(&to).is_ok_and(|old| old == content) {
                continue;
            }
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&to, content).with_context(|| to.display().to_string())?;
        }
        Ok(Self { root, used, _lock: Some(lock) })
    }

    /// The run has ended in order.
    pub(super) fn done(&self) -> anyhow::Result<()> {
        fs::remove_file(&self.used).with_context(|| self.used.display().to_string())
    }

    /// Its path.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Replaces a text that occurs once in a file while `work` runs.
    pub(super) fn with_change<T>(
        &self,
        file: &str,
        find: &str,
        replace: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let path = self.root.join(file);
        let original = fs::read_to_string(&path)
            .with_context(|| format!("{file}: the safeguard moved: update the table"))?;
        occurs_once(&original, file, find)?;
        ensure!(find != replace, "{file}: the table replaces a text with itself");
        fs::write(&path, original.replacen(find, replace, 1))?;
        let result = work();
        fs::write(&path, original)?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary::Temporary;

    #[test]
    fn a_text_is_replaced_for_a_while_and_must_occur_once() {
        let folder = Temporary::new("safeguards-test").unwrap();
        let tree = Tree { root: folder.path().to_owned(), used: folder.path().join("used"), _lock: None };
        fs::write(folder.path().join("a"), "one two two").unwrap();
        let read = || Ok(fs::read_to_string(folder.path().join("a"))?);
        assert_eq!(tree.with_change("a", "one", "1", read).unwrap(), "1 two two");
        assert_eq!(read().unwrap(), "one two two");
        for (file, find) in [("a", "two"), ("a", "three"), ("b", "one")] {
            assert!(tree.with_change(file, find, "", read).is_err());
        }
        assert!(tree.with_change("a", "one", "1", || -> anyhow::Result<()> { bail!("it fails") }).is_err());
        assert_eq!(read().unwrap(), "one two two");
    }
}
