//! Command-line arguments and exit status of the program `catchment-certs`.
//!
//! clap checks the syntax (status 2); `run` calls the library (status 1 on failure). Results go to standard output,
//! errors and notes to standard error, one line each. `run` holds the commands for one identity, `issue`, `revoke`, `site`
//! and `root` theirs, `many` those for many identities; `secret` finds passphrases, `report` prints results as text or JSON.

mod issue;
mod many;
mod report;
mod revoke;
mod root;
mod run;
mod secret;
mod site;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use catchment_proto::id::Name;
use catchment_settings::{generated::GeneratedCommand, output};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    Role, TrustDomain,
    authority::{DAYS_MAX, Host, KeyKind, ROOT_DAYS},
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
  catchment-certs renew --dir PKI --all --expiring 30d
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
    Issue(issue::Issue),
    /// Issue a certificate from a signing request; the private key stays where it is.
    #[command(
        after_help = "Only the public key of the request is used; the options name the identity.\n\nExample, \
        first on the device, then where the root is:\n  openssl req -new -newkey ec -pkeyopt \
        ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=press-17 -out press-17.csr\n  \
        catchment-certs sign --dir PKI --csr press-17.csr --role device --site berlin --name press-17 --out press-17\n\n\
        Many at once; the name of each file is the name of its device:\n  \
        catchment-certs sign --dir PKI --csr-dir requests --site berlin\n  \
        catchment-certs sign --dir PKI --from requests.csv   (header `csr,site,name`)\n\n\
        Requests that are refused are listed and make the exit status 1; the others are signed. The same command \
        continues an interrupted run. A key is refused if a certificate of it was revoked, or if it belongs to another \
        identity."
    )]
    Sign(Sign),
    /// Issue a new certificate for an identity's key and hosts; the old one stays valid until its end.
    #[command(after_help = "Examples:\n  catchment-certs renew --dir PKI --site berlin --name press-17\n  \
        catchment-certs renew --dir PKI --role aggregator --name centre\n  \
        catchment-certs renew --dir PKI --all --expiring 30d\n\n--all renews the identities whose folder is below PKI.")]
    Renew(Renew),
    /// Revoke certificates, or all of an identity, and write a new PKI/crl.pem.
    #[command(
        after_help = "Servers refuse revoked certificates once they have the new crl.pem. The root revokes any serial number; \
        with --site, a site revokes what it issued.\n\nExamples:\n  \
        catchment-certs revoke --dir PKI --role device --site berlin --name press-17 press-18\n  \
        catchment-certs revoke --dir PKI --serial 5f3a0c… --reason keyCompromise\n  \
        catchment-certs revoke --dir PKI --from stolen.csv   (header `serial`, `site,name` or `role,site,name`)\n  \
        catchment-certs revoke --dir PKI --issuer --site berlin"
    )]
    Revoke(revoke::Revoke),
    /// Write new lists of all authorities whose key is below PKI, to extend their validity, or take in lists from elsewhere.
    #[command(
        after_help = "If one key is in two folders, each takes in the other's crl.pem with --add: its revocations go into \
        the ledger, and into a new list unless the newest one of that key has all of the ledger.\n\nExamples:\n  catchment-certs crl --dir PKI\n  catchment-certs crl --dir PKI --site berlin\n  \
        catchment-certs crl --dir PKI --add from-berlin/crl.pem"
    )]
    Crl(revoke::Crl),
    /// List the certificates in the ledger.
    #[command(after_help = "Examples:\n  catchment-certs list --dir PKI\n  \
        catchment-certs list --dir PKI --expiring 30d --format json")]
    List(List),
    /// Show the contents of a certificate, signing request or revocation list.
    #[command(after_help = "Examples:\n  catchment-certs inspect PKI/site/berlin/device/press-17\n  \
        catchment-certs inspect PKI/crl.pem --format json")]
    Inspect {
        /// File in PEM or DER, or identity folder.
        file: PathBuf,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
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
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
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
struct Sign {
    /// Signing request (PKCS#10, PEM or DER).
    #[arg(long, value_name = "FILE", requires = "role", requires = "name", required_unless_present_any = ["csr_dir", "from"])]
    csr: Option<PathBuf>,
    /// Folder of signing requests of devices; the name of each file before its extension is the device's name.
    #[arg(long, value_name = "DIR", requires = "site", conflicts_with_all = ["csr", "from", "name", "hosts", "out"])]
    csr_dir: Option<PathBuf>,
    /// CSV file with the header `csr,site,name`, one device per line; a column `days` is its validity.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["csr", "site", "name", "hosts", "out"])]
    from: Option<PathBuf>,
    /// Role of the identity.
    #[arg(long)]
    role: Option<Role>,
    /// Site of the identity, for devices and gateways.
    #[arg(long)]
    site: Option<Name>,
    /// Name of the identity.
    #[arg(long)]
    name: Option<Name>,
    /// DNS names or IP addresses, for gateways and aggregators.
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<Host>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Renew {
    /// Role of the identity [default: device; with --all, every role].
    #[arg(long)]
    role: Option<Role>,
    /// Site of the identity, for devices and gateways.
    #[arg(long)]
    site: Option<Name>,
    /// Name of the identity.
    #[arg(long, required_unless_present = "all")]
    name: Option<Name>,
    /// New DNS names or IP addresses, for gateways and aggregators [default: those of the old certificate].
    #[arg(long = "host", value_name = "HOST", num_args = 1..)]
    hosts: Vec<Host>,
    /// Renew every identity whose certificate expires soon; --role and --site select.
    #[arg(long, requires = "expiring", conflicts_with_all = ["name", "hosts", "out"])]
    all: bool,
    /// How soon, such as `30d`.
    #[arg(long, value_name = "DURATION", requires = "all", value_parser = catchment_settings::parse_duration)]
    expiring: Option<Duration>,
    /// Also those whose certificate has ended.
    #[arg(long, requires = "all")]
    ended: bool,
    /// Make new keys of this kind: p256, p384 or rsa3072 [default: keep the keys].
    #[arg(long, value_name = "KIND")]
    key: Option<KeyKind>,
    #[command(flatten)]
    output: Output,
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
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// For programs.
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
