//! `cargo xtask bench`: builds the release programs as users get them, installs missing references if possible, and
//! runs `catchment-bench`, which writes docs/benchmarks.md.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;

use crate::{
    command::{cargo, output, repository, run as run_command},
    packages,
};

/// Path of the document from the repository's root.
const DOCUMENT: &str = "docs/benchmarks.md";
/// Third-party programs that figures are compared with.
const REFERENCES: [packages::Package; 4] = [
    ("mosquitto", &[&["test", "-x", "/usr/sbin/mosquitto"], &["sh", "-c", "command -v mosquitto"]]),
    ("prometheus", &[&["promtool", "--version"]]),
    ("influxdb", &[&["influxd", "version"]]),
    ("postgresql", &[&["sh", "-c", "ls /usr/lib/postgresql/*/bin/initdb"]]),
];

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Figures to measure [default: all]: frames, json, line-protocol, mqtt, singles, handshakes, idle, uplink,
    /// aggregator, latency, fair, crowd, sharing, watch, backup, refill, partials, certs, query (all of query-month,
    /// query-sites, query-names, query-disk), promql, growth
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Length of one measurement
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Repetitions of each measurement; the median counts
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
    /// Also measure growth with devices and series; on when all figures are measured
    #[arg(long)]
    growth: bool,
    /// Multiple of the stored windows of the query figures; 20: a start with 100 million
    #[arg(long, value_name = "N")]
    scale: Option<usize>,
    /// Short smoke run: its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Output file [default: docs/benchmarks.md for all figures, none for some or quick ones]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// The options to pass on.
    fn given(&self) -> Vec<String> {
        let mut given = Vec::new();
        if !self.only.is_empty() {
            given.extend(["--only".to_owned(), self.only.join(",")]);
        }
        for (flag, value) in [
            ("--seconds", self.seconds.map(|n| n.to_string())),
            ("--repeat", self.repeat.map(|n| n.to_string())),
            ("--scale", self.scale.map(|n| n.to_string())),
        ] {
            given.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        for (flag, on) in [("--growth", self.growth), ("--quick", self.quick)] {
            given.extend(on.then(|| flag.to_owned()));
        }
        given
    }

    /// Path of the output; only a full run replaces the repository's document.
    fn document(&self) -> Option<PathBuf> {
        let own = self.only.is_empty() && !self.quick;
        self.out.clone().or_else(|| own.then(|| repository().join(DOCUMENT)))
    }
}

/// The folder of the release programs.
fn release() -> PathBuf {
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    repository().join(folder).join("release")
}

/// Runs a program with the highest limit on open files: the load and the servers need many.
fn unlimited(program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]).arg(program);
    command
}

/// Builds the programs, installs references, measures and writes the document.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The programs alone, so that features of the bench do not change their build.
    let packages =
        ["gateway", "aggregator", "certs", "cli"].map(|name| format!("--package=catchment-{name}"));
    run_command(cargo(&["build", "--release"]).args(packages))?;
    run_command(&mut cargo(&["build", "--release", "--package=catchment-bench"]))?;
    if let Err(error) = packages::ensure(&REFERENCES, "some references") {
        println!("{error:#}; they are left out");
    }
    let given = arguments.given();
    let shown =
        ["cargo xtask bench".to_owned()].into_iter().chain(given.clone()).collect::<Vec<_>>().join(" ");
    let mut bench = unlimited(&release().join("catchment-bench"));
    bench.arg("run").args(given).args(["--command", &shown]).current_dir(repository());
    if let Some(document) = arguments.document() {
        bench.arg("--out").arg(env::current_dir()?.join(document));
    }
    println!("\n==> {shown}");
    let status = bench.status()?;
    anyhow::ensure!(status.success(), "catchment-bench: {status}");
    let changed = output(Command::new("git").args(["status", "--short", "docs"]).current_dir(repository()));
    print!("{}", changed.unwrap_or_default());
    Ok(())
}
