//! `cargo xtask api`: writes docs/api.md from the .proto files and their comments. `tidy` checks that it is up to date.

mod parse;
mod render;

use std::fs;

use anyhow::Context as _;

use crate::command::repository;

/// Folder of the .proto files.
const SOURCES: &str = "proto/proto/catchment/v1";
/// The document.
const DOCUMENT: &str = "docs/api.md";

/// The document as the .proto files say it.
fn generate() -> anyhow::Result<String> {
    let folder = repository().join(SOURCES);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {SOURCES}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "proto") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {SOURCES}/{name}"))?;
        files.push(parse::file(&name, &text).with_context(|| format!("{SOURCES}/{name}"))?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(render::document(&files, SOURCES))
}

/// `cargo xtask api`.
pub(crate) fn run() -> anyhow::Result<()> {
    fs::write(repository().join(DOCUMENT), generate()?)
        .with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("wrote {DOCUMENT}");
    Ok(())
}

/// Findings of `tidy`: a document that differs from what the .proto files say.
pub(crate) fn check() -> Vec<String> {
    let written = fs::read_to_string(repository().join(DOCUMENT)).unwrap_or_default();
    match generate() {
        Ok(generated) if generated == written => Vec::new(),
        Ok(_) => vec![format!("{DOCUMENT}: differs from {SOURCES}: run `cargo xtask api`")],
        Err(error) => vec![format!("{error:#}")],
    }
}
