//! Why the authority could not do what it was asked.

use std::path::PathBuf;

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
    /// The certificate would outlive its root.
    #[error(
        "the root ends on {root_end}, before the certificate would; use --days {days_left} or less, or make a new root"
    )]
    OutlivesRoot {
        /// End of the root's validity.
        root_end: Timestamp,
        /// Whole days until then.
        days_left: u64,
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
