//! Prints results, as text or as JSON. The names of the JSON fields are stable; docs/certificates.md lists them.

use std::path::Path;

use catchment_settings::output;
use serde::Serialize;

use super::{Format, Pki, run::Failure};
use crate::{
    Identity, Serial,
    authority::{
        Authority, BulkReport, IssuedPaths, NotRenewed, Refused, RenewReport, RevokeReport, SignReport,
    },
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
    }
    let (domain, not_after) = (authority.trust_domain(), authority.root_end().to_string());
    match pki.format {
        Format::Text => print(&format!(
            "made the trust root of {domain} in {}, valid until {not_after}; keep {} secret",
            pki.dir.display(),
            pki.dir.join("ca.key").display(),
        )),
        Format::Json => {
            json(&Root { action: "init", trust_domain: domain.as_str(), dir: &pki.dir, not_after })
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

/// A written revocation list.
#[derive(Serialize)]
struct List {
    file: String,
    number: u64,
    revoked: usize,
    copies: usize,
}

impl List {
    /// `None`: no list was written.
    fn of(pki: &Pki, report: &RevokeReport) -> Option<Self> {
        let file = pki.dir.join("crl.pem").display().to_string();
        let RevokeReport { crl_number, listed, copies, .. } = report;
        (*crl_number > 0).then_some(Self { file, number: *crl_number, revoked: *listed, copies: *copies })
    }
}

/// Revoked certificates.
pub(super) fn revoked(pki: &Pki, report: &RevokeReport) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Revoked {
        revoked: Vec<String>,
        already: Vec<String>,
        unknown: usize,
        list: Option<List>,
    }
    let texts = |serials: &[Serial]| serials.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (revoked, already) = (texts(&report.revoked), texts(&report.already));
    if pki.format == Format::Json {
        let (unknown, list) = (report.unknown.len(), List::of(pki, report));
        return json(&Revoked { revoked, already, unknown, list });
    }
    for serial in revoked {
        print(&format!("revoked {serial}"))?;
    }
    for serial in already {
        print(&format!("{serial} was already revoked"))?;
    }
    list_written(pki, report)
}

/// A new revocation list.
pub(super) fn list_written(pki: &Pki, report: &RevokeReport) -> Result<(), Failure> {
    let Some(list) = List::of(pki, report) else { return Ok(()) };
    match pki.format {
        Format::Text => print(&format!(
            "wrote {} (number {}, {} revoked) and {} copies below {}; copy it to the other servers too",
            list.file,
            list.number,
            list.revoked,
            list.copies,
            pki.dir.display(),
        )),
        Format::Json => json(&list),
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
