//! The command line: what `catchment` takes, with its help. No logic beyond checks of single values.

use std::{path::PathBuf, time::Duration};

use catchment_settings::logging::LogFormat;
use clap::{Args, Parser, Subcommand};

use crate::{
    device::{GatewayAddress, Protocol},
    render::{ListFormat, ResultFormat},
    time::Moment,
};

/// The operator's tool of Catchment: ask for aggregates, see who is there, send readings, try it all out
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

`catchment COMMAND --help` tells more about each."
)]
pub struct Cli {
    /// Log filter in tracing's syntax; logs go to standard error
    #[arg(long, global = true, value_name = "FILTER", env = "CATCHMENT_LOG", default_value = "error")]
    pub log: String,
    /// Form of log lines
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `catchment` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for aggregates of what was measured
    Query(QueryArgs),
    /// Ask the same again and again, and show the newest answer
    Watch(WatchArgs),
    /// List the devices: who is there, when last seen
    Devices(ListArgs),
    /// List the gateways: who is connected, behind by how much
    Gateways(ListArgs),
    /// List the series, or forget some: what is measured, with which labels
    Series(SeriesArgs),
    /// Send JSON lines as a device, and resend them until each is acknowledged
    Send(SendArgs),
    /// Simulate devices, and print what was acknowledged
    Load(LoadArgs),
    /// Everything at once on this machine: certificates, servers, devices, queries
    Demo(DemoArgs),
}

/// Which aggregator to ask, and as whom.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// The aggregator's address
    #[arg(long, value_name = "https://HOST:PORT", env = "CATCHMENT_AGGREGATOR")]
    pub aggregator: String,
    /// Folder of the operator's identity (cert.pem, key.pem, ca.pem)
    #[arg(long, value_name = "DIR", env = "CATCHMENT_IDENTITY")]
    pub identity: PathBuf,
}

/// A question.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment query 'temperature{site=\"berlin\"}' --last 15m --step 1m --agg count,mean,p99 --by device
  catchment query '{device=~\"press-.*\"}' --by __name__,device --from 2026-11-22T10:00:00Z --to now --format json
  catchment query temperature --from now-1d --step 1h --by site --format csv > temperature.csv

A range takes the windows that start in [from, to). Without --step there is one point for the whole range.")]
pub struct QueryArgs {
    /// What to select, as a PromQL vector selector: temperature{site="berlin",device=~"press-.*"}
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// Which aggregator, and as whom.
    #[command(flatten)]
    pub connection: Connection,
    /// The time up to now that is asked about [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["from", "to"])]
    pub last: Option<Duration>,
    /// Begin of the range: RFC 3339, Unix seconds, now, or now-1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<Moment>,
    /// End of the range, excluded [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    pub to: Option<Moment>,
    /// Width of a point: a multiple of the gateways' window
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub step: Option<Duration>,
    /// Aggregates, in the order of the columns: count, sum, mean, min, max, p99, p99.9 … [default: the aggregator's]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', num_args = 1)]
    pub agg: Vec<String>,
    /// Labels to group by; without it, all selected series are merged into one
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',', num_args = 1)]
    pub by: Vec<String>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = ResultFormat::Table)]
    pub format: ResultFormat,
}

/// A question that is asked again and again.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment watch temperature --last 1m --by site --agg count,mean,p99 --every 2s

While the aggregator does not answer, it is asked again after growing pauses. Ctrl-C, a refused identity and a wrong
question end it.")]
pub struct WatchArgs {
    /// The question.
    #[command(flatten)]
    pub query: QueryArgs,
    /// Time from one answer to the next question
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, default_value = "2s")]
    pub every: Duration,
}

/// Which devices, gateways or series to list.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment devices '{site=\"berlin\"}'
  catchment gateways --format json
  catchment series 'temperature{device=~\"press-.*\"}'")]
pub struct ListArgs {
    /// What to list, as a PromQL vector selector; everything without it
    #[arg(value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// Which aggregator, and as whom.
    #[command(flatten)]
    pub connection: Connection,
    /// How to print the list
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Series to list, or what else to do with series.
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  catchment series 'temperature{device=~\"press-.*\"}'
  catchment series forget '{site=\"berlin\",device=\"press-17\"}' --dry-run

A metric that is called like a command is listed with '{__name__=\"forget\"}'."
)]
pub struct SeriesArgs {
    /// What to do; without it, list.
    #[command(subcommand)]
    pub command: Option<SeriesCommand>,
    /// What to list, as a PromQL vector selector; everything without it
    #[arg(value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// Which aggregator, and as whom.
    #[command(flatten)]
    pub connection: Option<Connection>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

impl SeriesArgs {
    /// Which series to list; `None` without an aggregator, which the parser asks for unless there is a command.
    pub fn list(&self) -> Option<ListArgs> {
        let connection = self.connection.clone()?;
        Some(ListArgs { selector: self.selector.clone(), connection, format: self.format })
    }
}

/// What can be done with series beside listing them.
#[derive(Clone, Debug, Subcommand)]
pub enum SeriesCommand {
    /// Forget series with all of their windows, which makes room for new ones
    Forget(ForgetArgs),
}

/// Which series to forget.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment series forget '{site=\"berlin\",device=\"press-17\"}' --dry-run
  catchment series forget 'temprature'

A series that a device sends again afterwards is a new one. What the gateways hold of it is delivered.")]
pub struct ForgetArgs {
    /// What to forget, as a PromQL vector selector; it must select something
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// Only count the series that are selected
    #[arg(long)]
    pub dry_run: bool,
    /// Which aggregator, and as whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// What to send, where, and as whom.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  echo '{\"temperature\":21.5,\"door_open\":true}' | catchment send --gateway 127.0.0.1:7600 --identity pki/site/berlin/device/press-17
  catchment send --gateway gateway.example:7600 --identity DIR --epoch batch-7 readings.jsonl

Each line is a JSON object of readings, or {\"ts\":MILLISECONDS,\"values\":{…},\"labels\":{…}}, or an array of these.
Readings without a time get the time at which they are read. The same input sent again under the same --epoch counts once.
Lines of which something is refused are printed to standard error; the exit status is 1 then.")]
pub struct SendArgs {
    /// The gateway's address
    #[arg(long, value_name = "HOST:PORT")]
    pub gateway: GatewayAddress,
    /// Folder of the device's identity (cert.pem, key.pem, ca.pem)
    #[arg(long, value_name = "DIR")]
    pub identity: PathBuf,
    /// Name of this run, 1 to 64 bytes: lines that were acknowledged under it before are not sent again [default: random]
    #[arg(long, value_name = "NAME", value_parser = epoch)]
    pub epoch: Option<String>,
    /// Give up when nothing is acknowledged for so long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub timeout: Option<Duration>,
    /// JSON lines; standard input without it, or with `-`
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Which devices to simulate, and how fast.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment load --gateway 127.0.0.1:7600 --identities pki/site/berlin/device --devices 100 --rate 1000 --duration 30s
  catchment load --gateway 127.0.0.1:7600 --identities pki/site/berlin/device --devices 8 --rate 0 --duration 10s \\
      --protocol frames --readings-per-message 20 --format json

The exit status is 1 when something was refused or not acknowledged.")]
pub struct LoadArgs {
    /// The gateway's address
    #[arg(long, value_name = "HOST:PORT")]
    pub gateway: GatewayAddress,
    /// Folder that holds the devices' identity folders, for example pki/site/berlin/device
    #[arg(long, value_name = "DIR")]
    pub identities: PathBuf,
    /// Number of devices: the first so many of the folder, by name
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub devices: u32,
    /// Messages a second of all devices together; 0: as fast as they are acknowledged
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub rate: u32,
    /// How long to send
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub duration: Duration,
    /// How devices speak
    #[arg(long, value_enum, default_value_t = Protocol::Json)]
    pub protocol: Protocol,
    /// Readings of each message, each of a metric of its own
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub readings_per_message: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// How large the demo is, and how long it lasts.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment demo
  catchment demo --duration 20s
  catchment demo --devices 200 --dir /tmp/demo --keep

Everything listens on 127.0.0.1 only and lives in one folder, which is removed at the end unless --keep is given.
Ctrl-C ends the demo in order, with its count of what was acknowledged; a second Ctrl-C ends it at once.")]
pub struct DemoArgs {
    /// End by itself after so long [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Number of simulated devices, beside this machine itself
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub devices: u32,
    /// Folder to work in, new or empty [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave the folder with certificates and data behind
    #[arg(long)]
    pub keep: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    catchment_settings::parse_duration(text).map_err(|error| error.to_string())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| match duration.as_millis() {
        0 => Err("it must be at least 1ms".to_owned()),
        _ => Ok(duration),
    })
}

fn epoch(text: &str) -> Result<String, String> {
    match text.len() {
        1..=64 => Ok(text.to_owned()),
        length => Err(format!("an epoch has 1 to 64 bytes, this one has {length}")),
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
    fn the_documented_query_is_understood() {
        let line = "catchment query temperature --last 15m --step 1m --agg count,mean,p99 --by device --format json \
                    --aggregator https://centre:7700 --identity ada";
        let Command::Query(query) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("not a query");
        };
        assert_eq!(query.agg, ["count", "mean", "p99"]);
        assert_eq!((query.last, query.step), (Some(Duration::from_secs(900)), Some(Duration::from_secs(60))));
        assert_eq!((query.by, query.format), (vec!["device".to_owned()], ResultFormat::Json));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "catchment query x --aggregator https://c:1 --identity i --last 1m --from now-1h",
            "catchment query x --aggregator https://c:1 --identity i --to now",
            "catchment query x --aggregator https://c:1 --identity i --step 0s",
            "catchment send --gateway host --identity i",
            "catchment send --gateway ::1:7600 --identity i",
            "catchment load --gateway h:1 --identities i --devices 0 --rate 1 --duration 1s",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
