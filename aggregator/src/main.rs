//! The program `catchment-aggregator`: flags, logging, signals, exit status. The library does the work.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use catchment_aggregator::{
    Config, Options, StartError,
    backup::{BackupOptions, RestoreOptions},
    bind, check,
    inspect::{adopt_text, repair_text, verify_text},
    store,
};
use catchment_settings::{
    Sources, descriptors, exit,
    generated::GeneratedCommand,
    layered, logging,
    offline::{CheckCommand, DataFolder, Verdict},
    output, parse, shutdown_signal,
};
use clap::{CommandFactory as _, Parser, Subcommand};

/// Takes partials from gateways, stores them, answers queries
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    /// TOML file with the same keys as the flags (`listen`, `query_timeout` …); flags and variables override it
    #[arg(long, value_name = "FILE", env = "CATCHMENT_AGGREGATOR_CONFIG")]
    config: Option<PathBuf>,
    /// Check settings, identity and data folder without changing anything, then exit
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  catchment-aggregator --identity PKI/aggregator/centre --listen 0.0.0.0:7700 --data /var/lib/catchment
  catchment-aggregator --config /etc/catchment/aggregator.toml --check-config
  catchment-aggregator store backup --to /backup/catchment --aggregator https://centre.example:7700 --identity PKI/operator/ada
  catchment-aggregator store verify --data /var/lib/catchment
  catchment-aggregator store repair --data /var/lib/catchment
  catchment-aggregator folder adopt --data /var/lib/catchment --identity PKI/aggregator/centre-2";

#[derive(Subcommand)]
enum Command {
    /// Back up, restore, check or repair the embedded store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Change the owner of a data folder (aggregator stopped)
    #[command(subcommand)]
    Folder(FolderCommand),
    #[command(flatten)]
    Generated(GeneratedCommand),
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Copy the store of a running aggregator, or of a stopped one, into a folder; repeated, it copies what is new
    Backup(BackupOptions),
    /// Make a new data folder of a backup
    Restore(RestoreOptions),
    #[command(flatten)]
    Check(CheckCommand),
}

#[derive(Subcommand)]
enum FolderCommand {
    /// Bind the folder to another identity; refuses another trust domain unless forced
    Adopt {
        #[command(flatten)]
        data: DataFolder,
        /// Identity folder of the new owner
        #[arg(long, value_name = "DIR")]
        identity: PathBuf,
        /// Adopt a folder of another trust domain
        #[arg(long)]
        force: bool,
    },
}

fn main() -> ExitCode {
    let result = parse(Some("CATCHMENT_AGGREGATOR_")).and_then(|(cli, sources)| run(cli, &sources));
    result.unwrap_or_else(|error| exit::report(&error))
}

fn run(cli: Cli, sources: &Sources) -> anyhow::Result<ExitCode> {
    match cli.command {
        Some(Command::Store(command)) => look_after_store(&command),
        Some(Command::Folder(FolderCommand::Adopt { data, identity, force })) => {
            adopt(&data.path, &identity, force)
        }
        Some(Command::Generated(command)) => command.run(Cli::command()),
        None => serve(&cli, sources),
    }
}

/// Classifies a start error: a usage error if the configuration is wrong, not the machine.
fn cannot_start(error: StartError) -> anyhow::Error {
    exit::UsageError::wrap_if(error.is_configuration(), error)
}

fn serve(cli: &Cli, sources: &Sources) -> anyhow::Result<ExitCode> {
    let options = layered(&cli.options, cli.config.as_deref()).map_err(exit::UsageError::wrap)?;
    logging::init(options.log.as_deref(), options.log_format.unwrap_or_default())
        .map_err(|error| sources.blame(Some("log"), error))?;
    let config = Config::try_from(options).map_err(|error| sources.blame(Some(error.key()), error))?;
    if cli.check_config {
        check(&config).map_err(cannot_start)?;
        output::print("configuration ok\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    descriptors::raise_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(async {
        let signal = shutdown_signal().context("cannot listen for signals")?;
        let mut signal = Box::pin(signal);
        let bound = tokio::select! {
            bound = bind(config) => bound,
            // Binding may wait for disk space.
            _ = &mut signal => return Ok(ExitCode::SUCCESS),
        };
        let aggregator = bound.map_err(cannot_start)?;
        if let Some(http) = aggregator.http_addr() {
            tracing::info!(%http, "metrics and probes");
        }
        output::print(format_args!("ready {}\n", aggregator.local_addr()))?;
        // Awaited outside the event: a log filter that drops the event does not evaluate its fields.
        let stop = async {
            let signal = signal.await;
            tracing::info!(signal, "stopping");
        };
        aggregator.run(stop).await?;
        anyhow::Ok(ExitCode::SUCCESS)
    });
    // Cut connections may leave work on blocking threads; it touches nothing durable.
    runtime.shutdown_background();
    result
}

fn look_after_store(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    logging::init(None, logging::LogFormat::Text)?;
    let command = match command {
        StoreCommand::Backup(options) => return options.run(),
        StoreCommand::Restore(options) => return options.run(),
        StoreCommand::Check(command) => command,
    };
    // A table takes a descriptor while it is read, and days are compared with all their minutes at once.
    descriptors::raise_limit();
    let verify = |data: &Path| store::verify(data).map(|report| (verify_text(&report), verdict(&report)));
    command.run(verify, |data| store::repair(data).map(|report| repair_text(&report)))
}

fn verdict(report: &store::VerifyReport) -> Verdict {
    if report.is_clean() && !report.is_complete() {
        return Verdict::Incomplete;
    }
    report.is_clean().into()
}

fn adopt(data: &Path, identity: &Path, force: bool) -> anyhow::Result<ExitCode> {
    logging::init(None, logging::LogFormat::Text)?;
    output::print(adopt_text(data, identity, force)?)?;
    Ok(ExitCode::SUCCESS)
}
