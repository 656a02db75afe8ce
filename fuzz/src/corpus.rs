//! The corpus: one folder per target in `fuzz/corpus`, one file per input. Findings are files next to the seeds.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::targets::Target;

/// The folder of a target.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The target's seeds with their names, those from its code first.
///
/// # Errors
/// A file cannot be read.
pub fn seeds(target: &Target) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let made = (target.seeds)().into_iter().enumerate();
    let mut all: Vec<_> = made.map(|(n, seed)| (format!("seed {n} of the code"), seed)).collect();
    let folder = folder(target);
    if folder.is_dir() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.push((name, bytes));
        }
    }
    Ok(all)
}

/// Saves an input that broke the target; returns its path.
///
/// # Errors
/// The file cannot be written.
pub fn keep(target: &Target, kind: &str, input: &[u8]) -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = folder(target).join(format!("{kind}-{:016x}", hasher.finish()));
    fs::create_dir_all(folder(target))?;
    fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
