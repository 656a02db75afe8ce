//! Runs each command of `catchment-certs`.

use std::path::Path;

use catchment_proto::id::Name;
use catchment_settings::output;
use clap::CommandFactory as _;

use super::{Cli, Command, Format, Init, List, Output, Renew, Sign, issue, many, report, revoke, root, site};
use crate::{
    Identity, Role,
    authority::{
        self, Authority, AuthorityError, Host, InitOptions, IssueRequest, KeyKind, RenewRequest,
        authority_dir, inspect, lifetime_of_days, list_table,
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
            AuthorityError::NoHost(_)
            | AuthorityError::Hosts(_)
            | AuthorityError::Days { .. }
            | AuthorityError::OtherSite { .. } => Self::Usage(error.to_string()),
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
        Command::Site(command) => site::run(command),
        Command::Root(command) => root::run(command),
        Command::Anchors(command) => root::anchors(&command),
        Command::EncryptKey(arguments) => root::encrypt(&arguments),
        Command::Export(arguments) => root::export(&arguments),
        Command::Issue(command) => issue::run(command),
        Command::Sign(arguments) => sign(arguments),
        Command::Renew(arguments) => renew(arguments),
        Command::Revoke(arguments) => revoke::run(arguments),
        Command::Crl(arguments) => revoke::crl(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Inspect { file, format } => show(&file, format),
    }
}

fn init(Init { pki, trust_domain, days, key, secret, new }: &Init) -> Result<(), Failure> {
    if secret.is_given() && !new.is_wanted() {
        return Err(Failure::Usage(
            "a passphrase is given, but the key would be plain: give --encrypt too".to_owned(),
        ));
    }
    let passphrase = new.passphrase(secret, "the root's key")?;
    let options = InitOptions { days: *days, key: key.kind, passphrase };
    let authority = Authority::init_with(&pki.dir, trust_domain, options)?;
    report::made_root(pki, &authority)
}

/// Opens the authority that issues for an identity: that of its site, or the root.
pub(super) fn open(output: &Output, identity: &Identity) -> Result<Authority, Failure> {
    let dir = authority_dir(&output.pki.dir, identity.site());
    let authority = Authority::open_with(&dir, &mut output.secret.passphrases())?;
    authority.check_site(identity)?;
    Ok(authority)
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
    let identity = identity(role, site, name)?;
    let authority = open(&output, &identity)?;
    let request = request(identity, hosts, output, KeyKind::default())?;
    let issued = authority.sign(&csr, &request, &mut note)?;
    report::made(format, "signed", &request.identity, &issued)
}

fn renew(arguments: Renew) -> Result<(), Failure> {
    let Renew { output, role, site, name, hosts, all: _, expiring, ended, key } = arguments;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let name = match (name, expiring) {
        (Some(name), _) => name,
        (None, Some(expiring)) => {
            return many::renew(&RenewRequest { expiring, ended, role, site, lifetime, key }, &output);
        }
        (None, None) => return Err(Failure::Usage("give --name, or --all and --expiring".to_owned())),
    };
    let identity = identity(role.unwrap_or(Role::Device), site, name)?;
    let authority = open(&output, &identity)?;
    let issued = authority.renew_with(&identity, output.out, &hosts, lifetime, key, &mut note)?;
    report::made(output.pki.format, "renewed", &identity, &issued)
}

fn list(List { pki, site, expiring }: &List) -> Result<(), Failure> {
    let mut rows = authority::list(&pki.dir, *expiring, &mut note)?;
    if let Some(site) = site {
        rows.retain(|row| row.site.as_deref() == Some(site.as_str()));
    }
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

pub(super) fn request(
    identity: Identity,
    hosts: Vec<Host>,
    output: Output,
    key: KeyKind,
) -> Result<IssueRequest, Failure> {
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    Ok(IssueRequest { hosts, lifetime, out: output.out, key, ..IssueRequest::new(identity) })
}

pub(super) fn identity(role: Role, site: Option<Name>, name: Name) -> Result<Identity, Failure> {
    let whose = role.with_article();
    let missing = if role.has_site() {
        format!("{whose} belongs to a site: give --site")
    } else {
        format!("{whose} belongs to no site: leave --site out")
    };
    Identity::from_parts(role, site, name).ok_or(Failure::Usage(missing))
}
