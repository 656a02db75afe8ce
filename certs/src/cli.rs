//! Command-line arguments and exit status of the program `catchment-certs`.
//!
//! clap checks the syntax (status 2); `run` calls the library (status 1 on failure). Results go to standard output,
//! errors and notes to standard error, one line each.

mod root;
mod run;
mod secret;
mod site;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use catchment_proto::id::Name;
use catchment_settings::{generated::GeneratedCommand, output};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    Role, Serial, TrustDomain,
    authority::{CRL_DAYS, DAYS_MAX, Host, KeyKind, ROOT_DAYS},
};
use secret::{NewSecret, Secret};

const EXAMPLES: &str = "Examples:
  catchment-certs init --dir PKI --trust-domain example.org --encrypt
  catchment-certs site add --dir PKI --site berlin
  catchment-certs issue aggregator --dir PKI --name centre --host centre.example.org
  catchment-certs issue gateway --dir PKI --site berlin --name gw-1 --host gw-1.example.org 10.0.0.5
  catchment-certs issue device --dir PKI --site berlin --name press-17
  catchment-certs issue device --dir PKI --from devices.csv
  catchment-certs issue operator --dir PKI --name ada
  catchment-certs list --dir PKI --expiring 30d
  catchment-certs revoke --dir PKI --role device --site berlin --name press-17
  catchment-certs export PKI/operator/ada --pkcs12 ada.p12";

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
    #[command(after_help = "Examples:\n  catchment-certs init --dir PKI --trust-domain example.org\n  \
        catchment-certs init --dir PKI --trust-domain example.org --key p384 --encrypt --passphrase-file root.txt")]
    Init(Init),
    /// Issuing certificates of sites: a site issues for itself, and for no other.
    #[command(subcommand)]
    Site(site::Site),
    /// Issue an identity: a key and its certificate.
    #[command(subcommand)]
    Issue(Issue),
    /// Issue a certificate from a signing request; the private key stays where it is.
    #[command(
        after_help = "Only the public key of the request is used; the options name the identity.\n\nExample, \
        first on the device, then where the root is:\n  openssl req -new -newkey ec -pkeyopt \
        ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=press-17 -out press-17.csr\n  \
        catchment-certs sign --dir PKI --csr press-17.csr --role device --site berlin --name press-17 --out press-17"
    )]
    Sign(Sign),
    /// Issue a new certificate for an identity's key and hosts; the old one stays valid until its end.
    #[command(after_help = "Examples:\n  catchment-certs renew --dir PKI --site berlin --name press-17\n  \
        catchment-certs renew --dir PKI --role aggregator --name centre")]
    Renew(Renew),
    /// Revoke one certificate, or all of an identity, and write a new PKI/crl.pem.
    #[command(
        after_help = "Servers refuse revoked certificates once they have the new crl.pem. The root revokes any serial number; \
        with --site, a site revokes what it issued.\n\nExamples:\n  \
        catchment-certs revoke --dir PKI --role device --site berlin --name press-17\n  \
        catchment-certs revoke --dir PKI --serial 5f3a0c…\n  \
        catchment-certs revoke --dir PKI --issuer --site berlin"
    )]
    Revoke(Revoke),
    /// Write a new PKI/crl.pem, to extend its validity, or take in lists from elsewhere.
    #[command(
        after_help = "Examples:\n  catchment-certs crl --dir PKI\n  catchment-certs crl --dir PKI --site berlin\n  \
        catchment-certs crl --dir PKI --add from-berlin/crl.pem"
    )]
    Crl(Crl),
    /// List the certificates in the ledger.
    #[command(after_help = "Examples:\n  catchment-certs list --dir PKI\n  \
        catchment-certs list --dir PKI --expiring 30d --format json")]
    List(List),
    /// Show the contents of a certificate, signing request or revocation list.
    #[command(after_help = "Example:\n  catchment-certs inspect PKI/site/berlin/device/press-17/cert.pem")]
    Inspect {
        /// PEM file or identity folder.
        file: PathBuf,
    },
    /// Export an identity as PKCS#12, for browsers and Windows.
    #[command(after_help = "Example:\n  catchment-certs export PKI/operator/ada --pkcs12 ada.p12")]
    Export(root::Export),
    /// Encrypt the key of a root or of a site that is stored in plain text.
    #[command(after_help = "Example:\n  catchment-certs encrypt-key --dir PKI --passphrase-file root.txt")]
    EncryptKey(root::EncryptKey),
    /// Change the root while everything runs: prepare, switch, retire.
    #[command(subcommand)]
    Root(root::Root),
    /// The roots in every ca.pem.
    #[command(subcommand)]
    Anchors(root::Anchors),
    #[command(flatten)]
    Generated(GeneratedCommand),
}

#[derive(Debug, Args)]
struct Pki {
    /// Folder of the trust root, or of a site's authority.
    #[arg(long, value_name = "PKI")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    pki: Pki,
    /// Trust domain, part of every certificate.
    #[arg(long, default_value = "catchment.local")]
    trust_domain: TrustDomain,
    /// Validity of the root in days.
    #[arg(long, value_name = "N", default_value_t = ROOT_DAYS, value_parser = days())]
    days: u32,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    secret: Secret,
    #[command(flatten)]
    new: NewSecret,
}

/// The kind of a new key.
#[derive(Debug, Args)]
struct NewKey {
    /// Kind of the key: p256, p384 or rsa3072.
    #[arg(id = "key", long = "key", value_name = "KIND", default_value_t)]
    kind: KeyKind,
}

#[derive(Debug, Subcommand)]
enum Issue {
    /// Issue one device, or all devices in a CSV file.
    #[command(
        after_help = "The CSV file has the header line `site,name`. Devices that have an identity are \
        skipped, so the same command resumes an interrupted run.\n\nExamples:\n  catchment-certs issue device \
        --dir PKI --site berlin --name press-17\n  catchment-certs issue device --dir PKI --from devices.csv"
    )]
    Device(IssueDevice),
    /// Issue a gateway: server of its site's devices, client of an aggregator.
    #[command(after_help = "Example:\n  catchment-certs issue gateway --dir PKI --site berlin --name gw-1 \
        --host gw-1.example.org 10.0.0.5")]
    Gateway(IssueGateway),
    /// Issue an aggregator.
    #[command(after_help = "Example:\n  catchment-certs issue aggregator --dir PKI --name centre \
        --host centre.example.org")]
    Aggregator(IssueAggregator),
    /// Issue an operator: a person or program that may query.
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
    /// Folder of the identity [default: its folder below PKI].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
struct IssueDevice {
    /// Site of the device.
    #[arg(long, required_unless_present = "from")]
    site: Option<Name>,
    /// Name of the device.
    #[arg(long, required_unless_present = "from")]
    name: Option<Name>,
    /// CSV file with the header `site,name`, one device per line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["site", "name", "out", "key"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct IssueGateway {
    /// Site of the gateway.
    #[arg(long)]
    site: Name,
    /// Name of the gateway.
    #[arg(long)]
    name: Name,
    /// DNS names or IP addresses that devices connect to.
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct IssueAggregator {
    /// Name of the aggregator.
    #[arg(long)]
    name: Name,
    /// DNS names or IP addresses that gateways and operators connect to.
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct IssueOperator {
    /// Name of the operator.
    #[arg(long)]
    name: Name,
    #[command(flatten)]
    key: NewKey,
    #[command(flatten)]
    output: Output,
}

/// Names an identity together with its role.
#[derive(Debug, Args)]
struct Who {
    /// Site of the identity, for devices and gateways.
    #[arg(long)]
    site: Option<Name>,
    /// Name of the identity.
    #[arg(long)]
    name: Name,
}

#[derive(Debug, Args)]
struct Sign {
    /// Signing request (PKCS#10, PEM or DER).
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// Role of the identity.
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
    /// Role of the identity.
    #[arg(long, default_value = "device")]
    role: Role,
    #[command(flatten)]
    who: Who,
    /// New DNS names or IP addresses, for gateways and aggregators [default: those of the old certificate].
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<Host>,
    /// Make a new key of this kind: p256, p384 or rsa3072 [default: keep the key].
    #[arg(long, value_name = "KIND")]
    key: Option<KeyKind>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Revoke {
    #[command(flatten)]
    pki: Pki,
    /// Serial number in hexadecimal digits, as shown by `list` and `inspect`.
    #[arg(long, value_name = "HEX", required_unless_present_any = ["role", "issuer"], conflicts_with_all = ["role", "name"])]
    serial: Option<Serial>,
    /// Also revoke a serial number that no ledger has.
    #[arg(long, requires = "serial")]
    unknown: bool,
    /// Role of the identity whose certificates are revoked.
    #[arg(long, requires = "name")]
    role: Option<Role>,
    /// Site of the identity, for devices and gateways; with --serial, the site whose list revokes it.
    #[arg(long)]
    site: Option<Name>,
    /// Name of the identity.
    #[arg(long, requires = "role")]
    name: Option<Name>,
    /// Revoke the issuing certificates of --site, and so all that they issued.
    #[arg(long, requires = "site", conflicts_with_all = ["serial", "role", "name"])]
    issuer: bool,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
struct Crl {
    #[command(flatten)]
    pki: Pki,
    /// Site whose list is written, by its own authority.
    #[arg(long)]
    site: Option<Name>,
    /// Validity of the list in days.
    #[arg(long, value_name = "N", default_value_t = CRL_DAYS, value_parser = days())]
    days: u32,
    /// Take in the lists of this file, such as the crl.pem of a site; needs no key.
    #[arg(long, value_name = "FILE", conflicts_with = "days")]
    add: Option<PathBuf>,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    pki: Pki,
    /// Only certificates of this site.
    #[arg(long)]
    site: Option<Name>,
    /// Only certificates that expire within this time, such as `30d`, and have no successor.
    #[arg(long, value_name = "DURATION", value_parser = catchment_settings::parse_duration)]
    expiring: Option<Duration>,
    /// Output format.
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
    // No flag has an environment variable; `secret` reads those of the passphrase.
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
