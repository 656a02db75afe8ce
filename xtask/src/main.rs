//! `cargo xtask COMMAND`: the project's commands, the same by hand and in CI.
//!
//! `lint` checks the sources, `test` runs all tests; `tidy`, `readme` and `deploy` are parts of these two that are also
//! useful alone. Each command prints the commands that it runs, under a heading.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a tool of the project itself

mod api;
mod axe;
mod bench;
mod chaos;
mod command;
mod demo;
mod deploy;
mod dist;
mod fuzz;
mod lint;
mod packages;
mod python;
mod readme;
mod safeguards;
mod screenshots;
mod silence;
mod simulate;
mod temporary;
mod test;
mod test_counts;
mod tidy;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use test_counts::TestCounts;

/// Commands for developing Catchment
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check format, project rules, clippy and documentation, with warnings as errors
    Lint,
    /// Build `catchment` and run its demo (also `cargo demo`): devices, two gateways and an aggregator on this machine
    Demo {
        /// Options of `catchment demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Check this project's own rules (part of `lint`): sizes, headers, words, links, dependencies between crates
    Tidy,
    /// Write docs/api.md from the .proto files (`tidy` checks that it is up to date)
    Api,
    /// Run all tests: unit, property and system tests, the Python client, the README's commands, the files of deploy/
    Test,
    /// Check and test clients/python (part of `test`)
    Python,
    /// Run the commands of the README's "Deploy it for real" (part of `test`)
    Readme,
    /// Check the configuration files of deploy/ against the programs (part of `test`)
    Deploy,
    /// Build the release programs into target/dist, with separate debug information, checked sizes, man pages and completions
    Dist,
    /// Kill, stop, disconnect and freeze the real programs at random, and verify every window at the end
    Chaos {
        /// Minutes of fault injection
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
        /// Seed of the faults [default: random, printed]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Fuzz the decoders with mutated bytes: no panic, bounded memory, no stall; adds findings to fuzz/corpus
    Fuzz {
        /// Target: json, json_options, line_protocol, frames, lines, topics, mqtt, opening, partial, batch, journal,
        /// promql, certificate, crl, revocation_parts, or all
        target: String,
        /// Seconds per target
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Seed of the inputs [default: random, printed]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Measure the release programs and references on this machine, and write docs/benchmarks.md
    Bench(bench::Arguments),
    /// Run the simulation: the product's own code on simulated disks and links, under seeded faults
    Simulate {
        /// Number of schedules
        #[arg(long, default_value_t = 10_000)]
        schedules: u64,
        /// Seed of the first schedule; each further one uses the next seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Run the demo and take the pictures of its dashboard in docs/images, with headless Chromium
    Screenshots,
    /// Remove one safeguard after another in a copy of the repository: each time a test must fail
    Safeguards {
        /// Check only the most important safeguards
        #[arg(long)]
        quick: bool,
        /// Check only safeguards whose name contains this text
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Lint => lint::run().map(|()| true),
        Command::Demo { options } => demo::run(&options).map(|()| true),
        Command::Dist => dist::run().map(|()| true),
        Command::Api => api::run().map(|()| true),
        Command::Tidy => tidy::run().map(|()| true),
        Command::Test => Ok(test::run().report()),
        Command::Python => test::build().and_then(|()| python::run()).map(TestCounts::report),
        Command::Readme => test::build().and_then(|()| readme::run()).map(TestCounts::report),
        Command::Chaos { minutes, seed } => chaos::run(minutes, seed).map(|()| true),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| true),
        Command::Fuzz { target, seconds, seed } => fuzz::run(&target, seconds, seed).map(|()| true),
        Command::Screenshots => screenshots::run_all().map(|()| true),
        Command::Simulate { schedules, seed } => simulate::run(schedules, seed).map(|()| true),
        Command::Safeguards { quick, only } => safeguards::run(quick, only.as_deref()).map(|()| true),
        Command::Deploy => test::build().and_then(|()| deploy::run()).map(TestCounts::report),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
