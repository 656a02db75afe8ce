//! The command line of `catchment` and its help texts. No logic beyond checks of single values.

mod dashboard;
mod gateways;
mod query;
mod top;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use catchment_settings::{generated::GeneratedCommand, logging::LogFormat};
use clap::{Args, Parser, Subcommand};

pub use self::dashboard::DashboardArgs;
pub use self::gateways::{GatewayName, GatewaysArgs, GatewaysCommand, RetireArgs};
pub use self::query::{Fill, Image, OutputKind, QueryArgs, QueryFormat};
pub use self::top::{TopArgs, View};
use crate::{
    device::{GatewayAddress, Protocol},
    length::Length,
    proxy::loopback,
    render::{ListFormat, ResultFormat},
    time::{Moment, Span},
};

/// Catchment's operator tool: query aggregates, list devices and gateways, send readings, run a demo
#[derive(Debug, Parser)]
#[command(
    name = "catchment",
    version,
    propagate_version = true,
    after_help = "Examples:
  catchment demo
  catchment query 'temperature{site=\"berlin\"}' --last 15m --step 1m --agg count,mean,p99 --by device
  catchment devices '{site=\"berlin\"}'
  echo '{\"temperature\":21.5}' | catchment send --gateway gateway.example:7600 --identity pki/site/berlin/device/press-17

Run `catchment COMMAND --help` for details."
)]
pub struct Cli {
    /// Log filter in tracing's syntax; logs go to standard error
    #[arg(long, global = true, value_name = "FILTER", env = "CATCHMENT_LOG", default_value = "error")]
    pub log: String,
    /// Log format
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Query aggregates
    Query(QueryArgs),
    /// Show the latest result of a query as it changes
    Watch(WatchArgs),
    /// Fetch single readings that gateways still hold
    Raw(RawArgs),
    /// List devices and when they were last seen
    Devices(ListArgs),
    /// List gateways, their connection state and their lag, or retire one
    Gateways(GatewaysArgs),
    /// List series and their labels, or forget series
    Series(SeriesArgs),
    /// Show sites, gateways, devices and metrics in the terminal, refreshed
    Top(TopArgs),
    /// Send JSON lines as a device, resending each until it is acknowledged
    Send(SendArgs),
    /// Simulate devices and report what was acknowledged
    Load(LoadArgs),
    /// Serve the aggregator's Prometheus API on loopback, for programs without certificates
    Proxy(ProxyArgs),
    /// Serve a page with charts and lists of the fleet on loopback, for a browser of this machine
    Dashboard(DashboardArgs),
    /// Run everything on this machine: certificates, servers, devices, queries
    Demo(DemoArgs),
    /// Completions and man pages.
    #[command(flatten)]
    Generated(GeneratedCommand),
}

/// The aggregator, and the identity to present.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// Aggregator URL
    #[arg(long, value_name = "https://HOST:PORT", env = "CATCHMENT_AGGREGATOR")]
    pub aggregator: String,
    /// Operator's identity folder (cert.pem, key.pem, ca.pem)
    #[arg(long, value_name = "DIR", env = "CATCHMENT_IDENTITY")]
    pub identity: PathBuf,
}

/// A query whose result is shown as it changes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment watch temperature --last 1m --step 10s --by site --agg count,mean,p99
  catchment watch temperature --last 10s --step 1s --by device --format json
  catchment watch energy --last 7d --step 1d --tz Europe/Berlin --by site --agg sum
  catchment watch temperature --last 1m --by site --top 10 --order p99 --every 2s

With --step (and without --to) the aggregator pushes new and corrected points as they come: a table shows all of the
range, json and csv print only those, a line of JSON each time. Otherwise, and with --top, --order or --fill, the query
is repeated.

While the aggregator does not answer, the command retries after growing pauses and then continues where it was. Ctrl-C,
a refused identity and an invalid query end it.")]
pub struct WatchArgs {
    /// The query.
    #[command(flatten)]
    pub query: QueryArgs,
    /// Pause between a result and the next query, where the query is repeated
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, default_value = "2s")]
    pub every: Duration,
}

/// A range of time.
#[derive(Clone, Copy, Debug, Args)]
pub struct RangeArgs {
    /// Length of the range, which ends now: 15m, 24h, 1d, 1mo [default: 15m]
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["from", "to"])]
    pub last: Option<Length>,
    /// Start of the range: RFC 3339, a date such as 2026-11-22, Unix seconds, now, or now-1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<Moment>,
    /// End of the range, exclusive [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    pub to: Option<Moment>,
}

impl RangeArgs {
    /// The range that the flags describe.
    pub fn span(&self) -> Span {
        match (self.last, self.from) {
            (Some(last), _) => Span::Last(last),
            (None, Some(from)) => Span::Between(from, self.to.unwrap_or(Moment::Now)),
            (None, None) => Span::DEFAULT,
        }
    }
}

/// Which raw readings to fetch.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment raw 'temperature{device=\"press-17\"}' --from 2026-11-22T09:00:00Z --to 2026-11-22T10:00:00Z
  catchment raw '{device=\"press-17\"}' --last 10m --format csv > press-17.csv

A gateway keeps raw readings only with raw_keep in its configuration. What it no longer holds is reported on standard error.")]
pub struct RawArgs {
    /// PromQL vector selector, of at most 1,000 series
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
    /// The range.
    #[command(flatten)]
    pub range: RangeArgs,
    /// Maximum readings
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub max: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t = ResultFormat::Table)]
    pub format: ResultFormat,
}

/// Which devices, gateways or series to list.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment devices '{site=\"berlin\"}'
  catchment gateways --format json
  catchment series 'temperature{device=~\"press-.*\"}'")]
pub struct ListArgs {
    /// PromQL vector selector [default: everything]
    #[arg(value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Series to list, or a subcommand.
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  catchment series 'temperature{device=~\"press-.*\"}'
  catchment series forget '{site=\"berlin\",device=\"press-17\"}' --dry-run

To list a metric named like a subcommand, write '{__name__=\"forget\"}'."
)]
pub struct SeriesArgs {
    /// Subcommand; `None` lists.
    #[command(subcommand)]
    pub command: Option<SeriesCommand>,
    /// What to list.
    #[command(flatten)]
    pub list: ListFlags,
}

/// The flags of a list that has subcommands beside it.
#[derive(Clone, Debug, Args)]
pub struct ListFlags {
    /// PromQL vector selector [default: everything]
    #[arg(value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Option<Connection>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

impl ListFlags {
    /// What to list; `None` without an aggregator, which the parser requires unless there is a subcommand.
    pub fn given(&self) -> Option<ListArgs> {
        let connection = self.connection.clone()?;
        Some(ListArgs { selector: self.selector.clone(), connection, format: self.format })
    }
}

/// Subcommands of `series`.
#[derive(Clone, Debug, Subcommand)]
pub enum SeriesCommand {
    /// Forget series and all of their windows, which makes room for new series
    Forget(ForgetArgs),
}

/// Which series to forget.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment series forget '{site=\"berlin\",device=\"press-17\"}' --dry-run
  catchment series forget 'temprature'

A forgotten series that a device sends again is a new series. Gateways still deliver the windows that they hold of it.")]
pub struct ForgetArgs {
    /// PromQL vector selector of the series to forget; it must not be empty
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// Only count the selected series
    #[arg(long)]
    pub dry_run: bool,
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
}

/// Lines to send, the gateway, and the identity to present.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  echo '{\"temperature\":21.5,\"door_open\":true}' | catchment send --gateway 127.0.0.1:7600 --identity pki/site/berlin/device/press-17
  catchment send --gateway gateway.example:7600 --identity DIR --epoch batch-7 readings.jsonl

Each line is a JSON object of readings, or {\"ts\":MILLISECONDS,\"values\":{…},\"labels\":{…}}, or an array of these.
Readings without a time get the time at which their line is read. The same input sent again under the same --epoch counts once.
Lines refused in whole or in part are reported on standard error; the exit status is then 1.")]
pub struct SendArgs {
    /// Gateway address
    #[arg(long, value_name = "HOST:PORT")]
    pub gateway: GatewayAddress,
    /// Device's identity folder (cert.pem, key.pem, ca.pem)
    #[arg(long, value_name = "DIR")]
    pub identity: PathBuf,
    /// Name of this run, 1 to 64 bytes; lines already acknowledged under it are not sent again [default: random]
    #[arg(long, value_name = "NAME", value_parser = epoch)]
    pub epoch: Option<String>,
    /// Give up when nothing is acknowledged for this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub timeout: Option<Duration>,
    /// File of JSON lines; omit it or give `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Which devices to simulate, and how fast.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment load --gateway 127.0.0.1:7600 --identities pki/site/berlin/device --devices 100 --rate 1000 --duration 30s
  catchment load --gateway 127.0.0.1:7600 --identities pki/site/berlin/device --devices 8 --rate 0 --duration 10s \\
      --protocol frames --readings-per-message 20 --format json

The exit status is 1 if anything was refused or not acknowledged.")]
pub struct LoadArgs {
    /// Gateway address
    #[arg(long, value_name = "HOST:PORT")]
    pub gateway: GatewayAddress,
    /// Folder of device identity folders, for example pki/site/berlin/device
    #[arg(long, value_name = "DIR")]
    pub identities: PathBuf,
    /// Number of devices: the first N in the folder, by name
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub devices: u32,
    /// Messages per second over all devices; 0 sends as fast as they are acknowledged
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub rate: u32,
    /// Duration of the load
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub duration: Duration,
    /// Device protocol
    #[arg(long, value_enum, default_value_t = Protocol::Json)]
    pub protocol: Protocol,
    /// Readings per message, each of its own metric
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub readings_per_message: u32,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Where to serve the aggregator's API.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment proxy --aggregator https://centre.example:7700 --identity pki/operator/ada
  curl 'http://127.0.0.1:9090/api/v1/query?query=temperature'

Everybody on this machine can query through it in the name of the identity, and nobody else: other addresses than those of
loopback are refused, and web pages too. It prints `ready ADDRESS` when it listens, and runs until SIGTERM or Ctrl-C. While the
aggregator is away, requests are answered with status 502.")]
pub struct ProxyArgs {
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
    /// Loopback address to listen on; port 0 chooses a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9090", value_parser = loopback)]
    pub listen: SocketAddr,
}

/// Size and duration of the demo.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment demo
  catchment demo --duration 20s
  catchment demo --devices 200 --dir /tmp/demo --keep

All servers listen on 127.0.0.1 only. All files are in one folder, which is removed at the end unless --keep is given.
Ctrl-C stops the demo in order and verifies the counts; a second Ctrl-C ends it at once.")]
pub struct DemoArgs {
    /// Stop after this long [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Number of simulated devices, besides this machine
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub devices: u32,
    /// Working folder, new or empty [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the folder with certificates and data
    #[arg(long)]
    pub keep: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    catchment_settings::parse_duration(text).map_err(|error| error.to_string())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| match duration.as_millis() {
        0 => Err("must be at least 1ms".to_owned()),
        _ => Ok(duration),
    })
}

fn epoch(text: &str) -> Result<String, String> {
    match text.len() {
        1..=64 => Ok(text.to_owned()),
        length => Err(format!("an epoch has 1 to 64 bytes; this one has {length}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "catchment send --gateway host --identity i",
            "catchment send --gateway ::1:7600 --identity i",
            "catchment load --gateway h:1 --identities i --devices 0 --rate 1 --duration 1s",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
