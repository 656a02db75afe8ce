//! The bundled certificate authority: one root, its ledger, and the identities issued from it.
//!
//! A PKI folder holds `ca.pem`, `ca.key` (the root's key, mode 0600), `ledger.jsonl`, `crl.pem` and the
//! identities. The folder `site/S` of a site may be an authority of its own: `issuer.pem` (its issuing certificate),
//! `issuer.key`, and its own `ledger.jsonl` and `crl.pem`. Every change holds an exclusive lock on the authority's
//! `.lock`, so several processes may work at the same time; who needs both takes the root's lock first.
//! Issuing stages the complete identity folder, then makes its ledger entry durable, then publishes the folder.
//!
//! `lifetimes` defines how long certificates are valid, `profile` their contents, `key` the private keys, `ledger`
//! records what was done. `open` opens a root or a site's issuing certificate, `choose` says which, `site` and `root` make
//! them. `csr` reads signing requests, `public_key` and `certified_keys` say which keys are certified. `issue` makes one
//! identity, `bulk` and `sign_many` make many by way of `batch` and `hand_out`; `renew` and `renew_all`, `revoke`, `revoke_from` and
//! `reason` change them, and `unfinished` finishes what a crash interrupted. `lists`, `add`, `spread` and `copies` bring
//! revocation lists together and to the identities, `renew_lists` renews them, `anchors` the roots. `list` and `inspect` show, `export` writes PKCS#12; `error` is
//! why any of it failed.

mod add;
mod anchors;
mod batch;
mod bulk;
mod certified_keys;
mod choose;
mod copies;
mod csr;
mod error;
mod export;
mod hand_out;
mod inspect;
mod issue;
mod key;
mod ledger;
mod lifetimes;
mod list;
mod lists;
mod open;
mod profile;
mod public_key;
mod reason;
mod renew;
mod renew_all;
mod renew_lists;
mod revoke;
mod revoke_from;
mod root;
mod sign_many;
mod site;
mod spread;
mod unfinished;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

pub use add::{AddedLists, add_lists};
pub use anchors::{AnchorsReport, add_anchors};
pub use bulk::{BulkReport, DeviceRow, read_rows};
pub use choose::{authority_dir, by_authority, by_holder};
pub use error::AuthorityError;
pub use export::export_pkcs12;
pub use inspect::{Block, Inspection, inspect};
pub use issue::{IssueRequest, IssuedPaths};
pub use key::{KeyKind, KeyKindError, Passphrase, PassphraseError, Passphrases};
pub use ledger::{Entry, History, Issued, IssuerMade};
pub use lifetimes::{CRL_DAYS, DAYS_MAX, ROOT_DAYS, SITE_DAYS, default_days};
pub use list::{ListedCertificate, Status, list, list_table};
pub use open::{InitOptions, encrypt_key};
pub use profile::{Host, HostError, lifetime_of_days};
pub use reason::{ReasonError, RevocationReason};
pub use renew_all::{NotRenewed, RenewReport, RenewRequest, renewing};
pub use renew_lists::{ListLeft, ListRenewed, ListsReport, renew_lists};
pub use revoke::{RevokeReport, RevokeWhat};
pub use revoke_from::read_revocations;
pub use sign_many::{Refused, SignReport, SignRow, requests_from, requests_in};
pub use site::{SiteReport, SiteRequest, SiteStatus, sites};

pub use crate::files::FileError;
use crate::{
    Identity, TrustDomain,
    folder::{CA_FILE, CRL_FILE},
};
use ledger::Ledger;
use lifetimes::{BACK_DATED, DAY};
use profile::Validity;

const CA_KEY_FILE: &str = "ca.key";
/// The issuing certificate of a site.
const ISSUER_FILE: &str = "issuer.pem";
const ISSUER_KEY_FILE: &str = "issuer.key";
/// A key that will take the place of the present one.
const NEXT_KEY_FILE: &str = "next.key";
/// Folder of the sites in a PKI folder.
const SITES_DIR: &str = "site";
const LEDGER_FILE: &str = "ledger.jsonl";
const LOCK_FILE: &str = ".lock";

/// Maximum size of a PEM file with one certificate, key or request, in bytes.
const PEM_BYTES_MAX: u64 = 64 << 10;

/// An open certificate authority: a root, or the issuing certificate of a site.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    certificate: CertificateDer<'static>,
    /// `ca.pem`: the roots, its own first.
    anchors_pem: String,
    anchors: Vec<CertificateDer<'static>>,
    /// End of its own certificate's validity.
    end: Timestamp,
    /// `None`: a root.
    site: Option<SiteIssuer>,
    /// The passphrase of its key's file, if that is encrypted.
    passphrase: Option<Passphrase>,
}

/// What only the authority of a site has.
#[derive(Debug)]
struct SiteIssuer {
    name: Name,
    /// Its issuing certificate, which follows each leaf.
    pem: String,
}

impl Authority {
    /// The folder of its ledger and key: a PKI folder, or the folder of a site.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root's trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// End of the validity of the root, or of the site's issuing certificate.
    pub fn root_end(&self) -> Timestamp {
        self.end
    }

    /// The site that it issues for; `None`: it is a root and issues for all.
    pub fn site(&self) -> Option<&Name> {
        self.site.as_ref().map(|site| &site.name)
    }

    /// Whether its key's file is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.passphrase.is_some()
    }

    /// The PKI folder that this authority's folder lies in, if it is a site's and the PKI folder is there.
    fn pki(&self) -> Option<PathBuf> {
        self.site.as_ref().and_then(|_| pki_of_site(&self.dir))
    }

    /// The default folder of an identity.
    pub fn identity_dir(&self, identity: &Identity) -> PathBuf {
        let (role, name) = (identity.role().as_str(), identity.name().as_str());
        match identity.site() {
            Some(_) if self.site.is_some() => self.dir.join(role).join(name),
            Some(site) => site_dir(&self.dir, site).join(role).join(name),
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

    /// Validity of a leaf. A default that would outlive the issuer is shortened to the issuer's end and reported to
    /// `note`; an explicit request that would is refused.
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
        let validity = Validity::new(from, wish.unwrap_or(DAY * default_days(role)), back_dated)?;
        self.within(validity, from, wish.is_some(), note)
    }

    /// A validity that does not outlive this authority's certificate; see [`Self::validity`].
    fn within(
        &self,
        mut validity: Validity,
        from: Timestamp,
        explicit: bool,
        note: &mut dyn FnMut(String),
    ) -> Result<Validity, AuthorityError> {
        if validity.not_after > self.end {
            let left = self.end.as_second().saturating_sub(from.as_second());
            let days_left = u64::try_from(left).unwrap_or(0) / DAY.as_secs();
            let issuer = match &self.site {
                None => "the root".to_owned(),
                Some(site) => format!("the issuing certificate of site {}", site.name),
            };
            if explicit || left <= 0 {
                let cure = match &self.site {
                    None => "prepare a new root with `catchment-certs root prepare`".to_owned(),
                    Some(site) => format!("renew it with `catchment-certs site renew --site {}`", site.name),
                };
                return Err(AuthorityError::OutlivesIssuer { issuer, end: self.end, days_left, cure });
            }
            note(format!("{issuer} ends on {}, so this certificate ends then too", self.end));
            validity.not_after = self.end;
        }
        Ok(validity)
    }
}

/// The folder of a site in a PKI folder.
fn site_dir(pki: &Path, site: &Name) -> PathBuf {
    pki.join(SITES_DIR).join(site.as_str())
}

/// The PKI folder that the folder of a site lies in, if it is there.
fn pki_of_site(dir: &Path) -> Option<PathBuf> {
    let dir = fs::canonicalize(dir).ok()?;
    let sites = dir.parent().filter(|parent| parent.ends_with(SITES_DIR))?;
    let pki = sites.parent()?;
    (pki.join(CA_FILE).is_file() && pki.join(LEDGER_FILE).is_file()).then(|| pki.to_owned())
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
