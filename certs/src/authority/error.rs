//! Why the authority could not do what it was asked.

use std::path::PathBuf;

use catchment_proto::id::Name;
use jiff::Timestamp;

use super::{lifetimes::DAYS_MAX, reason::RevocationReason};
use crate::{Identity, IdentityError, Serial, files::FileError};

/// Why an operation of the authority failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The folder has no root.
    #[error("{path} is missing, so there is no root here; make one with `catchment-certs init --dir {dir}`")]
    NoRoot {
        /// The root's certificate or key.
        path: PathBuf,
        /// The PKI folder.
        dir: PathBuf,
    },
    /// The folder has the root's certificate without its key.
    #[error(
        "{path} is missing next to ca.pem: restore it from a backup, or work in the folder that has it; if it is lost, make a new root in \
         another folder (`catchment-certs init --dir NEW`) and issue every identity again there"
    )]
    NoKey {
        /// The root's key.
        path: PathBuf,
    },
    /// The folder already has a root.
    #[error("{path} exists, and a root is never overwritten; choose another --dir")]
    RootExists {
        /// The existing file.
        path: PathBuf,
    },
    /// The folder has a root's key without its certificate.
    #[error(
        "{path} exists without a ca.pem next to it: put ca.pem back, or if an `init` was interrupted, remove the folder"
    )]
    HalfRoot {
        /// The root's key.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file's contents are invalid.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The location of a new identity is occupied.
    #[error(
        "{path} exists, and an identity is never overwritten; `catchment-certs renew` makes a new certificate for it"
    )]
    IdentityExists {
        /// The existing file.
        path: PathBuf,
    },
    /// A server's certificate without host names would be useless.
    #[error(
        "a certificate for {0} needs at least one --host, the DNS name or IP address that peers connect to"
    )]
    NoHost(Identity),
    /// A client's certificate names no hosts.
    #[error("a certificate for {0} names no hosts, because it accepts no connections; leave --host out")]
    Hosts(Identity),
    /// The requested validity is zero or too long.
    #[error("a validity of {days} days is not possible; use 1 to {DAYS_MAX}")]
    Days {
        /// The requested validity.
        days: u64,
    },
    /// The certificate would outlive its issuer.
    #[error(
        "{issuer} ends on {end}, before the certificate would; use --days {days_left} or less, or {cure}"
    )]
    OutlivesIssuer {
        /// The issuer.
        issuer: String,
        /// End of its validity.
        end: Timestamp,
        /// Whole days until then.
        days_left: u64,
        /// How to get a longer one.
        cure: String,
    },
    /// The authority of a site was asked for an identity of somewhere else.
    #[error(
        "{} issues for devices and gateways of site {site} only, not for {wanted}; use the folder of the root, or of its site", dir.display()
    )]
    OtherSite {
        /// The folder of the site.
        dir: PathBuf,
        /// Its site.
        site: Name,
        /// What was asked for.
        wanted: String,
    },
    /// Something that only a root does was asked of the authority of a site.
    #[error("{} is the folder of site {site}, not of a root: {action} needs the folder with ca.key", dir.display())]
    NotRoot {
        /// The folder of the site.
        dir: PathBuf,
        /// Its site.
        site: Name,
        /// What was asked for.
        action: &'static str,
    },
    /// A root of an earlier version may sign leaves only.
    #[error(
        "the root in {path} may sign no issuing certificates (path length 0, made by an earlier version); run \
         `catchment-certs root prepare --dir {}`, and then see docs/certificates.md, \"A new root\"", dir.display()
    )]
    PathLength {
        /// The root.
        path: PathBuf,
        /// The PKI folder.
        dir: PathBuf,
    },
    /// The site has no issuing certificate.
    #[error(
        "{path} is missing, so site {site} has no issuing certificate; make one with `catchment-certs site add --site {site}`"
    )]
    NoSite {
        /// The missing file.
        path: PathBuf,
        /// The site.
        site: Name,
    },
    /// The site has an issuing certificate.
    #[error(
        "{path} exists, and `site add` overwrites nothing; `catchment-certs site renew` makes a new issuing certificate"
    )]
    SiteExists {
        /// The existing file.
        path: PathBuf,
    },
    /// A folder is not a complete identity.
    #[error(transparent)]
    Folder(Box<crate::FolderError>),
    /// This build makes no RSA keys.
    #[error(
        "this build (feature `ring`) cannot make RSA keys; make key and request with `openssl req -newkey rsa:3072`, then use `sign`"
    )]
    NoRsa,
    /// A key cannot be encrypted.
    #[error("cannot encrypt the key: {0}")]
    Encrypt(String),
    /// A file cannot be encoded.
    #[error("cannot encode {what}: {reason}")]
    Encode {
        /// What was to be encoded.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The ledger has no certificate that matches the request to revoke or renew.
    #[error("the ledger {path} has no certificate {what}; see `catchment-certs list`")]
    Unknown {
        /// The ledger.
        path: PathBuf,
        /// What was requested.
        what: String,
    },
    /// A revoked certificate is not renewed.
    #[error(
        "certificate {serial} of {identity} is revoked and cannot be renewed; remove {dir} and issue the identity again, with a new key"
    )]
    Revoked {
        /// Its serial number.
        serial: Serial,
        /// Its identity.
        identity: Identity,
        /// The identity's folder.
        dir: PathBuf,
    },
    /// A certificate of the key was revoked.
    #[error(
        "this key is not certified again: its certificate {serial} of {holder} was revoked (reason {reason}); make a new key"
    )]
    KeyRevoked {
        /// The revoked certificate.
        serial: Serial,
        /// Its holder.
        holder: Identity,
        /// Why it was revoked.
        reason: RevocationReason,
    },
    /// The key belongs to another identity.
    #[error("this key belongs to {holder}, and two identities never share a key; make a new key")]
    KeyTaken {
        /// The other identity, which has a valid certificate.
        holder: Identity,
    },
    /// A certificate names another identity than expected, or none.
    #[error("{path}: {error}")]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        error: IdentityError,
    },
    /// The cryptography library returned an error.
    #[error("cannot make the certificate: {0}")]
    Crypto(#[from] rcgen::Error),
}
