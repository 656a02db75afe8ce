//! Catchment's operator tool, as a library: the program's `main` only parses and calls [`run`].
//!
//! * queries: `query`, [`watch`](mod@watch), `raw`, `list` (devices, gateways, series), over [`aggregator_client`]; [`query_result`]
//!   holds results, [`render`] prints them, `chart` draws them, [`export`] writes Parquet and Arrow;
//! * `top`: the fleet in a terminal;
//! * sending: `send` and `load`, over [`device`]; `lines` parses text into messages;
//! * `proxy`: the aggregator's HTTP API on loopback;
//! * `dashboard`: a page of the fleet on loopback;
//! * `demo`: the whole system on one machine.
//!
//! Results go to standard output, everything else to standard error.

pub mod aggregate_list;
pub mod aggregator_client;
pub mod args;
mod chart;
pub mod dashboard;
pub mod demo;
pub mod device;
mod expiry;
pub mod export;
pub mod failure;
pub mod length;
pub mod lines;
pub mod list;
pub mod load;
mod moved;
mod print;
pub mod proxy;
pub mod query;
pub mod query_result;
pub mod raw;
pub mod render;
pub mod send;
mod suggestions;
pub mod time;
pub mod top;
pub mod watch;

use catchment_settings::logging;
use clap::CommandFactory as _;

use crate::{
    args::{Cli, Command},
    failure::Failure,
};

/// Runs the command.
///
/// # Errors
/// Wrong usage or a failure, in one line.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    logging::init(Some(&cli.log), cli.log_format)
        .map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(command(&cli.command));
    // Do not wait: a thread may still block on standard input.
    runtime.shutdown_background();
    result
}

async fn command(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Query(args) => query::query(args).await,
        Command::Watch(args) => watch::watch(args).await,
        Command::Raw(args) => raw::raw(args).await,
        Command::Devices(args) => list::devices(args).await,
        Command::Gateways(args) => list::gateways(args).await,
        Command::Series(args) => list::series(args).await,
        Command::Top(args) => top::top(args).await,
        Command::Send(args) => send::send(args).await,
        Command::Load(args) => load::load(args).await,
        Command::Proxy(args) => proxy::proxy(args).await,
        Command::Dashboard(args) => dashboard::dashboard(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Generated(command) => {
            command.run(Cli::command()).map(drop).map_err(|error| Failure::failed(format!("{error:#}")))
        }
    }
}
