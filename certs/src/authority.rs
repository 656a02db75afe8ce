//! The bundled certificate authority: one root, its ledger, and the identities issued from it.
//!
//! A PKI folder holds `ca.pem`, `ca.key` (the root's key, mode 0600), `ledger.jsonl`, `crl.pem` and the
//! identities. Every change holds an exclusive lock on `.lock`, so several processes may work at the same time.
//! Issuing stages the complete identity folder, then makes its ledger entry durable, then publishes the folder.
//!
//! `lifetimes` defines how long certificates are valid, `profile` their contents, `ledger` records what was done. `csr`
//! reads signing requests, `key_kind` and `keys` say which keys are certified. `issue` makes one identity, `bulk` and
//! `sign_many` make many by way of `batch`; `renew` and `renew_all`, `revoke`, `revoke_from` and `reason` change them,
//! and `unfinished` finishes what a crash interrupted. `list` and `inspect` show them; `error` is why any of it failed.

mod batch;
mod bulk;
mod csr;
mod error;
mod inspect;
mod issue;
mod key_kind;
mod keys;
mod ledger;
mod lifetimes;
mod list;
mod profile;
mod reason;
mod renew;
mod renew_all;
mod revoke;
mod revoke_from;
mod sign_many;
mod unfinished;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

pub use bulk::{BulkReport, DeviceRow, read_rows};
pub use error::AuthorityError;
pub use inspect::{Block, Inspection, inspect};
pub use issue::{IssueRequest, IssuedPaths};
pub use ledger::{Entry, History, Issued};
pub use lifetimes::{CRL_DAYS, DAYS_MAX, ROOT_DAYS, default_days};
pub use list::{ListedCertificate, Status, list, list_json, list_table};
pub use profile::{Host, HostError, lifetime_of_days};
pub use reason::{ReasonError, RevocationReason};
pub use renew_all::{NotRenewed, RenewReport, RenewRequest};
pub use revoke::{RevokeReport, RevokeWhat};
pub use revoke_from::read_revocations;
pub use sign_many::{Refused, SignReport, SignRow, requests_from, requests_in};

pub use crate::files::FileError;
use crate::{
    Identity, Serial, TrustDomain, certificate,
    files::{self, PRIVATE, PUBLIC},
    folder::{CA_FILE, CRL_FILE, pem_reason},
};
use ledger::Ledger;
use lifetimes::{BACK_DATED, DAY};
use profile::Validity;

const CA_KEY_FILE: &str = "ca.key";
const LEDGER_FILE: &str = "ledger.jsonl";
const LOCK_FILE: &str = ".lock";

/// Maximum size of a PEM file with one certificate, key or request, in bytes.
const PEM_BYTES_MAX: u64 = 64 << 10;

/// An open certificate authority.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    root_end: Timestamp,
}

impl Authority {
    /// Makes a new root in `dir`, with an empty revocation list; creates `dir` if it does not exist.
    ///
    /// # Errors
    /// There already is a root, or the files cannot be written.
    pub fn init(dir: &Path, trust_domain: &TrustDomain, days: u32) -> Result<Self, AuthorityError> {
        files::create_folders(dir)?;
        let lock = lock(dir)?;
        let (ca_path, key_path, ledger_path) =
            (dir.join(CA_FILE), dir.join(CA_KEY_FILE), dir.join(LEDGER_FILE));
        if ca_path.exists() {
            return Err(AuthorityError::RootExists { path: ca_path });
        }
        if key_path.exists() {
            return Err(AuthorityError::HalfRoot { path: key_path });
        }
        if ledger_path.exists() {
            return Err(AuthorityError::RootExists { path: ledger_path });
        }
        let validity = Validity::new(now(), lifetime_of_days(days)?, BACK_DATED)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let root_pem = profile::root(trust_domain, &Serial::random(), validity)?.self_signed(&key)?.pem();
        files::create_file(&key_path, key.serialize_pem().as_bytes(), PRIVATE)?;
        Ledger::open(&ledger_path, true)?;
        files::sync(dir)?;
        // The root certificate makes the folder an authority, so it is written last; only the revocation list follows,
        // which the root signs and which can be made again.
        files::create_file(&ca_path, root_pem.as_bytes(), PUBLIC)?;
        drop(lock);
        let authority = Self::open(dir)?;
        authority.refresh_crl(CRL_DAYS, &mut |_| ())?;
        Ok(authority)
    }

    /// Opens the authority in `dir`.
    ///
    /// # Errors
    /// There is none, its key does not match, or its files cannot be read.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let (ca_path, key_path) = (dir.join(CA_FILE), dir.join(CA_KEY_FILE));
        match (ca_path.exists(), key_path.exists()) {
            (true, true) => {}
            (true, false) => return Err(AuthorityError::NoKey { path: key_path }),
            (false, true) => return Err(AuthorityError::HalfRoot { path: key_path }),
            (false, false) => return Err(AuthorityError::NoRoot { path: ca_path, dir: dir.to_owned() }),
        }
        let content = |path: &Path, reason: String| AuthorityError::Content { path: path.to_owned(), reason };
        let root_pem = files::read_text(&ca_path, PEM_BYTES_MAX)?;
        let root_der = CertificateDer::from_pem_slice(root_pem.as_bytes())
            .map_err(|error| content(&ca_path, format!("no certificate in PEM: {}", pem_reason(&error))))?;
        let identity = |error| AuthorityError::Identity { path: ca_path.clone(), error };
        let root = certificate::parse(&root_der).map_err(identity)?;
        let uri = certificate::single_uri(&root).map_err(identity)?;
        let trust_domain = TrustDomain::from_uri(uri).map_err(identity)?;
        let key = KeyPair::from_pem(&files::read_text(&key_path, PEM_BYTES_MAX)?)
            .map_err(|error| content(&key_path, format!("no private key in PKCS#8 PEM: {error}")))?;
        if root.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(content(
                &key_path,
                "this is not the key of ca.pem; restore both from one backup".into(),
            ));
        }
        let root_end = timestamp(certificate::system_time(root.validity().not_after));
        let issuer = Issuer::from_ca_cert_der(&root_der, key)?;
        Ok(Self { dir: dir.to_owned(), trust_domain, issuer, root_pem, root_end })
    }

    /// The PKI folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root's trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// End of the root's validity.
    pub fn root_end(&self) -> Timestamp {
        self.root_end
    }

    /// The default folder of an identity.
    pub fn identity_dir(&self, identity: &Identity) -> PathBuf {
        let (role, name) = (identity.role().as_str(), identity.name().as_str());
        match identity.site() {
            Some(site) => self.dir.join("site").join(site.as_str()).join(role).join(name),
            None => self.dir.join(role).join(name),
        }
    }

    /// The contents of the ledger. Reports a torn last line and unreadable lines to `note`.
    ///
    /// # Errors
    /// The ledger's file cannot be read.
    pub fn history(&self, note: &mut dyn FnMut(String)) -> Result<History, AuthorityError> {
        let _lock = self.lock()?;
        self.ledger()?.read(note)
    }

    fn lock(&self) -> Result<File, AuthorityError> {
        lock(&self.dir)
    }

    fn ledger(&self) -> Result<Ledger, AuthorityError> {
        Ok(Ledger::open(&self.dir.join(LEDGER_FILE), false)?)
    }

    /// The current revocation list, if there is one.
    fn crl_pem(&self) -> Result<Option<Vec<u8>>, AuthorityError> {
        crl_pem(&self.dir)
    }

    /// Validity of a leaf. A default that would outlive the root is shortened to the root's end and reported to `note`;
    /// an explicit request that would is refused.
    fn validity(
        &self,
        start: Option<SystemTime>,
        wish: Option<Duration>,
        role: crate::Role,
        note: &mut dyn FnMut(String),
    ) -> Result<Validity, AuthorityError> {
        let (from, back_dated) = match start {
            Some(start) => (timestamp(start), Duration::ZERO),
            None => (now(), BACK_DATED),
        };
        let lifetime = wish.unwrap_or(DAY * default_days(role));
        let mut validity = Validity::new(from, lifetime, back_dated)?;
        if validity.not_after > self.root_end {
            let left = self.root_end.as_second().saturating_sub(from.as_second());
            let days_left = u64::try_from(left).unwrap_or(0) / DAY.as_secs();
            if wish.is_some() || left <= 0 {
                return Err(AuthorityError::OutlivesRoot { root_end: self.root_end, days_left });
            }
            note(format!("the root ends on {}, so this certificate ends then too", self.root_end));
            validity.not_after = self.root_end;
        }
        Ok(validity)
    }
}

/// The current revocation list of a PKI folder, if there is one.
fn crl_pem(dir: &Path) -> Result<Option<Vec<u8>>, AuthorityError> {
    let path = dir.join(CRL_FILE);
    match fs::read(&path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError { action: "read", path, error }.into()),
    }
}

/// Takes the exclusive lock of a PKI folder, waiting if necessary; it is held until the file is dropped.
fn lock(dir: &Path) -> Result<File, AuthorityError> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(FileError::at("open", &path))?;
    file.lock().map_err(FileError::at("lock", &path))?;
    Ok(file)
}

/// The current time in whole seconds, the resolution of certificates.
fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

/// A system time in whole seconds, clamped to the years 1970 to 9999.
fn timestamp(time: SystemTime) -> Timestamp {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX)
}
