//! axe-core, whose rules of accessibility the tests of the dashboard's page check. It is fetched, never committed.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::command::{output, repository, run};

const VERSION: &str = "4.14.1";
/// Of `axe.min.js`.
const SHA256: &str = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c";

fn is_right(file: &Path) -> bool {
    output(Command::new("sha256sum").arg(file)).is_ok_and(|sum| sum.starts_with(SHA256))
}

/// Fetches `target/axe/axe.min.js` with npm, unless it is there.
///
/// # Errors
/// npm is missing or does not reach its registry, or the file is another one.
pub(crate) fn ensure_fetched() -> anyhow::Result<()> {
    let folder = repository().join("target/axe");
    let file = folder.join("axe.min.js");
    if is_right(&file) {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let package = format!("axe-core@{VERSION}");
    run(Command::new("npm").args(["pack", &package, "--silent", "--pack-destination"]).arg(&folder))
        .context("install npm, and let it reach its registry")?;
    let archive = folder.join(format!("axe-core-{VERSION}.tgz"));
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(&archive).arg("-C").arg(&folder).arg("--strip-components=1");
    run(tar.args(["package/axe.min.js", "package/LICENSE"]))?;
    ensure!(
        is_right(&file),
        "{} is not the file of {package} that is known: its checksum differs",
        file.display()
    );
    Ok(())
}
