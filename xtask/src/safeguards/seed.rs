//! A target folder for the copy, seeded with registry packages that are already built.
//!
//! Cargo gives the artifacts of workspace members the same names wherever the workspace is, so the copy and the
//! repository must not share a target folder: each would take the other's artifacts for its own. Registry packages
//! never change, so they are linked (or copied if links are not possible) into the copy's folder.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Name prefixes of the workspace's packages.
const MEMBERS: [&str; 2] = ["catchment", "xtask"];

/// The hash at the end of a name like `libc-12acf8749dd8a2f7`.
fn hash(name: &str) -> Option<&str> {
    let stem = name.split('.').next()?;
    stem.rsplit_once('-').map(|(_, hash)| hash).filter(|hash| hash.len() == 16)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Links a file or everything below a folder, unless it exists. Keeps modification times, which cargo relies on.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if to.exists() {
        return Ok(());
    }
    fs::hard_link(from, to).or_else(|_| {
        fs::copy(from, to)?;
        let modified = fs::metadata(from)?.modified()?;
        fs::File::options().write(true).open(to)?.set_modified(modified)
    })
}

/// Makes `folder/build` a target folder with the registry packages of the one at `target`.
pub(super) fn seed(target: &Path, profile: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let (from, to) = (target.join(profile), folder.join("build").join(profile));
    let foreign = |name: &String| !MEMBERS.iter().any(|member| name.starts_with(member));
    let packages: Vec<String> = names(&from.join(".fingerprint"))?.into_iter().filter(foreign).collect();
    let hashes: BTreeSet<&str> = packages.iter().filter_map(|name| hash(name)).collect();
    for part in [".fingerprint", "build", "deps"] {
        fs::create_dir_all(to.join(part))?;
        for name in names(&from.join(part))? {
            if hash(&name).is_some_and(|hash| hashes.contains(hash)) {
                let linked = link(&from.join(part).join(&name), &to.join(part).join(&name));
                linked.with_context(|| format!("cannot link {name}"))?;
            }
        }
    }
    Ok(folder.join("build"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary::Temporary;

    #[test]
    fn registry_packages_are_linked_and_members_are_not() {
        let folder = Temporary::new("safeguards-seed").unwrap();
        let target = folder.path().join("target");
        for (part, name) in [
            (".fingerprint/libc-0123456789abcdef", "lib-libc"),
            (".fingerprint/catchment-tests-1123456789abcdef", "test"),
            ("build/libc-0123456789abcdef", "output"),
            ("deps", "liblibc-0123456789abcdef.rlib"),
            ("deps", "system-1123456789abcdef"),
        ] {
            fs::create_dir_all(target.join("debug").join(part)).unwrap();
            fs::write(target.join("debug").join(part).join(name), name).unwrap();
        }
        for _ in 0..2 {
            let build = seed(&target, "debug", &folder.path().join("copy")).unwrap().join("debug");
            assert!(build.join("deps/liblibc-0123456789abcdef.rlib").is_file());
            assert!(build.join("build/libc-0123456789abcdef/output").is_file());
            assert_eq!(names(&build.join(".fingerprint")).unwrap(), ["libc-0123456789abcdef"]);
            assert_eq!(names(&build.join("deps")).unwrap().len(), 1);
        }
    }
}
