//! Runs each command of `catchment-certs`.

use std::path::Path;

use catchment_proto::id::Name;
use catchment_settings::output;
use clap::CommandFactory as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Cli, Command, Crl, Format, Init, Issue, IssueDevice, List, Output, Renew, Revoke, Sign};
use crate::{
    Identity, Role,
    authority::{
        self, Authority, AuthorityError, Host, IssueRequest, IssuedPaths, RevokeReport, RevokeWhat, inspect,
        lifetime_of_days, list_json, list_table, read_rows,
    },
};

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments do not fit together.
    Usage(String),
    /// The work failed.
    Failed(String),
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::NoHost(_) | AuthorityError::Hosts(_) | AuthorityError::Days { .. } => {
                Self::Usage(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Prints a note to standard error.
fn note(text: String) {
    output::eprint_line(format_args!("note: {text}"));
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Generated(command) => {
            command.run(Cli::command()).map(drop).map_err(|error| Failure::Failed(format!("{error:#}")))
        }
        Command::Init(arguments) => init(&arguments),
        Command::Issue(Issue::Device(arguments)) => issue_device(arguments),
        Command::Issue(Issue::Gateway(arguments)) => {
            let identity = identity(Role::Gateway, Some(arguments.site), arguments.name)?;
            issue(identity, arguments.hosts, arguments.output)
        }
        Command::Issue(Issue::Aggregator(arguments)) => {
            let identity = identity(Role::Aggregator, None, arguments.name)?;
            issue(identity, arguments.hosts, arguments.output)
        }
        Command::Issue(Issue::Operator(arguments)) => {
            issue(identity(Role::Operator, None, arguments.name)?, Vec::new(), arguments.output)
        }
        Command::Sign(arguments) => sign(arguments),
        Command::Renew(arguments) => renew(arguments),
        Command::Revoke(arguments) => revoke(arguments),
        Command::Crl(arguments) => crl(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Inspect { file } => print(inspect(&file)?.trim_end()),
    }
}

fn init(Init { pki, trust_domain, days }: &Init) -> Result<(), Failure> {
    let authority = Authority::init(&pki.dir, trust_domain, *days)?;
    print(&format!(
        "made the trust root of {trust_domain} in {}, valid until {}; keep {} secret",
        pki.dir.display(),
        authority.root_end(),
        pki.dir.join("ca.key").display(),
    ))
}

fn issue_device(IssueDevice { output, site, name, from }: IssueDevice) -> Result<(), Failure> {
    match (from, site, name) {
        (Some(file), _, _) => issue_from(&file, &output),
        (None, Some(site), Some(name)) => {
            issue(identity(Role::Device, Some(site), name)?, Vec::new(), output)
        }
        _ => Err(Failure::Usage("give --site and --name, or --from FILE".to_owned())),
    }
}

fn issue(identity: Identity, hosts: Vec<Host>, output: Output) -> Result<(), Failure> {
    let authority = Authority::open(&output.pki.dir)?;
    let request = request(identity, hosts, output)?;
    let issued = authority.issue(&request, &mut note)?;
    print_issued("issued", &request.identity, &issued)
}

fn issue_from(file: &Path, output: &Output) -> Result<(), Failure> {
    let authority = Authority::open(&output.pki.dir)?;
    let devices = read_rows(file)?;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    // Hidden if standard error is not a terminal.
    let bar = ProgressBar::new(devices.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} devices, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let result =
        authority.issue_devices(&devices, lifetime, &mut |done| bar.set_position(done), &mut |text| {
            bar.suspend(|| note(text));
        });
    bar.finish_and_clear();
    let report = result?;
    print(&format!("issued {} devices, skipped {} that had an identity", report.issued, report.skipped))
}

fn sign(Sign { output, csr, role, who, hosts }: Sign) -> Result<(), Failure> {
    let authority = Authority::open(&output.pki.dir)?;
    let request = request(identity(role, who.site, who.name)?, hosts, output)?;
    let issued = authority.sign(&csr, &request, &mut note)?;
    print_issued("signed", &request.identity, &issued)
}

fn renew(Renew { output, role, who, hosts }: Renew) -> Result<(), Failure> {
    let identity = identity(role, who.site, who.name)?;
    let authority = Authority::open(&output.pki.dir)?;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let issued = authority.renew(&identity, output.out, &hosts, lifetime, &mut note)?;
    print_issued("renewed", &identity, &issued)
}

fn revoke(Revoke { pki, serial, role, site, name }: Revoke) -> Result<(), Failure> {
    let what = match (serial, role, name) {
        (Some(serial), None, None) => RevokeWhat::Serial(serial),
        (None, Some(role), Some(name)) => RevokeWhat::Identity(identity(role, site, name)?),
        _ => return Err(Failure::Usage("give --serial, or --role and --name".to_owned())),
    };
    let authority = Authority::open(&pki.dir)?;
    let report = authority.revoke(&what, &mut note)?;
    for serial in &report.revoked {
        print(&format!("revoked {serial}"))?;
    }
    for serial in &report.already {
        print(&format!("{serial} was already revoked"))?;
    }
    print_crl(&pki.dir, &report)
}

fn crl(Crl { pki, days }: &Crl) -> Result<(), Failure> {
    let report = Authority::open(&pki.dir)?.refresh_crl(*days, &mut note)?;
    print_crl(&pki.dir, &report)
}

fn list(List { pki, expiring, format }: &List) -> Result<(), Failure> {
    let rows = authority::list(&pki.dir, *expiring, &mut note)?;
    match format {
        Format::Table => print(&list_table(&rows)),
        Format::Json => print(&list_json(&rows).map_err(|error| Failure::Failed(error.to_string()))?),
    }
}

fn request(identity: Identity, hosts: Vec<Host>, output: Output) -> Result<IssueRequest, Failure> {
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    Ok(IssueRequest { hosts, lifetime, out: output.out, ..IssueRequest::new(identity) })
}

fn identity(role: Role, site: Option<Name>, name: Name) -> Result<Identity, Failure> {
    let whose = role.with_article();
    let missing = if role.has_site() {
        format!("{whose} belongs to a site: give --site")
    } else {
        format!("{whose} belongs to no site: leave --site out")
    };
    Identity::from_parts(role, site, name).ok_or(Failure::Usage(missing))
}

fn print_issued(verb: &str, identity: &Identity, issued: &IssuedPaths) -> Result<(), Failure> {
    let IssuedPaths { dir, serial, not_after } = issued;
    print(&format!("{verb} {identity} in {}, serial {serial}, valid until {not_after}", dir.display()))
}

fn print_crl(dir: &Path, report: &RevokeReport) -> Result<(), Failure> {
    print(&format!(
        "wrote {} (number {}, {} revoked) and {} copies below {}; copy it to the other servers too",
        dir.join("crl.pem").display(),
        report.crl_number,
        report.listed,
        report.copies,
        dir.display(),
    ))
}

/// Prints a result. A closed pipe (`| head`) is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    output::print(format_args!("{text}\n"))?;
    Ok(())
}
