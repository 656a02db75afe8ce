//! The program `catchment-gateway`: parses its arguments, then runs the library.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use catchment_gateway::{Settings, StartError, bind, check, inspect, system};
use catchment_settings::{
    Sources, descriptors,
    exit::{UsageError, report},
    generated::GeneratedCommand,
    layered, logging,
    offline::{CheckCommand, DataFolder},
    output, parse, shutdown_signal,
};
use clap::{CommandFactory as _, Parser, Subcommand};

const EXAMPLES: &str = "Examples:
  catchment-gateway --identity pki/site/berlin/gateway/g1 --listen 0.0.0.0:8443 \\
      --aggregator https://centre.example:7443 --data /var/lib/catchment-gateway
  catchment-gateway --config /etc/catchment/gateway.toml --check-config
  catchment-gateway journal verify --data /var/lib/catchment-gateway
  catchment-gateway folder adopt --data /var/lib/catchment-gateway --identity pki/site/berlin/gateway/g2";

/// Takes readings from devices over mutual TLS, folds them into windows, delivers partials to an aggregator.
#[derive(Debug, Parser)]
#[command(name = "catchment-gateway", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// TOML file with settings; flags and environment variables override it
    #[arg(long, value_name = "FILE", env = "CATCHMENT_GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Check settings, identity and data folder without changing anything, then exit
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check or repair the journal and outbox (gateway stopped)
    #[command(subcommand)]
    Journal(CheckCommand),
    /// Change the owner of a data folder (gateway stopped)
    #[command(subcommand)]
    Folder(FolderCommand),
    #[command(flatten)]
    Generated(GeneratedCommand),
}

#[derive(Debug, Subcommand)]
enum FolderCommand {
    /// Bind the folder to another identity; refused while the folder holds readings
    Adopt {
        #[command(flatten)]
        data: DataFolder,
        /// Identity folder of the new owner
        #[arg(long, value_name = "DIR")]
        identity: PathBuf,
        /// Adopt a folder that holds readings: all of them count as the new owner's, even those already delivered
        #[arg(long)]
        force: bool,
    },
}

fn main() -> ExitCode {
    let result = parse(Some("CATCHMENT_GATEWAY_")).and_then(|(arguments, sources)| run(arguments, &sources));
    result.unwrap_or_else(|error| report(&error))
}

fn run(arguments: Arguments, sources: &Sources) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Some(Command::Journal(command)) => command.run(inspect::verify_text, inspect::repair_text),
        Some(Command::Folder(FolderCommand::Adopt { data, identity, force })) => {
            adopt(&data.path, &identity, force)
        }
        Some(Command::Generated(command)) => command.run(Arguments::command()),
        None => start(arguments, sources).map(|()| ExitCode::SUCCESS),
    }
}

/// Reports a start error as wrong usage if the configuration is at fault, not the machine.
fn cannot_start(error: StartError) -> anyhow::Error {
    UsageError::wrap_if(error.is_configuration(), error)
}

fn adopt(data: &Path, identity: &Path, force: bool) -> anyhow::Result<ExitCode> {
    output::print(inspect::adopt_text(data, identity, force)?)?;
    Ok(ExitCode::SUCCESS)
}

fn start(arguments: Arguments, sources: &Sources) -> anyhow::Result<()> {
    let settings = layered(&arguments.settings, arguments.config.as_deref()).map_err(UsageError::wrap)?;
    logging::init(settings.log.as_deref(), settings.log_format.unwrap_or_default())
        .map_err(|error| sources.blame(Some("log"), error))?;
    let config = settings.check().map_err(|error| sources.blame(Some(error.key()), error))?;
    if arguments.check_config {
        check(&config).map_err(cannot_start)?;
        output::print("configuration ok\n")?;
        return Ok(());
    }
    descriptors::raise_limit();
    system().block_on(async {
        let mut shutdown = Box::pin(shutdown_signal().context("cannot watch for signals")?);
        let bound = tokio::select! {
            bound = bind(config) => bound,
            // The start may wait for disk space.
            _ = &mut shutdown => return Ok(()),
        };
        let gateway = bound.map_err(cannot_start)?;
        output::print(format_args!("ready {}\n", gateway.local_addr()?))?;
        let stop = async {
            let signal = shutdown.await;
            tracing::info!(signal, "stopping");
        };
        Ok(gateway.run(stop).await?)
    })
}
