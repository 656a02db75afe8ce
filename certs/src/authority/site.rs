//! Issuing certificates of sites: a site issues for itself, and for no other.
//!
//! A root makes them. The folder `site/S` of the PKI folder is then an authority of its own, which also works as a copy
//! somewhere else, without the key of a root.

use std::{
    fs,
    path::{Path, PathBuf},
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::certificate::X509Certificate;

use super::{
    Authority, AuthorityError, CA_FILE, CRL_DAYS, Entry, History, ISSUER_FILE, ISSUER_KEY_FILE, IssuerMade,
    KeyKind, LEDGER_FILE, LOCK_FILE, Ledger, NEXT_KEY_FILE, PEM_BYTES_MAX, Passphrase, Passphrases,
    SITE_DAYS, Status,
    issue::fingerprint,
    key, lifetime_of_days,
    lifetimes::{BACK_DATED, DAY},
    lock, now,
    open::{pem, read_certificate, with},
    profile::{self, Validity},
    revoke::known,
    site_dir,
};
use crate::{
    Serial, TrustDomain,
    certificate::single_uri,
    files::{self, FileError, PRIVATE, PUBLIC},
};

/// A site's issuing certificate to make.
#[derive(Clone, Debug)]
pub struct SiteRequest {
    /// The site.
    pub site: Name,
    /// Validity in days; default: [`SITE_DAYS`], or until the root ends.
    pub days: Option<u32>,
    /// Kind of its new key. For a renewal, `None` keeps the key.
    pub key: Option<KeyKind>,
    /// Encrypts the new key's file.
    pub passphrase: Option<Passphrase>,
}

/// A site's issuing certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteReport {
    /// The site's folder.
    pub dir: PathBuf,
    /// Serial number of the issuing certificate.
    pub serial: Serial,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// A site with an issuing certificate. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteStatus {
    /// The site.
    pub site: String,
    /// Serial number of its newest issuing certificate, in hexadecimal digits.
    pub serial: String,
    /// Its status.
    pub status: Status,
    /// Start of its validity.
    pub not_before: String,
    /// End of its validity.
    pub not_after: String,
    /// Its key below the PKI folder: `plain`, `encrypted` or `elsewhere`.
    pub key: &'static str,
}

/// The site of an issuing certificate of the trust domain; `None` for other certificates.
pub(super) fn site_of(certificate: &X509Certificate<'_>, domain: &TrustDomain) -> Option<Name> {
    let uri = single_uri(certificate).ok()?;
    let site = uri.strip_prefix(&format!("{}/site/", domain.uri()))?;
    certificate.is_ca().then(|| Name::new(site).ok())?
}

/// The sites of a PKI folder, by name. Needs no key and writes nothing.
///
/// # Errors
/// There is no root, or the ledger cannot be read.
pub fn sites(dir: &Path, note: &mut dyn FnMut(String)) -> Result<Vec<SiteStatus>, AuthorityError> {
    let (ca, ledger) = (dir.join(CA_FILE), dir.join(LEDGER_FILE));
    if !ca.exists() && !ledger.exists() {
        return Err(AuthorityError::NoRoot { path: ca, dir: dir.to_owned() });
    }
    let _lock = dir.join(LOCK_FILE).exists().then(|| lock(dir).ok());
    let history = known(dir, &mut Ledger::open_to_read(&ledger)?, note)?;
    let time = now();
    let mut newest: Vec<&IssuerMade> = Vec::new();
    for issuer in history.issuers.iter().rev() {
        if newest.iter().all(|known| known.site != issuer.site) {
            newest.push(issuer);
        }
    }
    newest.sort_by(|a, b| a.site.cmp(&b.site));
    let status = |issuer: &IssuerMade| {
        if history.revoked_at(&issuer.serial).is_some() {
            Status::Revoked
        } else if issuer.not_after < time {
            Status::Expired
        } else {
            Status::Valid
        }
    };
    let row = |issuer: &IssuerMade| SiteStatus {
        site: issuer.site.to_string(),
        serial: issuer.serial.to_string(),
        status: status(issuer),
        not_before: issuer.not_before.to_string(),
        not_after: issuer.not_after.to_string(),
        key: key_state(&site_dir(dir, &issuer.site).join(ISSUER_KEY_FILE)),
    };
    Ok(newest.into_iter().map(row).collect())
}

fn key_state(path: &Path) -> &'static str {
    match files::read_text(path, PEM_BYTES_MAX) {
        Ok(text) if key::is_encrypted(&text) => "encrypted",
        Ok(_) => "plain",
        Err(_) => "elsewhere",
    }
}

impl Authority {
    /// Makes a site's folder an authority of its own, with an issuing certificate signed by this root.
    ///
    /// # Errors
    /// This is no root or may sign no issuing certificates, the site has one, or files cannot be written.
    pub fn site_add(
        &self,
        request: &SiteRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<SiteReport, AuthorityError> {
        self.check_may_issue_sites()?;
        let dir = site_dir(&self.dir, &request.site);
        let lock_of_root = self.lock()?;
        let (issuer_path, key_path) = (dir.join(ISSUER_FILE), dir.join(ISSUER_KEY_FILE));
        if issuer_path.exists() {
            return Err(AuthorityError::SiteExists { path: issuer_path });
        }
        if key_path.exists() {
            let reason =
                "exists without an issuer.pem next to it: put issuer.pem back, or, if a `site add` was \
                          interrupted, remove it"
                    .to_owned();
            return Err(AuthorityError::Content { path: key_path, reason });
        }
        files::create_folders(&dir)?;
        let lock_of_site = lock(&dir)?;
        let key = request.key.unwrap_or_default().generate()?;
        let (made, certificate) = self.make_issuer(request, &key, note)?;
        self.ledger()?.append(&[Entry::Issuer(made.clone())], note)?;
        files::replace_file(&dir.join(CA_FILE), self.anchors_pem.as_bytes(), PUBLIC)?;
        Ledger::open(&dir.join(LEDGER_FILE), true)?;
        let key_pem = key::to_pem(&key, request.passphrase.as_ref())?;
        files::create_file(&key_path, key_pem.as_bytes(), PRIVATE)?;
        // The issuing certificate makes the folder an authority, so it is written last.
        files::create_file(&issuer_path, pem(&certificate)?.as_bytes(), PUBLIC)?;
        drop((lock_of_site, lock_of_root));
        let passphrase = request.passphrase.clone();
        let mut asked = |_: &Path| passphrase.clone().ok_or_else(|| "it is not encrypted".to_owned());
        Self::open_with(&dir, &mut asked)?.refresh_crl(CRL_DAYS, note)?;
        Ok(SiteReport { dir, serial: made.serial, not_after: made.not_after })
    }

    /// Makes a new issuing certificate for a site. Leaves that the old one issued stay valid until it ends. `passphrases`
    /// is asked for the key of the site, which signs a new revocation list if it is there.
    ///
    /// # Errors
    /// This is no root or may sign no issuing certificates, the site has no issuing certificate, the present one is
    /// revoked and its key would be kept, or files cannot be written.
    pub fn site_renew(
        &self,
        request: &SiteRequest,
        passphrases: Passphrases<'_>,
        note: &mut dyn FnMut(String),
    ) -> Result<SiteReport, AuthorityError> {
        self.check_may_issue_sites()?;
        let dir = site_dir(&self.dir, &request.site);
        let issuer_path = dir.join(ISSUER_FILE);
        if !issuer_path.exists() {
            return Err(AuthorityError::NoSite { path: issuer_path, site: request.site.clone() });
        }
        let lock_of_root = self.lock()?;
        let lock_of_site = lock(&dir)?;
        let old = read_certificate(&issuer_path)?;
        let mut ledger = self.ledger()?;
        let history = self.known(&mut ledger, note)?;
        let (key_path, next_path) = (dir.join(ISSUER_KEY_FILE), dir.join(NEXT_KEY_FILE));
        let (made, certificate) = match request.key {
            None => self.make_issuer(request, &kept_key(&issuer_path, &old, &history)?, note)?,
            Some(kind) => {
                if request.passphrase.is_none() && key_state(&key_path) == "encrypted" {
                    let reason =
                        "this key is encrypted; have the new one encrypted too, with --encrypt".to_owned();
                    return Err(AuthorityError::Content { path: key_path, reason });
                }
                let key = kind.generate()?;
                let key_pem = key::to_pem(&key, request.passphrase.as_ref())?;
                files::replace_file(&next_path, key_pem.as_bytes(), PRIVATE)?;
                self.make_issuer(request, &key, note)?
            }
        };
        ledger.append(&[Entry::Issuer(made.clone())], note)?;
        files::replace_file(&dir.join(CA_FILE), self.anchors_pem.as_bytes(), PUBLIC)?;
        files::replace_file(&issuer_path, pem(&certificate)?.as_bytes(), PUBLIC)?;
        if request.key.is_some() {
            fs::rename(&next_path, &key_path).map_err(FileError::at("write", &key_path))?;
            files::sync(&dir)?;
        }
        drop((lock_of_site, lock_of_root));
        if key_path.exists() {
            let new_key = request.key.and(request.passphrase.clone());
            let mut asked = |path: &Path| match &new_key {
                Some(passphrase) => Ok(passphrase.clone()),
                None => passphrases(path),
            };
            Self::open_with(&dir, &mut asked)?.refresh_crl(CRL_DAYS, note)?;
        } else {
            note(format!(
                "the key of site {} is elsewhere: copy {} there, and run `catchment-certs crl` in that folder",
                request.site,
                issuer_path.display()
            ));
        }
        Ok(SiteReport { dir, serial: made.serial, not_after: made.not_after })
    }

    /// Signs an issuing certificate. The caller holds the lock.
    fn make_issuer(
        &self,
        request: &SiteRequest,
        key: &impl PublicKeyData,
        note: &mut dyn FnMut(String),
    ) -> Result<(IssuerMade, CertificateDer<'static>), AuthorityError> {
        let from = now();
        let lifetime = request.days.map_or(Ok(DAY * SITE_DAYS), lifetime_of_days)?;
        let validity = Validity::new(from, lifetime, BACK_DATED)?;
        let validity = self.within(validity, from, request.days.is_some(), note)?;
        let serial = Serial::random();
        let params = profile::issuer(&self.trust_domain, &request.site, &serial, validity)?;
        let certificate = params.signed_by(key, &self.issuer)?;
        let made = IssuerMade {
            time: from,
            serial,
            site: request.site.clone(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            fingerprint: fingerprint(certificate.der()),
        };
        Ok((made, certificate.der().clone()))
    }

    fn check_may_issue_sites(&self) -> Result<(), AuthorityError> {
        self.check_root("a site's issuing certificate")?;
        let length = with(&self.certificate, |root| {
            let constraints = root.basic_constraints().ok().flatten();
            constraints.is_some_and(|found| found.value.path_len_constraint.is_none_or(|length| length > 0))
        });
        match length {
            Some(true) => Ok(()),
            _ => Err(AuthorityError::PathLength { path: self.dir.join(CA_FILE), dir: self.dir.clone() }),
        }
    }
}

/// The public key of an issuing certificate that is not revoked.
fn kept_key(
    path: &Path,
    old: &CertificateDer<'_>,
    history: &History,
) -> Result<SubjectPublicKeyInfo, AuthorityError> {
    let content = |reason: &str| AuthorityError::Content { path: path.to_owned(), reason: reason.to_owned() };
    let (serial, key) =
        with(old, |old| (Serial::from_bytes(old.raw_serial()), old.public_key().raw.to_vec()))
            .ok_or_else(|| content("not a certificate"))?;
    let serial = serial.map_err(|error| content(&error.to_string()))?;
    if history.revoked_at(&serial).is_some() {
        return Err(content(
            "this issuing certificate is revoked, so its key is not certified again; give --key",
        ));
    }
    Ok(SubjectPublicKeyInfo::from_der(&key)?)
}
