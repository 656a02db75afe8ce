//! Renews the revocation list of every authority below a PKI folder whose key is there.

use std::path::{Path, PathBuf};

use catchment_proto::id::Name;
use serde::Serialize;

use super::{
    Authority, AuthorityError, CA_FILE, CA_KEY_FILE, CRL_FILE, ISSUER_FILE, ISSUER_KEY_FILE, LEDGER_FILE,
    Ledger, Passphrases, RevokeReport,
    lists::{ListTrust, Lists},
    lock, now,
    open::{is_revoked, read_anchors, read_certificate, with},
    spread::{site_dirs, spread},
    timestamp,
};
use crate::certificate::system_time;

/// A list that was renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRenewed {
    /// The site whose list it is; `None`: the root's.
    pub site: Option<Name>,
    /// The authority's folder.
    pub dir: PathBuf,
    /// The new list.
    pub report: RevokeReport,
}

/// A list that was not renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListLeft {
    /// The site whose list it is; `None`: the root's.
    pub site: Option<String>,
    /// Why not.
    pub reason: String,
}

/// What became of the lists of a PKI folder.
#[derive(Debug, Default)]
pub struct ListsReport {
    /// Lists that were renewed: the root's first.
    pub renewed: Vec<ListRenewed>,
    /// Lists that were not.
    pub left: Vec<ListLeft>,
    /// Why the root's list was not renewed although its key is there.
    pub error: Option<AuthorityError>,
}

/// Renews the list of the root and of each site whose key is in the folder, valid for `days`, and spreads them. A site
/// that cannot sign does not stop the others. The folder of a site is its only authority.
///
/// # Errors
/// No list could be renewed, or files cannot be read or written.
pub fn renew_lists(
    dir: &Path,
    days: u32,
    passphrases: Passphrases<'_>,
    note: &mut dyn FnMut(String),
) -> Result<ListsReport, AuthorityError> {
    let mut report = ListsReport::default();
    let has_key =
        dir.join(if dir.join(ISSUER_FILE).exists() { ISSUER_KEY_FILE } else { CA_KEY_FILE }).exists();
    for (site, folder) in site_dirs(dir)? {
        let renewed = match unable(&folder) {
            Some(reason) => Err(reason),
            None => Authority::open_with(&folder, &mut *passphrases)
                .and_then(|authority| authority.refresh_own_crl(days, note))
                .map_err(|error| error.to_string()),
        };
        match renewed {
            Ok(made) => report.renewed.push(ListRenewed { site: Some(site), dir: folder, report: made }),
            Err(reason) => report.left.push(ListLeft { site: Some(site.to_string()), reason }),
        }
    }
    if !has_key && report.renewed.is_empty() {
        // Says what is missing.
        Authority::open_with(dir, &mut *passphrases)?;
    }
    let root = has_key.then(|| {
        let authority = Authority::open_with(dir, &mut *passphrases)?;
        let site = authority.site().cloned();
        Ok(ListRenewed { site, dir: dir.to_owned(), report: authority.refresh_crl(days, note)? })
    });
    match root {
        Some(Ok(renewed)) => report.renewed.insert(0, renewed),
        Some(Err(error)) => report.error = Some(error),
        None => report.left.insert(0, ListLeft { site: None, reason: "no key here".to_owned() }),
    }
    if report.renewed.first().is_some_and(|first| first.dir != dir) {
        spread_sites(dir, note)?;
    }
    Ok(report)
}

/// Why a site cannot sign a list here.
fn unable(dir: &Path) -> Option<String> {
    if !dir.join(ISSUER_KEY_FILE).exists() {
        return Some("no key here".to_owned());
    }
    let issuer = read_certificate(&dir.join(ISSUER_FILE)).ok()?;
    let end = with(&issuer, |issuer| timestamp(system_time(issuer.validity().not_after)))?;
    if end < now() {
        return Some(format!("its issuing certificate ended on {end}"));
    }
    is_revoked(dir, &issuer).then(|| "its issuing certificate is revoked".to_owned())
}

/// Brings the lists of sites into the PKI folder and to the identities, without the root's key.
fn spread_sites(dir: &Path, note: &mut dyn FnMut(String)) -> Result<(), AuthorityError> {
    let (anchors, domain) = read_anchors(&dir.join(CA_FILE))?;
    let _lock = lock(dir)?;
    let path = dir.join(CRL_FILE);
    let lists = Lists::read(&path).map_err(|reason| AuthorityError::Content { path, reason })?;
    let history = Ledger::open_to_read(&dir.join(LEDGER_FILE))?.read(note)?;
    spread(dir, lists, &ListTrust { anchors: &anchors, domain: &domain }, &history, note)?;
    Ok(())
}
