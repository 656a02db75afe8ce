//! Prints results, as text or as JSON. The names of the JSON fields are stable; docs/certificates.md lists them.

mod lists;

use std::path::{Path, PathBuf};

use catchment_proto::id::Name;
use catchment_settings::output;
use serde::Serialize;

pub(super) use lists::{list_written, lists_added, lists_renewed, revoked};

use super::{Format, Pki, run::Failure};
use crate::{
    Identity,
    authority::{
        AnchorsReport, Authority, BulkReport, IssuedPaths, NotRenewed, Refused, RenewReport, SignReport,
        SiteReport,
    },
    folder::CA_FILE,
};

/// An identity that was made.
#[derive(Serialize)]
struct Made<'a> {
    action: &'static str,
    role: &'static str,
    site: Option<&'a str>,
    name: &'a str,
    dir: &'a Path,
    serial: String,
    not_after: String,
}

impl<'a> Made<'a> {
    fn new(action: &'static str, identity: &'a Identity, paths: &'a IssuedPaths) -> Self {
        Self {
            action,
            role: identity.role().as_str(),
            site: identity.site().map(|site| site.as_str()),
            name: identity.name().as_str(),
            dir: &paths.dir,
            serial: paths.serial.to_string(),
            not_after: paths.not_after.to_string(),
        }
    }

    fn all(action: &'static str, made: &'a [(Identity, IssuedPaths)]) -> Vec<Self> {
        made.iter().map(|(identity, paths)| Self::new(action, identity, paths)).collect()
    }
}

/// A new root.
pub(super) fn made_root(pki: &Pki, authority: &Authority) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Root<'a> {
        action: &'static str,
        trust_domain: &'a str,
        dir: &'a Path,
        not_after: String,
        encrypted: bool,
    }
    let encrypted = authority.is_encrypted();
    let (domain, not_after) = (authority.trust_domain(), authority.root_end().to_string());
    match pki.format {
        Format::Text => print(&format!(
            "made the trust root of {domain} in {}, valid until {not_after}; keep {} secret{}",
            pki.dir.display(),
            pki.dir.join("ca.key").display(),
            if encrypted { ", and its passphrase too" } else { "" },
        )),
        Format::Json => {
            json(&Root { action: "init", trust_domain: domain.as_str(), dir: &pki.dir, not_after, encrypted })
        }
    }
}

/// One identity.
pub(super) fn made(
    format: Format,
    verb: &'static str,
    identity: &Identity,
    paths: &IssuedPaths,
) -> Result<(), Failure> {
    let IssuedPaths { dir, serial, not_after } = paths;
    match format {
        Format::Text => print(&format!(
            "{verb} {identity} in {}, serial {serial}, valid until {not_after}",
            dir.display()
        )),
        Format::Json => json(&Made::new(verb, identity, paths)),
    }
}

/// Devices issued from a file.
pub(super) fn issued(pki: &Pki, report: &BulkReport) -> Result<(), Failure> {
    let BulkReport { issued, finished, skipped, elsewhere } = report;
    if pki.format == Format::Json {
        return json(report);
    }
    print(&format!("issued {issued} devices, skipped {skipped} that had an identity"))?;
    if *finished > 0 {
        print(&format!("finished {finished} that an interrupted run had made"))?;
    }
    if *elsewhere > 0 {
        print(&format!(
            "skipped {elsewhere} that have a valid certificate whose folder is not below {}; if the folders are lost, \
             --replace-missing revokes these certificates and issues the devices again",
            pki.dir.display()
        ))?;
    }
    Ok(())
}

/// Many requests signed.
pub(super) fn signed(pki: &Pki, report: &SignReport) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Signed<'a> {
        signed: Vec<Made<'a>>,
        finished: u64,
        skipped: u64,
        refused: &'a [Refused],
    }
    let SignReport { signed, finished, skipped, refused } = report;
    match pki.format {
        Format::Text => print(&format!(
            "signed {} requests{}, skipped {skipped} that had a certificate for the same key, refused {}",
            signed.len(),
            if *finished > 0 {
                format!(", finished {finished} of an interrupted run")
            } else {
                String::new()
            },
            refused.len()
        )),
        Format::Json => json(&Signed {
            signed: Made::all("signed", signed),
            finished: *finished,
            skipped: *skipped,
            refused,
        }),
    }
}

/// Many identities renewed.
pub(super) fn renewed(pki: &Pki, report: &RenewReport) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Renewed<'a> {
        renewed: Vec<Made<'a>>,
        finished: u64,
        ended: u64,
        failed: &'a [NotRenewed],
    }
    let RenewReport { renewed, finished, ended, failed } = report;
    if pki.format == Format::Json {
        let renewed = Made::all("renewed", renewed);
        return json(&Renewed { renewed, finished: *finished, ended: *ended, failed });
    }
    print(&format!("renewed {} identities, {} could not be renewed", renewed.len(), failed.len()))?;
    if *finished > 0 {
        print(&format!("finished {finished} renewals of an interrupted run"))?;
    }
    if *ended > 0 {
        print(&format!("left {ended} whose certificate has ended; --ended renews these too"))?;
    }
    Ok(())
}

/// The issuing certificate of a site.
pub(super) fn made_site(
    format: Format,
    verb: &'static str,
    site: &Name,
    report: &SiteReport,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Site<'a> {
        action: &'static str,
        site: &'a str,
        dir: &'a Path,
        serial: String,
        not_after: String,
    }
    let SiteReport { dir, serial, not_after } = report;
    match format {
        Format::Text => print(&format!(
            "{verb} the issuing certificate of site {site} in {}, serial {serial}, valid until {not_after}",
            dir.display()
        )),
        Format::Json => json(&Site {
            action: verb,
            site: site.as_str(),
            dir,
            serial: serial.to_string(),
            not_after: not_after.to_string(),
        }),
    }
}

/// Changed roots in `ca.pem`, and what to do next.
pub(super) fn anchors(
    pki: &Pki,
    action: &'static str,
    report: &AnchorsReport,
    next: Option<&str>,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Anchors {
        action: &'static str,
        file: PathBuf,
        roots: usize,
        changed: usize,
        copies: usize,
    }
    let (file, AnchorsReport { roots, changed, copies }) = (pki.dir.join(CA_FILE), *report);
    if pki.format == Format::Json {
        return json(&Anchors { action, file, roots, changed, copies });
    }
    print(&format!(
        "{} has {roots} roots ({changed} changed), and so have {copies} identity folders below {}",
        file.display(),
        pki.dir.display()
    ))?;
    next.map_or(Ok(()), |next| print(&format!("next: {next}")))
}

/// A root that issues from now on.
pub(super) fn switched(pki: &Pki, authority: &Authority, before: bool) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Switched<'a> {
        action: &'static str,
        dir: &'a Path,
        not_after: String,
        already: bool,
    }
    let not_after = authority.root_end().to_string();
    match pki.format {
        Format::Text => print(&format!(
            "the new root {}, valid until {not_after}; next: copy crl.pem to the servers, renew sites and identities, then \
             run `catchment-certs root retire`",
            if before { "issues already" } else { "issues" }
        )),
        Format::Json => json(&Switched { action: "switched", dir: &pki.dir, not_after, already: before }),
    }
}

/// An encrypted key.
pub(super) fn encrypted(format: Format, file: &Path) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Encrypted<'a> {
        action: &'static str,
        file: &'a Path,
    }
    match format {
        Format::Text => print(&format!("encrypted {}; without the passphrase it is lost", file.display())),
        Format::Json => json(&Encrypted { action: "encrypted", file }),
    }
}

/// An exported identity.
pub(super) fn exported(format: Format, identity: &Identity, file: &Path) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Exported<'a> {
        action: &'static str,
        role: &'static str,
        site: Option<&'a str>,
        name: &'a str,
        file: &'a Path,
    }
    match format {
        Format::Text => print(&format!("exported {identity} to {}", file.display())),
        Format::Json => json(&Exported {
            action: "exported",
            role: identity.role().as_str(),
            site: identity.site().map(|site| site.as_str()),
            name: identity.name().as_str(),
            file,
        }),
    }
}

/// Prints a result. A closed pipe (`| head`) is not a failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    output::print(format_args!("{text}\n"))?;
    Ok(())
}

/// Prints a result for programs.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?)
}
