//! Runs each command of `catchment-certs`.

use std::path::Path;

use catchment_proto::id::Name;
use catchment_settings::output;
use clap::CommandFactory as _;

use super::{
    Cli, Command, Crl, Format, Init, Issue, IssueDevice, List, Output, Renew, Revoke, Sign, many, report,
};
use crate::{
    Identity, Role,
    authority::{
        self, Authority, AuthorityError, Host, IssueRequest, RenewRequest, RevokeWhat, inspect,
        lifetime_of_days, list_table, read_revocations,
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
pub(super) fn note(text: String) {
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
        Command::Inspect { file, format } => show(&file, format),
    }
}

fn init(Init { pki, trust_domain, days }: &Init) -> Result<(), Failure> {
    let authority = Authority::init(&pki.dir, trust_domain, *days)?;
    report::made_root(pki, &authority)
}

fn issue_device(arguments: IssueDevice) -> Result<(), Failure> {
    let IssueDevice { output, site, name, from, replace_missing } = arguments;
    match (from, site, name) {
        (Some(file), _, _) => many::issue(&file, replace_missing, &output),
        (None, Some(site), Some(name)) => {
            issue(identity(Role::Device, Some(site), name)?, Vec::new(), output)
        }
        _ => Err(Failure::Usage("give --site and --name, or --from FILE".to_owned())),
    }
}

fn issue(identity: Identity, hosts: Vec<Host>, output: Output) -> Result<(), Failure> {
    let format = output.pki.format;
    let authority = Authority::open(&output.pki.dir)?;
    let request = request(identity, hosts, output)?;
    let issued = authority.issue(&request, &mut note)?;
    report::made(format, "issued", &request.identity, &issued)
}

fn sign(arguments: Sign) -> Result<(), Failure> {
    let Sign { output, csr, csr_dir, from, role, site, name, hosts } = arguments;
    let (csr, role, name) = match (csr, role, name) {
        (Some(csr), Some(role), Some(name)) => (csr, role, name),
        (None, None | Some(Role::Device), None) => {
            return many::sign(csr_dir.as_deref().zip(site.as_ref()), from.as_deref(), &output);
        }
        _ => return Err(Failure::Usage("many requests at once are of devices; leave --role out".to_owned())),
    };
    let format = output.pki.format;
    let authority = Authority::open(&output.pki.dir)?;
    let request = request(identity(role, site, name)?, hosts, output)?;
    let issued = authority.sign(&csr, &request, &mut note)?;
    report::made(format, "signed", &request.identity, &issued)
}

fn renew(arguments: Renew) -> Result<(), Failure> {
    let Renew { output, role, site, name, hosts, all: _, expiring, ended } = arguments;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let name = match (name, expiring) {
        (Some(name), _) => name,
        (None, Some(expiring)) => {
            return many::renew(&RenewRequest { expiring, ended, role, site, lifetime }, &output.pki);
        }
        (None, None) => return Err(Failure::Usage("give --name, or --all and --expiring".to_owned())),
    };
    let identity = identity(role.unwrap_or(Role::Device), site, name)?;
    let authority = Authority::open(&output.pki.dir)?;
    let issued = authority.renew(&identity, output.out, &hosts, lifetime, &mut note)?;
    report::made(output.pki.format, "renewed", &identity, &issued)
}

fn revoke(Revoke { pki, serial, role, site, name, from, reason }: Revoke) -> Result<(), Failure> {
    let what: Vec<RevokeWhat> = match (from, role) {
        (Some(file), _) => read_revocations(&file)?,
        (None, Some(role)) => name
            .into_iter()
            .map(|name| Ok(RevokeWhat::Identity(identity(role, site.clone(), name)?)))
            .collect::<Result<_, Failure>>()?,
        (None, None) => serial.into_iter().map(RevokeWhat::Serial).collect(),
    };
    let authority = Authority::open(&pki.dir)?;
    let report = authority.revoke_all(&what, Some(reason), &mut note)?;
    report::revoked(&pki, &report)?;
    let unknown = report.unknown.iter().map(|what| authority.unknown(what).to_string()).collect();
    many::failed(unknown, "not in the ledger", what.len())
}

fn crl(Crl { pki, days }: &Crl) -> Result<(), Failure> {
    let report = Authority::open(&pki.dir)?.refresh_crl(*days, &mut note)?;
    report::list_written(pki, &report)
}

fn list(List { pki, expiring }: &List) -> Result<(), Failure> {
    let rows = authority::list(&pki.dir, *expiring, &mut note)?;
    match pki.format {
        Format::Text => report::print(&list_table(&rows)),
        Format::Json => report::json(&rows),
    }
}

fn show(file: &Path, format: Format) -> Result<(), Failure> {
    let inspection = inspect(file)?;
    match format {
        Format::Text => report::print(inspection.to_string().trim_end()),
        Format::Json => report::json(&inspection),
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
