//! The arguments of the program `catchment-certs`, and its exit status.
//!
//! clap checks the form (status 2), `run` calls the library (status 1 when it fails). Results go to standard
//! output; errors and notes to standard error, one line each.

mod run;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use catchment_proto::id::Name;
use catchment_settings::output;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    Role, Serial, TrustDomain,
    authority::{CRL_DAYS, DAYS_MAX, Host, ROOT_DAYS},
};

const EXAMPLES: &str = "Examples:
  catchment-certs init --dir PKI --trust-domain example.org
  catchment-certs issue aggregator --dir PKI --name centre --host centre.example.org
  catchment-certs issue gateway --dir PKI --site berlin --name gw-1 --host gw-1.example.org 10.0.0.5
  catchment-certs issue device --dir PKI --site berlin --name press-17
  catchment-certs issue device --dir PKI --from devices.csv
  catchment-certs issue operator --dir PKI --name ada
  catchment-certs list --dir PKI --expiring 30d
  catchment-certs revoke --dir PKI --role device --site berlin --name press-17";

/// Catchment's certificate authority: makes the trust root, issues, signs, renews, revokes, lists.
#[derive(Debug, Parser)]
#[command(name = "catchment-certs", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new trust root in a folder that has none.
    #[command(after_help = "Example:\n  catchment-certs init --dir PKI --trust-domain example.org")]
    Init(Init),
    /// Make an identity: a key, and a certificate for it.
    #[command(subcommand)]
    Issue(Issue),
    /// Make a certificate for a key that stays where it is, from a signing request.
    #[command(
        after_help = "Only the public key of the request is used; who it is for is said here.\n\nExample, \
        on the device and then beside the root:\n  openssl req -new -newkey ec -pkeyopt \
        ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=press-17 -out press-17.csr\n  \
        catchment-certs sign --dir PKI --csr press-17.csr --role device --site berlin --name press-17 --out press-17"
    )]
    Sign(Sign),
    /// Make a new certificate for the key and hosts of an identity; the old one stays valid until its end.
    #[command(after_help = "Examples:\n  catchment-certs renew --dir PKI --site berlin --name press-17\n  \
        catchment-certs renew --dir PKI --role aggregator --name centre")]
    Renew(Renew),
    /// Revoke one certificate, or all of an identity, and rewrite PKI/crl.pem.
    #[command(
        after_help = "Servers refuse revoked certificates once they have the new crl.pem.\n\nExamples:\n  \
        catchment-certs revoke --dir PKI --role device --site berlin --name press-17\n  \
        catchment-certs revoke --dir PKI --serial 5f3a0c…"
    )]
    Revoke(Revoke),
    /// Rewrite PKI/crl.pem, current from now on.
    Crl(Crl),
    /// Show the certificates of the ledger.
    #[command(after_help = "Examples:\n  catchment-certs list --dir PKI\n  \
        catchment-certs list --dir PKI --expiring 30d --format json")]
    List(List),
    /// Show what stands in a certificate, signing request or revocation list.
    #[command(after_help = "Example:\n  catchment-certs inspect PKI/site/berlin/device/press-17/cert.pem")]
    Inspect {
        /// A PEM file, or an identity's folder.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Pki {
    /// The folder of the trust root.
    #[arg(long, value_name = "PKI")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    pki: Pki,
    /// Name of the realm, which stands in every certificate.
    #[arg(long, default_value = "catchment.local")]
    trust_domain: TrustDomain,
    /// Validity of the root in days.
    #[arg(long, value_name = "N", default_value_t = ROOT_DAYS, value_parser = days())]
    days: u32,
}

#[derive(Debug, Subcommand)]
enum Issue {
    /// One device, or all devices of a CSV file.
    #[command(
        after_help = "The CSV file has the header line `site,name`. Devices that have an identity are \
        skipped, so an interrupted run goes on with the same command.\n\nExamples:\n  catchment-certs issue device \
        --dir PKI --site berlin --name press-17\n  catchment-certs issue device --dir PKI --from devices.csv"
    )]
    Device(IssueDevice),
    /// A gateway: server of its site's devices, client of an aggregator.
    #[command(after_help = "Example:\n  catchment-certs issue gateway --dir PKI --site berlin --name gw-1 \
        --host gw-1.example.org 10.0.0.5")]
    Gateway(IssueGateway),
    /// An aggregator.
    #[command(after_help = "Example:\n  catchment-certs issue aggregator --dir PKI --name centre \
        --host centre.example.org")]
    Aggregator(IssueAggregator),
    /// A person or program that may query.
    #[command(after_help = "Example:\n  catchment-certs issue operator --dir PKI --name ada")]
    Operator(IssueOperator),
}

#[derive(Debug, Args)]
struct Output {
    #[command(flatten)]
    pki: Pki,
    /// Validity in days [default: 365, for operators 90].
    #[arg(long, value_name = "N", value_parser = days())]
    days: Option<u32>,
    /// The identity's folder [default: its place below PKI].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct IssueDevice {
    /// The device's site.
    #[arg(long, required_unless_present = "from")]
    site: Option<Name>,
    /// The device's name.
    #[arg(long, required_unless_present = "from")]
    name: Option<Name>,
    /// A CSV file with the header `site,name`, one device a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["site", "name", "out"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct IssueGateway {
    /// The gateway's site.
    #[arg(long)]
    site: Name,
    /// The gateway's name.
    #[arg(long)]
    name: Name,
    /// DNS names or IP addresses that devices connect to.
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct IssueAggregator {
    /// The aggregator's name.
    #[arg(long)]
    name: Name,
    /// DNS names or IP addresses that gateways and operators connect to.
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct IssueOperator {
    /// The operator's name.
    #[arg(long)]
    name: Name,
    #[command(flatten)]
    output: Output,
}

/// Names an identity together with its role.
#[derive(Debug, Args)]
struct Who {
    /// The site, for devices and gateways.
    #[arg(long)]
    site: Option<Name>,
    /// The name.
    #[arg(long)]
    name: Name,
}

#[derive(Debug, Args)]
struct Sign {
    /// The signing request (PKCS#10, PEM or DER).
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The role that the certificate gives.
    #[arg(long)]
    role: Role,
    #[command(flatten)]
    who: Who,
    /// DNS names or IP addresses, for gateways and aggregators.
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Renew {
    /// The identity's role.
    #[arg(long, default_value = "device")]
    role: Role,
    #[command(flatten)]
    who: Who,
    /// New DNS names or IP addresses, for gateways and aggregators [default: those of the old certificate].
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Revoke {
    #[command(flatten)]
    pki: Pki,
    /// Serial number in hexadecimal digits, as `list` and `inspect` show it.
    #[arg(long, value_name = "HEX", required_unless_present = "role", conflicts_with_all = ["role", "site", "name"])]
    serial: Option<Serial>,
    /// Role of the identity whose certificates are revoked.
    #[arg(long, requires = "name")]
    role: Option<Role>,
    /// Its site, for devices and gateways.
    #[arg(long, requires = "role")]
    site: Option<Name>,
    /// Its name.
    #[arg(long, requires = "role")]
    name: Option<Name>,
}

#[derive(Debug, Args)]
struct Crl {
    #[command(flatten)]
    pki: Pki,
    /// Days until the list should be renewed again.
    #[arg(long, value_name = "N", default_value_t = CRL_DAYS, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    pki: Pki,
    /// Only certificates that end within this time and have no successor, such as `30d`.
    #[arg(long, value_name = "TIME", value_parser = catchment_settings::parse_duration)]
    expiring: Option<Duration>,
    /// How to show them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX))
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    // No variables are this program's own.
    let cli = match catchment_settings::parse::<Cli>(None) {
        Ok((cli, _)) => cli,
        Err(error) => return catchment_settings::exit::report(&error),
    };
    let say = |message: &str| {
        output::eprint_line(format_args!("error: {}", catchment_settings::text::one_line(message)));
    };
    match run::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(run::Failure::Usage(message)) => {
            say(&message);
            ExitCode::from(2)
        }
        Err(run::Failure::Failed(message)) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
