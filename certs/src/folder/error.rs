//! Why a folder is not a valid identity.

use std::{io, path::PathBuf};

use crate::{
    failure::key_words,
    identity::{Identity, IdentityError, Role},
    self_check::SelfCheckError,
};

/// Why a folder is not a valid identity. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file is missing or cannot be read.
    #[error(
        "cannot read {path}: {error}; an identity folder holds cert.pem, key.pem and ca.pem, as made by `catchment-certs issue`"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file is larger than the bound.
    #[error("{path} is larger than 16 MiB; put only PEM blocks into it")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file's contents are invalid.
    #[error("{path} holds no {expected}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The expected contents.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Everybody can read the private key.
    #[error("{path} can be read by every user of this machine (mode {mode:04o}); run: chmod 600 {path}")]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate among the trust anchors is no root of this trust domain.
    #[error("{path}: the certificate {subject:?} may not be there: {reason}")]
    Anchor {
        /// The file.
        path: PathBuf,
        /// The certificate's subject.
        subject: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Key and certificate do not match, or the key is of an unsupported kind.
    #[error(
        "{path} cannot be used with the certificate next to it: {}; issue the identity again",
        key_words(error)
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// The certificate names no identity.
    #[error("{path}: {error}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: IdentityError,
    },
    /// The identity is of another role.
    #[error("{}: this is the identity of {found}, not of {}", dir.display(), needed.with_article())]
    Role {
        /// The identity's folder.
        dir: PathBuf,
        /// Whose it is.
        found: Identity,
        /// The role that was asked for.
        needed: Role,
    },
    /// The folder of a running program now holds another identity.
    #[error(
        "{path} is the certificate of {found}, but this is running as {running}; stop it first to change its identity"
    )]
    OtherIdentity {
        /// The certificate.
        path: PathBuf,
        /// The identity's URI in the folder.
        found: String,
        /// The URI of the identity that runs.
        running: String,
    },
    /// Peers would refuse the identity.
    #[error(transparent)]
    Standing(#[from] SelfCheckError),
}
