//! Makes a root, and opens authorities.
//!
//! `ca.pem` may hold several roots during a changeover: the authority's own is the one whose key `ca.key` is. So the
//! rename of one key file is what changes the root. The key of a site is replaced after its certificate: a crash in
//! between leaves the new key in `next.key`, from where the next opening takes it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::certificate::X509Certificate;

use super::{
    Authority, AuthorityError, CA_FILE, CA_KEY_FILE, CRL_DAYS, CRL_FILE, ISSUER_FILE, ISSUER_KEY_FILE,
    KeyKind, LEDGER_FILE, Ledger, NEXT_KEY_FILE, PEM_BYTES_MAX, Passphrase, Passphrases, ROOT_DAYS,
    SiteIssuer,
    key::{self, StoredKey, no_passphrase},
    lifetime_of_days,
    lifetimes::BACK_DATED,
    lists::{KnownList, Lists, to_pem},
    lock, now,
    profile::{self, Validity},
    site::site_of,
    timestamp,
};
use crate::{
    Identity, Serial, TrustDomain,
    certificate::{self, single_uri, system_time},
    files::{self, FileError, PRIVATE, PUBLIC},
    folder::pem_reason,
    pem_text::{Wanted, found_instead, without_mark},
};

/// Maximum number of roots in a `ca.pem`.
const ANCHORS_MAX: usize = 16;

/// How to make a root.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Validity in days.
    pub days: u32,
    /// Kind of its key.
    pub key: KeyKind,
    /// Encrypts the key's file.
    pub passphrase: Option<Passphrase>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { days: ROOT_DAYS, key: KeyKind::default(), passphrase: None }
    }
}

/// Encrypts the key of an authority. The plain file is replaced by a rename; its old contents may stay on the disk until
/// they are overwritten.
///
/// # Errors
/// There is no authority, its key is encrypted already, or the file cannot be written.
pub fn encrypt_key(dir: &Path, passphrase: &Passphrase) -> Result<PathBuf, AuthorityError> {
    let authority = Authority::open_with(dir, &mut |_| Err("the key is encrypted already".to_owned()))?;
    let _lock = authority.lock()?;
    let path = dir.join(if authority.site.is_some() { ISSUER_KEY_FILE } else { CA_KEY_FILE });
    let text = key::to_pem(authority.issuer.key(), Some(passphrase))?;
    files::replace_file(&path, text.as_bytes(), PRIVATE)?;
    Ok(path)
}

impl Authority {
    /// Makes a new root with a P-256 key that is not encrypted; see [`Self::init_with`].
    ///
    /// # Errors
    /// As [`Self::init_with`].
    pub fn init(dir: &Path, trust_domain: &TrustDomain, days: u32) -> Result<Self, AuthorityError> {
        Self::init_with(dir, trust_domain, InitOptions { days, ..InitOptions::default() })
    }

    /// Makes a new root in `dir`, with an empty revocation list; creates `dir` if it does not exist.
    ///
    /// # Errors
    /// There already is a root, or the files cannot be written.
    pub fn init_with(
        dir: &Path,
        trust_domain: &TrustDomain,
        options: InitOptions,
    ) -> Result<Self, AuthorityError> {
        files::create_folders(dir)?;
        let lock = lock(dir)?;
        let (ca_path, key_path, ledger_path) =
            (dir.join(CA_FILE), dir.join(CA_KEY_FILE), dir.join(LEDGER_FILE));
        for (path, issuer) in [(dir.join(ISSUER_FILE), true), (ca_path.clone(), false)] {
            if path.exists() {
                return Err(match issuer {
                    true => AuthorityError::SiteExists { path },
                    false => AuthorityError::RootExists { path },
                });
            }
        }
        if key_path.exists() {
            return Err(AuthorityError::HalfRoot { path: key_path });
        }
        if ledger_path.exists() {
            return Err(AuthorityError::RootExists { path: ledger_path });
        }
        let (key, certificate) = new_root(trust_domain, options.days, options.key)?;
        let passphrase = options.passphrase;
        files::create_file(&key_path, key::to_pem(&key, passphrase.as_ref())?.as_bytes(), PRIVATE)?;
        Ledger::open(&ledger_path, true)?;
        files::sync(dir)?;
        // The root certificate makes the folder an authority, so it is written last; only the revocation list follows,
        // which the root signs and which can be made again.
        files::create_file(&ca_path, pem(&certificate)?.as_bytes(), PUBLIC)?;
        drop(lock);
        let authority = Self::open_with(dir, &mut |_| {
            passphrase.clone().ok_or_else(|| "it is not encrypted".to_owned())
        })?;
        authority.refresh_crl(CRL_DAYS, &mut |_| ())?;
        Ok(authority)
    }

    /// Opens the authority in `dir`, whose key is not encrypted; see [`Self::open_with`].
    ///
    /// # Errors
    /// As [`Self::open_with`]; also if the key is encrypted.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        Self::open_with(dir, &mut no_passphrase)
    }

    /// Opens the authority in `dir`: a root, or the issuing certificate of a site. Asks `passphrases` for that of an
    /// encrypted key.
    ///
    /// # Errors
    /// There is none, its key does not match, the passphrase is wrong, or its files cannot be read.
    pub fn open_with(dir: &Path, passphrases: Passphrases<'_>) -> Result<Self, AuthorityError> {
        let of_site = dir.join(ISSUER_FILE).exists();
        let key_file = if of_site { ISSUER_KEY_FILE } else { CA_KEY_FILE };
        let (ca_path, key_path) = (dir.join(CA_FILE), dir.join(key_file));
        match (ca_path.exists(), key_path.exists()) {
            (true, true) => {}
            (true, false) if of_site => {
                let reason = "missing: restore it from a backup, work in the folder that has it, or have a new one made \
                              with `catchment-certs site renew --key p256`"
                    .to_owned();
                return Err(AuthorityError::Content { path: key_path, reason });
            }
            (true, false) => return Err(AuthorityError::NoKey { path: key_path }),
            (false, true) => return Err(AuthorityError::HalfRoot { path: key_path }),
            (false, false) => return Err(AuthorityError::NoRoot { path: ca_path, dir: dir.to_owned() }),
        }
        let (anchors, trust_domain) = read_anchors(&ca_path)?;
        if of_site {
            open_site(dir, anchors, trust_domain, passphrases)
        } else {
            open_root(dir, anchors, trust_domain, passphrases)
        }
    }

    /// Refuses an identity of another site, or of a role without sites, if this is the authority of a site.
    ///
    /// # Errors
    /// [`AuthorityError::OtherSite`].
    pub fn check_site(&self, identity: &Identity) -> Result<(), AuthorityError> {
        match &self.site {
            Some(site) if identity.site() != Some(&site.name) => Err(AuthorityError::OtherSite {
                dir: self.dir.clone(),
                site: site.name.clone(),
                wanted: identity.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses `action` if this is the authority of a site.
    ///
    /// # Errors
    /// [`AuthorityError::NotRoot`].
    pub fn check_root(&self, action: &'static str) -> Result<(), AuthorityError> {
        match &self.site {
            Some(site) => {
                Err(AuthorityError::NotRoot { dir: self.dir.clone(), site: site.name.clone(), action })
            }
            None => Ok(()),
        }
    }

    fn new(
        dir: &Path,
        trust_domain: TrustDomain,
        stored: StoredKey,
        certificate: CertificateDer<'static>,
        anchors: Vec<CertificateDer<'static>>,
        site: Option<SiteIssuer>,
    ) -> Result<Self, AuthorityError> {
        let end = with(&certificate, |own| timestamp(system_time(own.validity().not_after)))
            .ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self {
            dir: dir.to_owned(),
            trust_domain,
            issuer: Issuer::from_ca_cert_der(&certificate, stored.key)?,
            certificate,
            anchors_pem: anchors.iter().map(pem).collect::<Result<_, _>>()?,
            anchors,
            end,
            site,
            passphrase: stored.passphrase,
        })
    }
}

fn open_root(
    dir: &Path,
    mut anchors: Vec<CertificateDer<'static>>,
    trust_domain: TrustDomain,
    passphrases: Passphrases<'_>,
) -> Result<Authority, AuthorityError> {
    let path = dir.join(CA_KEY_FILE);
    let stored = key::read(&path, passphrases)?;
    let Some(own) = anchors.iter().position(|anchor| is_key_of(&stored.key, anchor)) else {
        let reason = "this is not the key of a root in ca.pem; restore both from one backup".to_owned();
        return Err(AuthorityError::Content { path, reason });
    };
    // Its own comes first.
    let certificate = anchors.remove(own);
    anchors.insert(0, certificate.clone());
    Authority::new(dir, trust_domain, stored, certificate, anchors, None)
}

fn open_site(
    dir: &Path,
    anchors: Vec<CertificateDer<'static>>,
    trust_domain: TrustDomain,
    passphrases: Passphrases<'_>,
) -> Result<Authority, AuthorityError> {
    let path = dir.join(ISSUER_FILE);
    let content = |reason: &str| AuthorityError::Content { path: path.clone(), reason: reason.to_owned() };
    let certificate = read_certificate(&path)?;
    let name = with(&certificate, |issuer| site_of(issuer, &trust_domain))
        .flatten()
        .ok_or_else(|| content("not the issuing certificate of a site in the trust domain of ca.pem"))?;
    let signed = |anchor: &CertificateDer<'_>| {
        let signed = |root: &X509Certificate<'_>| {
            with(&certificate, |issuer| issuer.verify_signature(Some(root.public_key())).is_ok())
        };
        with(anchor, signed).flatten().unwrap_or(false)
    };
    if !anchors.iter().any(signed) {
        return Err(content("no root in ca.pem signed it; take both from one `site add` or `site renew`"));
    }
    if is_revoked(dir, &certificate) {
        return Err(content(
            "a root revoked this issuing certificate; have a new one made with `site renew --key p256`",
        ));
    }
    let stored = site_key(dir, &certificate, passphrases)?;
    let site = SiteIssuer { name, pem: pem(&certificate)? };
    Authority::new(dir, trust_domain, stored, certificate, anchors, Some(site))
}

/// Whether a root's list in a site's folder names its issuing certificate. An unreadable file is reported elsewhere.
pub(super) fn is_revoked(dir: &Path, issuer: &CertificateDer<'_>) -> bool {
    let lists = Lists::read(&dir.join(CRL_FILE)).unwrap_or_default();
    let revoked = lists.revoked(KnownList::is_of_root).unwrap_or_default();
    with(issuer, |issuer| {
        revoked.iter().any(|(serial, ..)| Serial::from_bytes(issuer.raw_serial()).as_ref() == Ok(serial))
    })
    .unwrap_or(false)
}

/// The key of a site's issuing certificate. Completes an interrupted change of the key.
fn site_key(
    dir: &Path,
    certificate: &CertificateDer<'_>,
    passphrases: Passphrases<'_>,
) -> Result<StoredKey, AuthorityError> {
    let (path, next) = (dir.join(ISSUER_KEY_FILE), dir.join(NEXT_KEY_FILE));
    let stored = key::read(&path, passphrases)?;
    if is_key_of(&stored.key, certificate) {
        return Ok(stored);
    }
    if next.exists() {
        let stored = key::read(&next, passphrases)?;
        if is_key_of(&stored.key, certificate) {
            let _lock = lock(dir)?;
            // Another process may have been faster.
            if next.exists() {
                fs::rename(&next, &path).map_err(FileError::at("write", &path))?;
                files::sync(dir)?;
            }
            return Ok(stored);
        }
    }
    let reason = "this is not the key of issuer.pem; restore both from one backup".to_owned();
    Err(AuthorityError::Content { path, reason })
}

/// Key and certificate of a new root.
pub(super) fn new_root(
    trust_domain: &TrustDomain,
    days: u32,
    kind: KeyKind,
) -> Result<(KeyPair, CertificateDer<'static>), AuthorityError> {
    let validity = Validity::new(now(), lifetime_of_days(days)?, BACK_DATED)?;
    let key = kind.generate()?;
    let root = profile::root(trust_domain, &Serial::random(), validity)?.self_signed(&key)?;
    Ok((key, root.der().clone()))
}

/// The roots of a `ca.pem`, and their trust domain.
pub(super) fn read_anchors(
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, TrustDomain), AuthorityError> {
    let content = |reason: String| AuthorityError::Content { path: path.to_owned(), reason };
    let identity = |error| AuthorityError::Identity { path: path.to_owned(), error };
    let bytes = files::read_bytes(path, PEM_BYTES_MAX)?;
    let anchors: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(without_mark(&bytes))
        .collect::<Result<_, _>>()
        .map_err(|error| content(format!("no certificate in PEM: {}", pem_reason(&error))))?;
    if anchors.len() > ANCHORS_MAX {
        return Err(content(format!("more than {ANCHORS_MAX} roots; remove those that nothing needs")));
    }
    let mut domain: Option<TrustDomain> = None;
    for anchor in &anchors {
        let root = certificate::parse(anchor).map_err(identity)?;
        let found = TrustDomain::from_uri(single_uri(&root).map_err(identity)?).map_err(identity)?;
        match &domain {
            Some(expected) if *expected != found => {
                return Err(content(format!("roots of two trust domains, {expected} and {found}")));
            }
            _ => domain = Some(found),
        }
    }
    let domain = domain.ok_or_else(|| {
        let found = found_instead(&bytes, Wanted::Certificate);
        content(format!("no certificate in PEM: {}", found.unwrap_or_else(|| "a damaged block".to_owned())))
    })?;
    Ok((anchors, domain))
}

/// The first certificate of a PEM file.
pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, AuthorityError> {
    let bytes = files::read_bytes(path, PEM_BYTES_MAX)?;
    CertificateDer::from_pem_slice(without_mark(&bytes)).map_err(|error| {
        let found = found_instead(&bytes, Wanted::Certificate).unwrap_or_else(|| pem_reason(&error));
        let reason = format!("no certificate in PEM: {found}");
        AuthorityError::Content { path: path.to_owned(), reason }
    })
}

/// A certificate in PEM.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> Result<String, AuthorityError> {
    to_pem("CERTIFICATE", certificate)
        .map_err(|reason| AuthorityError::Encode { what: "a certificate", reason })
}

/// Applies `read` to a parsed certificate; `None` if it cannot be parsed.
pub(super) fn with<T>(der: &CertificateDer<'_>, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    certificate::parse(der).ok().map(|certificate| read(&certificate))
}

/// Whether a private key is the one of a certificate.
pub(super) fn is_key_of(key: &KeyPair, certificate: &CertificateDer<'_>) -> bool {
    with(certificate, |certificate| {
        certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
    })
    .unwrap_or(false)
}
