//! `cargo xtask COMMAND`: the project's commands, the same by hand and in CI.
//!
//! `lint` looks, `test` runs everything that can fail; `tidy`, `readme` and `deploy` are parts of these two that
//! are also useful alone. Each command prints what it runs, under a heading.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a tool of the project itself

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
mod simulate;
mod temporary;
mod test;
mod test_counts;
mod tidy;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use test_counts::TestCounts;

/// The project's commands
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Format, tidiness, clippy and documentation, with warnings as errors
    Lint,
    /// Builds `catchment` and runs its demo (also `cargo demo`): devices, two gateways and an aggregator on this machine
    Demo {
        /// Options of `catchment demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// The part of `lint` that knows this project: sizes, headers, words, links, who may depend on whom
    Tidy,
    /// Everything: unit, property and system tests, the README's commands, the files of deploy/
    Test,
    /// Runs the commands of the README's "Deploy it for real" as they stand there
    Readme,
    /// Checks the configuration files of deploy/ against the programs
    Deploy,
    /// Builds the release programs into target/dist: debug information apart, sizes checked
    Dist,
    /// Kills, stops, cuts off and freezes the real programs at random, and checks every window at the end
    Chaos {
        /// How long faults are made
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
        /// Decides what is done; random unless given, and printed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs mutated bytes through the decoders: no panic, bounded memory, no stall; keeps what it finds in fuzz/corpus
    Fuzz {
        /// json, line_protocol, frames, lines, topics, mqtt, partial, batch, journal, or all
        target: String,
        /// How long, each target
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Decides all inputs; random unless given, and printed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Measures the release programs beside others on this machine, and writes docs/benchmarks.md
    Bench(bench::Arguments),
    /// Runs schedules of the simulation: the product's own code on simulated disks and links, under seeded faults
    Simulate {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        schedules: u64,
        /// Seed of the first; each further one has the next
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Leaves out one safeguard after another in a copy of the repository: a test must fail each time
    Safeguards {
        /// Only the most important ones
        #[arg(long)]
        quick: bool,
        /// Only those whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Lint => lint::run().map(|()| true),
        Command::Demo { options } => demo::run(&options).map(|()| true),
        Command::Dist => dist::run().map(|()| true),
        Command::Tidy => tidy::run().map(|()| true),
        Command::Test => Ok(test::run().report()),
        Command::Readme => test::build().and_then(|()| readme::run()).map(TestCounts::report),
        Command::Chaos { minutes, seed } => chaos::run(minutes, seed).map(|()| true),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| true),
        Command::Fuzz { target, seconds, seed } => fuzz::run(&target, seconds, seed).map(|()| true),
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
