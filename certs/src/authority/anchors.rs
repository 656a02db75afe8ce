//! The roots in `ca.pem`, during a changeover more than one, in an authority's folder and in all identities below it.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use super::{
    AuthorityError, CA_FILE, CRL_FILE, SITES_DIR,
    copies::Outgoing,
    lock, now,
    open::{pem, read_anchors, with},
    spread::{folders, replace_changed, site_dirs},
    timestamp,
};
use crate::{Role, TrustDomain, anchors::check_anchor, certificate::system_time, folder::CERT_FILE};

/// Result of changing the roots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnchorsReport {
    /// Roots in `ca.pem` now.
    pub roots: usize,
    /// Roots added or removed.
    pub changed: usize,
    /// Identity folders with this `ca.pem`.
    pub copies: usize,
}

/// Adds the roots of a PEM file to the `ca.pem` of an authority's folder, and writes it into all identity folders below.
/// Adding a root again completes an interrupted run. Needs no key.
///
/// # Errors
/// The file holds something else than valid roots of this trust domain, or files cannot be read or written.
pub fn add_anchors(dir: &Path, file: &Path) -> Result<AnchorsReport, AuthorityError> {
    let refuse = |reason: String| AuthorityError::Content { path: file.to_owned(), reason };
    let (new, new_domain) = read_anchors(file)?;
    for root in &new {
        let reason = with(root, |root| defect(root, &new_domain));
        if let Some(reason) = reason.unwrap_or_else(|| Some("a certificate cannot be read".to_owned())) {
            return Err(refuse(reason));
        }
    }
    let _lock = lock(dir)?;
    let (mut anchors, domain) = read_anchors(&dir.join(CA_FILE))?;
    if domain != new_domain {
        return Err(refuse(format!("a root of trust domain {new_domain}, not of {domain}")));
    }
    let before = anchors.len();
    for root in new {
        if !anchors.contains(&root) {
            anchors.push(root);
        }
    }
    let copies = write_anchors(dir, &anchors)?;
    Ok(AnchorsReport { roots: anchors.len(), changed: anchors.len().saturating_sub(before), copies })
}

/// Why a certificate is not a root that may be added: the check of everyone who loads it, and its end.
fn defect(root: &X509Certificate<'_>, domain: &TrustDomain) -> Option<String> {
    if let Err(reason) = check_anchor(root, Some(domain)) {
        return Some(format!("the certificate \"{}\": {reason}", root.subject()));
    }
    (timestamp(system_time(root.validity().not_after)) < now()).then(|| "a root that has expired".to_owned())
}

/// Writes roots into the `ca.pem` of an authority's folder, the folders of its sites, and all identity folders below.
/// Returns the number of identity folders. The caller holds the lock.
pub(super) fn write_anchors(
    dir: &Path,
    anchors: &[CertificateDer<'static>],
) -> Result<usize, AuthorityError> {
    let text: String = anchors.iter().map(pem).collect::<Result<_, _>>()?;
    replace_changed(&dir.join(CA_FILE), text.as_bytes())?;
    for (_, site) in site_dirs(dir)? {
        let _lock = lock(&site)?;
        replace_changed(&site.join(CA_FILE), text.as_bytes())?;
    }
    let identities = identity_folders(dir)?;
    for identity in &identities {
        replace_changed(&identity.join(CA_FILE), text.as_bytes())?;
    }
    Ok(identities.len())
}

/// Brings lists to all identity folders below that have a `crl.pem`, devices' too. The caller holds the lock.
pub(super) fn write_lists(
    dir: &Path,
    outgoing: &Outgoing<'_>,
    note: &mut dyn FnMut(String),
) -> Result<(), AuthorityError> {
    for identity in identity_folders(dir)? {
        let path = identity.join(CRL_FILE);
        if path.exists() {
            outgoing.write(&path, note)?;
        }
    }
    Ok(())
}

/// All identity folders below the folder of a root or of a site.
fn identity_folders(dir: &Path) -> Result<Vec<PathBuf>, AuthorityError> {
    let mut found = Vec::new();
    let mut bases = folders(&dir.join(SITES_DIR))?;
    bases.push(dir.to_owned());
    for base in bases {
        for role in Role::ALL {
            let identities = folders(&base.join(role.as_str()))?;
            found.extend(identities.into_iter().filter(|identity| identity.join(CERT_FILE).is_file()));
        }
    }
    Ok(found)
}
