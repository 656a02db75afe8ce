//! `catchment-certs revoke` and `crl`.

use std::path::PathBuf;

use catchment_proto::id::Name;
use clap::Args;

use super::{
    Pki, days, many, report,
    run::{Failure, identity, note},
    secret::Secret,
};
use crate::{
    Role, Serial,
    authority::{
        Authority, AuthorityError, CRL_DAYS, RevocationReason, RevokeWhat, add_lists, authority_dir,
        by_holder, read_revocations, renew_lists,
    },
};

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    pki: Pki,
    /// Serial numbers in hexadecimal digits, as shown by `list` and `inspect`.
    #[arg(
        long, value_name = "HEX", num_args = 1.., required_unless_present_any = ["role", "issuer", "from"],
        conflicts_with_all = ["role", "name"]
    )]
    serial: Vec<Serial>,
    /// Also revoke serial numbers that no ledger has.
    #[arg(long, requires = "serial")]
    unknown: bool,
    /// Role of the identities whose certificates are revoked.
    #[arg(long, requires = "name")]
    role: Option<Role>,
    /// Site of the identities, for devices and gateways; with serial numbers, the site whose list revokes them.
    #[arg(long)]
    site: Option<Name>,
    /// Names of the identities.
    #[arg(long, requires = "role", num_args = 1..)]
    name: Vec<Name>,
    /// Revoke the issuing certificates of --site, and so all that they issued.
    #[arg(long, requires = "site", conflicts_with_all = ["serial", "role", "name"])]
    issuer: bool,
    /// CSV file with the header `serial`, `site,name` (devices) or `role,site,name`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["serial", "role", "name", "issuer"])]
    from: Option<PathBuf>,
    /// Reason in the list: keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation,
    /// privilegeWithdrawn. The key of a certificate that was only superseded may be certified again.
    #[arg(long, default_value_t = RevocationReason::Unspecified)]
    reason: RevocationReason,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
pub(super) struct Crl {
    #[command(flatten)]
    pki: Pki,
    /// Only the list of this site, by its own authority.
    #[arg(long)]
    site: Option<Name>,
    /// Validity of the lists in days.
    #[arg(long, value_name = "N", default_value_t = CRL_DAYS, value_parser = days())]
    days: u32,
    /// Take in the lists of this file, such as the crl.pem of a site. Of an issuer whose key is here, the names go into
    /// its ledger and into a new list; other lists need no key.
    #[arg(long, value_name = "FILE", conflicts_with = "days")]
    add: Option<PathBuf>,
    /// Also take a list that lacks names of the present one, unless they are certificates that a ledger here has and that
    /// have not expired.
    #[arg(long, requires = "add")]
    force: bool,
    #[command(flatten)]
    secret: Secret,
}

/// What the arguments name.
fn named(arguments: Revoke) -> Result<Vec<RevokeWhat>, Failure> {
    let Revoke { serial, unknown, role, site, name, issuer, from, .. } = arguments;
    match (from, role, site) {
        (Some(file), _, _) => Ok(read_revocations(&file)?),
        (None, Some(role), site) => name
            .into_iter()
            .map(|name| Ok(RevokeWhat::Identity(identity(role, site.clone(), name)?)))
            .collect(),
        (None, None, Some(site)) if issuer => Ok(vec![RevokeWhat::Issuer(site)]),
        (None, None, _) if unknown => Ok(serial.into_iter().map(RevokeWhat::Unknown).collect()),
        (None, None, _) => Ok(serial.into_iter().map(RevokeWhat::Serial).collect()),
    }
}

pub(super) fn run(arguments: Revoke) -> Result<(), Failure> {
    let (dir, format, site) = (arguments.pki.dir.clone(), arguments.pki.format, arguments.site.clone());
    let (reason, issuer, secret) = (arguments.reason, arguments.issuer, arguments.secret.clone());
    let what = named(arguments)?;
    let count = what.len();
    let groups = many::open(by_holder(&dir, what, site.as_ref()), &secret)?;
    let (mut reports, mut unknown) = (Vec::new(), Vec::new());
    let result = groups.into_iter().try_for_each(|(authority, what)| {
        if issuer {
            authority.check_root("revoking an issuing certificate")?;
        }
        let report = authority.revoke_all(&what, Some(reason), &mut note)?;
        unknown.extend(report.unknown.iter().map(|what| authority.unknown(what).to_string()));
        reports.push((authority.dir().to_owned(), report));
        Ok::<_, AuthorityError>(())
    });
    // What was done before an error is reported.
    if result.is_ok() || !reports.is_empty() {
        report::revoked(format, &reports)?;
    }
    result?;
    many::failed(unknown, "not in the ledger", count)
}

pub(super) fn crl(Crl { pki, site, days, add, force, secret }: &Crl) -> Result<(), Failure> {
    let dir = authority_dir(&pki.dir, site.as_ref());
    let mut passphrases = secret.passphrases();
    if let Some(file) = add {
        let added = add_lists(&dir, file, *force, &mut passphrases, &mut note)?;
        report::lists_added(pki.format, &dir, &added)?;
        let count = added.added + added.known + added.refused.len();
        return many::failed(added.refused, "lists left out", count);
    }
    if site.is_some() {
        let authority = Authority::open_with(&dir, &mut passphrases)?;
        return report::list_written(pki.format, &dir, &authority.refresh_crl(*days, &mut note)?);
    }
    let renewed = renew_lists(&dir, *days, &mut passphrases, &mut note)?;
    report::lists_renewed(pki.format, &renewed)?;
    renewed.error.map_or(Ok(()), |error| Err(error.into()))
}
