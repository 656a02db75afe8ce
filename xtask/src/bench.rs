//! `cargo xtask bench`: builds the release programs as users get them, makes sure of the references as far as that is
//! possible, and runs `catchment-bench`, which writes docs/benchmarks.md.

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

/// The document, from the root.
const DOCUMENT: &str = "docs/benchmarks.md";
/// Programs of others that figures are compared with.
const REFERENCES: [packages::Package; 3] = [
    ("mosquitto", &[&["test", "-x", "/usr/sbin/mosquitto"], &["sh", "-c", "command -v mosquitto"]]),
    ("influxdb", &[&["influxd", "version"]]),
    ("postgresql", &[&["sh", "-c", "ls /usr/lib/postgresql/*/bin/initdb"]]),
];

/// What is measured, and how long.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only these figures: frames, json, line-protocol, mqtt, singles, handshakes, idle, uplink, aggregator, latency, fair, sharing, growth
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Length of one measurement
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// How often each is measured; the median counts
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
    /// Also how figures grow with devices and series; on when all figures are measured
    #[arg(long)]
    growth: bool,
    /// Short and small, to see that everything works: its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Where to write [default: docs/benchmarks.md for all figures, nothing for some or quick ones]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// As they are given on.
    fn given(&self) -> Vec<String> {
        let mut given = Vec::new();
        if !self.only.is_empty() {
            given.extend(["--only".to_owned(), self.only.join(",")]);
        }
        for (flag, value) in [
            ("--seconds", self.seconds.map(|n| n.to_string())),
            ("--repeat", self.repeat.map(|n| n.to_string())),
        ] {
            given.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        for (flag, on) in [("--growth", self.growth), ("--quick", self.quick)] {
            given.extend(on.then(|| flag.to_owned()));
        }
        given
    }

    /// Where the document goes; only a run of everything replaces the repository's own.
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

/// The load and the servers together have more files open than is common: as many as the system allows.
fn unlimited(program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]).arg(program);
    command
}

/// Builds, installs, measures, writes.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The programs by themselves, so that nothing of the bench's decides how they are built.
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
