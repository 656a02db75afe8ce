//! Why the authority could not do what it was asked.

use std::path::PathBuf;

use jiff::Timestamp;

use super::lifetimes::DAYS_MAX;
use crate::{Identity, IdentityError, Serial, files::FileError};

/// Why the authority could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no root in the folder.
    #[error("{path} is missing, so there is no root here; make one with `catchment-certs init --dir {dir}`")]
    NoRoot {
        /// The root's certificate or key.
        path: PathBuf,
        /// The PKI folder.
        dir: PathBuf,
    },
    /// The root's certificate is there without its key.
    #[error(
        "{path} is missing beside ca.pem: bring it back from its backup, or work in the folder that has it; if it is lost, make a new root in \
         another folder (`catchment-certs init --dir NEW`) and issue every identity again there"
    )]
    NoKey {
        /// The root's key.
        path: PathBuf,
    },
    /// There is a root in the folder already.
    #[error("{path} exists, and a root is never overwritten; choose another --dir")]
    RootExists {
        /// What is there.
        path: PathBuf,
    },
    /// The folder has a root's key without its certificate.
    #[error(
        "{path} exists without a ca.pem beside it: put ca.pem back, or if an `init` was interrupted, remove the folder"
    )]
    HalfRoot {
        /// The root's key.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The place of a new identity is taken.
    #[error(
        "{path} exists, and an identity is never overwritten; `catchment-certs renew` makes a new certificate for it"
    )]
    IdentityExists {
        /// What is there.
        path: PathBuf,
    },
    /// A server's certificate without host names would be of no use.
    #[error(
        "a certificate for {0} needs at least one --host, the DNS name or IP address that others connect to"
    )]
    NoHost(Identity),
    /// A client's certificate names no hosts.
    #[error("a certificate for {0} names no hosts, since nobody connects to it; leave --host out")]
    Hosts(Identity),
    /// The validity asked for is zero or too long.
    #[error("a validity of {days} days is not possible; use 1 to {DAYS_MAX}")]
    Days {
        /// What was asked for.
        days: u64,
    },
    /// The certificate would outlive its root.
    #[error(
        "the root ends on {root_end}, before the certificate would; use --days {days_left} or less, or make a new root"
    )]
    OutlivesRoot {
        /// The root's end.
        root_end: Timestamp,
        /// Whole days until then.
        days_left: u64,
    },
    /// Nothing in the ledger fits what is to be revoked or renewed.
    #[error("the ledger {path} knows no certificate {what}; see `catchment-certs list`")]
    Unknown {
        /// The ledger.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// A revoked certificate is not renewed.
    #[error(
        "certificate {serial} of {identity} is revoked and is not renewed; remove {dir} and issue the identity again, with a new key"
    )]
    Revoked {
        /// Its serial number.
        serial: Serial,
        /// Whose it is.
        identity: Identity,
        /// The identity's folder.
        dir: PathBuf,
    },
    /// A certificate names another identity than expected, or none.
    #[error("{path}: {error}")]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        error: IdentityError,
    },
    /// The cryptography library refused.
    #[error("cannot make the certificate: {0}")]
    Crypto(#[from] rcgen::Error),
}
