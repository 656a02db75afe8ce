//! `cargo xtask tidy`: the rules of this project that no other tool checks.
//!
//! * `source`: sizes of files and functions, module headers, forbidden words.
//! * `documents`: targets of links and named files exist.
//! * `crates`: permitted dependencies.
//!
//! It also checks that every text of the table of [`safeguards`] occurs in its file, and that the document that [`api`]
//! writes is up to date.
//!
//! Each finding is one line, `place: what`. `exceptions` lists what is permitted, with its exact length, and may only
//! shrink.

mod crates;
mod documents;
mod exceptions;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    api,
    command::{heading, repository},
    safeguards,
};

/// Folders without files of ours.
const SKIPPED: [&str; 5] = ["target", ".git", ".cache", "__pycache__", ".venv"];

/// A file of the repository.
pub(crate) struct File {
    /// Its path from the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                collect(&entry.path(), found)?;
            }
        } else if matches!(entry.path().extension().and_then(|e| e.to_str()), Some("rs" | "md" | "toml")) {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn read_all() -> anyhow::Result<Vec<File>> {
    let mut paths = Vec::new();
    collect(repository(), &mut paths)?;
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = path.strip_prefix(repository())?.to_string_lossy().replace('\\', "/");
        Ok(File { path, text })
    };
    paths.iter().map(read).collect()
}

/// Checks the whole repository.
pub(crate) fn run() -> anyhow::Result<()> {
    heading("tidy");
    let files = read_all()?;
    let mut findings = source::check(&files, &exceptions::EXCEPTIONS);
    findings.extend(documents::check(&files, &|path| repository().join(path).exists()));
    findings.extend(crates::check(&files));
    findings.extend(api::check());
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    findings.extend(safeguards::moved(text));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
}
