//! The program `catchment-bench`: loads for the release programs, the references they are measured against, and a run
//! of both. `cargo xtask bench` builds everything and calls it.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a tool of the project itself

mod benchmarks;
mod cpu;
mod load;
mod machine;
mod metrics;
mod plot;
mod process;
mod proxy;
mod reference;
mod report;
mod world;

use std::{cell::OnceCell, fs, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};

use benchmarks::{Bench, NAMES, QUERY};

/// Loads and references for measuring Catchment's release programs
#[derive(Debug, Parser)]
#[command(name = "catchment-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure every figure and its reference on this machine
    Run(Run),
    /// Run one load against a running server
    Load(load::manual::Arguments),
    /// Run a bare TLS server that discards, accepts or answers
    Sink {
        /// Mode: discard, discard-buffer=BYTES, accept or answer
        #[arg(long)]
        mode: reference::sink::Mode,
        /// Gateway's identity folder
        #[arg(long, value_name = "DIR")]
        identity: PathBuf,
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Put rows into sled and print rows per CPU-second
    SledReference {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        rows: usize,
        #[arg(long)]
        series: usize,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Figures to measure [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = benchmarks::choices())]
    only: Vec<String>,
    /// Also measure growth with devices and series; on when all figures are measured
    #[arg(long)]
    growth: bool,
    /// Length of one measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Repetitions of each measurement; the median counts
    #[arg(long, default_value_t = 2)]
    repeat: usize,
    /// Multiple of the stored windows of the query figures; 20: a start with 100 million
    #[arg(long, default_value_t = 1, value_name = "N")]
    scale: usize,
    /// Short smoke run: its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Output document; a drawing is written next to it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Command shown in the document
    #[arg(long, default_value = "catchment-bench run")]
    command: String,
}

fn run(arguments: &Run) -> anyhow::Result<()> {
    ensure!((0.1..=600.0).contains(&arguments.seconds), "--seconds: 0.1 to 600");
    ensure!((1..=100).contains(&arguments.repeat), "--repeat: 1 to 100");
    ensure!((1..=100).contains(&arguments.scale), "--scale: 1 to 100");
    let quick = arguments.quick;
    let dir = tempfile::Builder::new().prefix("catchment-bench-").tempdir()?;
    let bench = Bench {
        pki: world::Pki::new(&dir.path().join("pki"))?,
        dir: dir.path().to_owned(),
        duration: Duration::from_secs_f64(if quick { 0.3 } else { arguments.seconds }),
        repeat: if quick { 1 } else { arguments.repeat },
        scale: arguments.scale,
        quick,
        duckdb: OnceCell::new(),
    };
    let only = &arguments.only;
    let wanted = |name: &&&str| match **name {
        "growth" => arguments.growth || only.is_empty() || only.iter().any(|one| one == "growth"),
        name => {
            let is_wanted = |one: &String| one == name || one == QUERY && name.starts_with(QUERY);
            only.is_empty() || only.iter().any(is_wanted)
        }
    };
    let names: Vec<&str> = NAMES.iter().filter(wanted).copied().collect();
    let mut report = benchmarks::run(&bench, &names);
    report.versions = reference::versions();
    if let Some(out) = &arguments.out {
        let drawing = out.with_extension("svg");
        let name = drawing.file_name().context("--out names no file")?.to_string_lossy().into_owned();
        let machine = machine::Machine::here();
        fs::write(out, report::markdown(&report, &machine, &arguments.command, &name))?;
        fs::write(&drawing, plot::svg(&report))?;
        println!("written: {} and {}", out.display(), drawing.display());
    }
    ensure!(report.failures.is_empty(), "{} figures could not be measured", report.failures.len());
    Ok(())
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Load(arguments) => load::manual::start(&arguments),
        Command::Sink { mode, identity, listen } => reference::sink::run(&identity, listen, mode),
        Command::SledReference { dir, rows, series } => reference::sled::run(&dir, rows, series),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
