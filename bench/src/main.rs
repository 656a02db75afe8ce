//! The program `catchment-bench`: loads for the release programs, the references they are measured against, and the
//! run that puts both together. `cargo xtask bench` builds everything and calls it.

mod cpu;
mod load;
mod metrics;
mod reference;
mod report;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Loads and references for measuring Catchment's release programs
#[derive(Debug, Parser)]
#[command(name = "catchment-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One load against a server that runs
    Load(load::by_hand::Arguments),
    /// A bare TLS server that reads and discards, or accepts
    Sink {
        /// discard, discard-buffer=BYTES or accept
        #[arg(long)]
        mode: reference::sink::Mode,
        /// A gateway's identity
        #[arg(long, value_name = "DIR")]
        identity: PathBuf,
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Load(arguments) => load::by_hand::start(&arguments),
        Command::Sink { mode, identity, listen } => reference::sink::run(&identity, listen, mode),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
