//! Runs each command of `catchment-certs`.

use std::path::Path;

use catchment_proto::id::Name;
use catchment_settings::output;
use clap::CommandFactory as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Cli, Command, Crl, Format, Init, Issue, IssueDevice, List, NewKey, Output, Renew, Revoke, Sign, root,
    site,
};
use crate::{
    Identity, Role,
    authority::{
        self, Authority, AuthorityError, Host, InitOptions, IssueRequest, IssuedPaths, KeyKind, RevokeReport,
        RevokeWhat, add_lists, authority_dir, by_authority, holders, inspect, lifetime_of_days, list_json,
        list_table, read_rows,
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
        Command::Issue(Issue::Device(arguments)) => issue_device(arguments),
        Command::Issue(Issue::Gateway(arguments)) => {
            let identity = identity(Role::Gateway, Some(arguments.site), arguments.name)?;
            issue(identity, arguments.hosts, arguments.output, &arguments.key)
        }
        Command::Issue(Issue::Aggregator(arguments)) => {
            let identity = identity(Role::Aggregator, None, arguments.name)?;
            issue(identity, arguments.hosts, arguments.output, &arguments.key)
        }
        Command::Issue(Issue::Operator(arguments)) => {
            let identity = identity(Role::Operator, None, arguments.name)?;
            issue(identity, Vec::new(), arguments.output, &arguments.key)
        }
        Command::Sign(arguments) => sign(arguments),
        Command::Renew(arguments) => renew(arguments),
        Command::Revoke(arguments) => revoke(arguments),
        Command::Crl(arguments) => crl(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Inspect { file } => print(inspect(&file)?.trim_end()),
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
    print(&format!(
        "made the trust root of {trust_domain} in {}, valid until {}; keep {} secret{}",
        pki.dir.display(),
        authority.root_end(),
        pki.dir.join("ca.key").display(),
        if authority.is_encrypted() { ", and its passphrase too" } else { "" },
    ))
}

fn issue_device(IssueDevice { output, site, name, from, key }: IssueDevice) -> Result<(), Failure> {
    match (from, site, name) {
        (Some(file), _, _) => issue_from(&file, &output),
        (None, Some(site), Some(name)) => {
            issue(identity(Role::Device, Some(site), name)?, Vec::new(), output, &key)
        }
        _ => Err(Failure::Usage("give --site and --name, or --from FILE".to_owned())),
    }
}

/// Opens the authority that issues for an identity: that of its site, or the root.
fn open(output: &Output, identity: &Identity) -> Result<Authority, Failure> {
    let dir = authority_dir(&output.pki.dir, identity.site());
    let authority = Authority::open_with(&dir, &mut output.secret.passphrases())?;
    authority.check_site(identity)?;
    Ok(authority)
}

fn issue(identity: Identity, hosts: Vec<Host>, output: Output, key: &NewKey) -> Result<(), Failure> {
    let authority = open(&output, &identity)?;
    let request = request(identity, hosts, output, key.kind)?;
    let issued = authority.issue(&request, &mut note)?;
    print_issued("issued", &request.identity, &issued)
}

fn issue_from(file: &Path, output: &Output) -> Result<(), Failure> {
    let devices = read_rows(file)?;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let mut passphrases = output.secret.passphrases();
    let total = devices.len() as u64;
    let mut groups = Vec::new();
    for (dir, devices) in by_authority(&output.pki.dir, devices) {
        let authority = Authority::open_with(&dir, &mut passphrases)?;
        for device in &devices {
            authority.check_site(&Identity::Device(device.clone()))?;
        }
        groups.push((authority, devices));
    }
    // Hidden if standard error is not a terminal.
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} devices, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let (mut issued, mut skipped, mut result) = (0, 0, Ok(()));
    for (authority, devices) in groups {
        let before = issued + skipped;
        let report = authority.issue_devices(
            &devices,
            lifetime,
            &mut |done| bar.set_position(before + done),
            &mut |text| bar.suspend(|| note(text)),
        );
        match report {
            Ok(report) => (issued, skipped) = (issued + report.issued, skipped + report.skipped),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    bar.finish_and_clear();
    result?;
    print(&format!("issued {issued} devices, skipped {skipped} that had an identity"))
}

fn sign(Sign { output, csr, role, who, hosts }: Sign) -> Result<(), Failure> {
    let identity = identity(role, who.site, who.name)?;
    let authority = open(&output, &identity)?;
    let request = request(identity, hosts, output, KeyKind::default())?;
    let issued = authority.sign(&csr, &request, &mut note)?;
    print_issued("signed", &request.identity, &issued)
}

fn renew(Renew { output, role, who, hosts, key }: Renew) -> Result<(), Failure> {
    let identity = identity(role, who.site, who.name)?;
    let authority = open(&output, &identity)?;
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    let issued = authority.renew_with(&identity, output.out, &hosts, lifetime, key, &mut note)?;
    print_issued("renewed", &identity, &issued)
}

fn revoke(arguments: Revoke) -> Result<(), Failure> {
    let Revoke { pki, serial, unknown, role, site, name, issuer, secret } = arguments;
    let (what, dirs) = match (serial, role, name, site) {
        (Some(serial), None, None, site) => {
            let what = if unknown { RevokeWhat::Unknown(serial) } else { RevokeWhat::Serial(serial) };
            (what, vec![authority_dir(&pki.dir, site.as_ref())])
        }
        (None, Some(role), Some(name), site) => {
            let identity = identity(role, site, name)?;
            let dirs = holders(&pki.dir, &identity);
            (RevokeWhat::Identity(identity), dirs)
        }
        (None, None, None, Some(site)) if issuer => (RevokeWhat::Issuer(site), vec![pki.dir.clone()]),
        _ => {
            return Err(Failure::Usage(
                "give --serial, --role and --name, or --issuer and --site".to_owned(),
            ));
        }
    };
    let mut passphrases = secret.passphrases();
    for dir in dirs {
        let authority = Authority::open_with(&dir, &mut passphrases)?;
        if issuer {
            authority.check_root("revoking an issuing certificate")?;
        }
        let report = authority.revoke(&what, &mut note)?;
        for serial in &report.revoked {
            print(&format!("revoked {serial}"))?;
        }
        for serial in &report.already {
            print(&format!("{serial} was already revoked"))?;
        }
        print_crl(&dir, &report)?;
    }
    Ok(())
}

fn crl(Crl { pki, site, days, add, secret }: &Crl) -> Result<(), Failure> {
    let dir = authority_dir(&pki.dir, site.as_ref());
    if let Some(file) = add {
        let report = add_lists(&dir, file, &mut note)?;
        return print(&format!(
            "took {} new lists into {} and {} copies; {} were known",
            report.added,
            dir.join("crl.pem").display(),
            report.copies,
            report.known
        ));
    }
    let authority = Authority::open_with(&dir, &mut secret.passphrases())?;
    print_crl(&dir, &authority.refresh_crl(*days, &mut note)?)
}

fn list(List { pki, site, expiring, format }: &List) -> Result<(), Failure> {
    let mut rows = authority::list(&pki.dir, *expiring, &mut note)?;
    if let Some(site) = site {
        rows.retain(|row| row.site.as_deref() == Some(site.as_str()));
    }
    match format {
        Format::Table => print(&list_table(&rows)),
        Format::Json => print(&list_json(&rows).map_err(|error| Failure::Failed(error.to_string()))?),
    }
}

fn request(
    identity: Identity,
    hosts: Vec<Host>,
    output: Output,
    key: KeyKind,
) -> Result<IssueRequest, Failure> {
    let lifetime = output.days.map(lifetime_of_days).transpose()?;
    Ok(IssueRequest { hosts, lifetime, out: output.out, key, ..IssueRequest::new(identity) })
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
pub(super) fn print(text: &str) -> Result<(), Failure> {
    output::print(format_args!("{text}\n"))?;
    Ok(())
}
