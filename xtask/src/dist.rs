//! `cargo xtask dist`: the release programs, with debug information in separate files, a check of their sizes, and their
//! man pages and completions.
//!
//! `objcopy` (Debian: binutils, a dependency of the C compiler) splits a program; its debug link names the other file,
//! so that `gdb`, `perf` and `addr2line` find lines and symbols if both files are available.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::command::{cargo, heading, output, repository, run as run_command};

/// The shipped programs, each with its maximum size in MiB. `catchment` has the demo's two servers, Parquet, and for PNG images
/// a renderer and 1.3 MiB of fonts.
const PROGRAMS: [(&str, u64); 4] =
    [("catchment-gateway", 24), ("catchment-aggregator", 28), ("catchment", 36), ("catchment-certs", 8)];

/// The shells whose completions are written: folder, and what a file's name has before and after the program's.
const SHELLS: [(&str, &str, &str); 3] = [("bash", "", ""), ("zsh", "_", ""), ("fish", "", ".fish")];

/// Builds the programs into `target/dist`, their debug information into `target/dist/debug`, man pages into
/// `target/dist/man/man1` and completions into `target/dist/completions/SHELL`.
///
/// # Errors
/// A build, `objcopy` or a program fails, or a program exceeds its maximum size.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut build = cargo(&["build", "--release", "--locked"]);
    for package in ["catchment-gateway", "catchment-aggregator", "catchment-cli", "catchment-certs"] {
        build.args(["--package", package]);
    }
    run_command(&mut build)?;
    let target = target_folder();
    let dist = target.join("dist");
    fs::create_dir_all(dist.join("debug")).with_context(|| format!("cannot make {}", dist.display()))?;
    heading("sizes without debug information");
    let mut too_large = Vec::new();
    for (program, most) in PROGRAMS {
        let bytes = split(&target.join("release").join(program), &dist)?;
        println!("{program}: {:.1} MiB of at most {most}", bytes as f64 / f64::from(1 << 20));
        if bytes > most << 20 {
            too_large.push(program);
        }
    }
    for (program, _) in PROGRAMS {
        generate(program, &dist)?;
    }
    ensure!(too_large.is_empty(), "larger than allowed in xtask/src/dist.rs: {}", too_large.join(", "));
    Ok(())
}

/// Cargo's target folder.
fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Has a program write its man pages and completions.
fn generate(program: &str, dist: &Path) -> anyhow::Result<()> {
    let command = || Command::new(dist.join(program));
    run_command(command().arg("manuals").arg(dist.join("man/man1")))?;
    for (shell, before, after) in SHELLS {
        let folder = dist.join("completions").join(shell);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(format!("{before}{program}{after}"));
        let script = output(command().args(["completions", shell]))?;
        fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Puts a program without debug information into a folder, and the debug information into its subfolder `debug`.
/// Returns the program's size.
fn split(program: &Path, dist: &Path) -> anyhow::Result<u64> {
    let name = program.file_name().context("a program has a name")?;
    let (shipped, mut debug) = (dist.join(name), dist.join("debug").join(name));
    debug.set_extension("debug");
    let objcopy = |options: &[&Path]| {
        let status = Command::new("objcopy").args(options).status();
        let status = status.context("cannot start objcopy: install binutils")?;
        ensure!(status.success(), "objcopy {}: {status}", program.display());
        Ok(())
    };
    objcopy(&[Path::new("--only-keep-debug"), program, &debug])?;
    let link = PathBuf::from(format!("--add-gnu-debuglink={}", debug.display()));
    objcopy(&[Path::new("--strip-debug"), &link, program, &shipped])?;
    Ok(fs::metadata(&shipped)
        .with_context(|| format!("cannot read the size of {}", shipped.display()))?
        .len())
}
