//! An identity is a folder: `cert.pem` (leaf, then intermediates), `key.pem` (PKCS#8, mode 0600), `ca.pem`
//! (trust anchors) and optionally `crl.pem` (revocation lists).
//!
//! Loading checks everything that can be checked without a peer, and names the file that is wrong: a folder that loads
//! gives a working TLS configuration. Each file is read up to a bound.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use crate::{
    certificate::{Peer, peer_from_certificate, system_time},
    identity::{Identity, IdentityError, Role},
    pem_text::{Wanted, found_instead, without_mark},
    provider::provider,
    self_check::SelfCheckError,
};

/// File name of the certificate chain.
pub const CERT_FILE: &str = "cert.pem";
/// File name of the private key.
pub const KEY_FILE: &str = "key.pem";
/// File name of the trust anchors.
pub const CA_FILE: &str = "ca.pem";
/// File name of the revocation lists.
pub const CRL_FILE: &str = "crl.pem";

/// Maximum file size in bytes: enough for a revocation list of some 400,000 certificates.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A loaded and checked identity.
#[derive(Clone, Debug)]
pub struct IdentityFolder {
    dir: PathBuf,
    peer: Peer,
    certified_key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    anchors: Vec<CertificateDer<'static>>,
    crls: Vec<CertificateRevocationListDer<'static>>,
}

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
    /// Key and certificate do not match, or the key is of an unsupported kind.
    #[error("{path} cannot be used with the certificate next to it: {error}; issue the identity again")]
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
    /// Peers would refuse the identity.
    #[error(transparent)]
    Standing(#[from] SelfCheckError),
}

impl IdentityFolder {
    /// Loads and checks an identity.
    ///
    /// A key that the file's group can read, an expired certificate and an expired revocation list are logged as
    /// warnings, not refused: containers mount secrets with such a mode, and the others change with time while the
    /// program runs. Does not check whether peers would accept the identity: see [`IdentityFolder::load_in_force`].
    ///
    /// # Errors
    /// The first file that is missing, unreadable or does not fit the others.
    pub fn load(dir: &Path) -> Result<Self, FolderError> {
        let cert_path = dir.join(CERT_FILE);
        let chain: Vec<CertificateDer<'static>> = pem_blocks(&cert_path, "certificate")?;
        let leaf = chain.first().ok_or_else(|| FolderError::Content {
            path: cert_path.clone(),
            expected: "certificate",
            reason: "it is empty".to_owned(),
        })?;
        let peer = peer_from_certificate(leaf)
            .map_err(|error| FolderError::Identity { path: cert_path.clone(), error })?;
        if peer.not_after < SystemTime::now() {
            tracing::warn!(path = %cert_path.display(), "this certificate has expired; peers will refuse it until it is renewed");
        }
        let certified_key = Arc::new(load_key(&dir.join(KEY_FILE), chain)?);
        let anchors = pem_blocks(&dir.join(CA_FILE), "trust anchor")?;
        let roots = Arc::new(roots_of(&dir.join(CA_FILE), &anchors)?);
        let crls = load_crls(&dir.join(CRL_FILE))?;
        Ok(Self { dir: dir.to_owned(), peer, certified_key, roots, anchors, crls })
    }

    /// Loads an identity of this role, as [`IdentityFolder::load`].
    ///
    /// # Errors
    /// As [`IdentityFolder::load`], or another role.
    pub fn load_of(dir: &Path, needed: Role) -> Result<Self, FolderError> {
        let folder = Self::load(dir)?;
        let found = &folder.peer.identity;
        if found.role() == needed {
            Ok(folder)
        } else {
            Err(FolderError::Role { dir: dir.to_owned(), found: found.clone(), needed })
        }
    }

    /// The identity's own peer information.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The folder that it was loaded from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn certified_key(&self) -> CertifiedKey {
        CertifiedKey::clone(&self.certified_key)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// The root certificates.
    pub(crate) fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    pub(crate) fn crls(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.crls.clone()
    }
}

fn load_key(path: &Path, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, FolderError> {
    let metadata = fs::metadata(path).map_err(|error| FolderError::Read { path: path.to_owned(), error })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(FolderError::KeyMode { path: path.to_owned(), mode });
    }
    if mode & 0o070 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:04o}"), "this private key is readable by its group");
    }
    let content = read(path)?;
    let key =
        PrivateKeyDer::from_pem_slice(without_mark(&content)).map_err(|error| FolderError::Content {
            path: path.to_owned(),
            expected: "unencrypted private key",
            reason: found_instead(&content, Wanted::Key).unwrap_or_else(|| pem_reason(&error)),
        })?;
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| FolderError::Key { path: path.to_owned(), error })
}

fn roots_of(path: &Path, anchors: &[CertificateDer<'static>]) -> Result<RootCertStore, FolderError> {
    let mut roots = RootCertStore::empty();
    for certificate in anchors {
        roots.add(certificate.clone()).map_err(|error| FolderError::Content {
            path: path.to_owned(),
            expected: "trust anchor",
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn load_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FolderError> {
    const EXPECTED: &str = "revocation list (remove the file if there is none)";
    if let Err(error) = fs::metadata(path)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(Vec::new());
    }
    let crls: Vec<CertificateRevocationListDer<'static>> = pem_blocks(path, EXPECTED)?;
    for crl in &crls {
        let (_, list) = CertificateRevocationList::from_der(crl.as_ref()).map_err(|error| {
            FolderError::Content { path: path.to_owned(), expected: EXPECTED, reason: error.to_string() }
        })?;
        if list.next_update().is_some_and(|time| system_time(time) < SystemTime::now()) {
            tracing::warn!(path = %path.display(), "this revocation list is out of date; renew it with `catchment-certs crl`");
        }
    }
    Ok(crls)
}

/// All PEM blocks of one kind in a file; at least one.
fn pem_blocks<T: PemObject>(path: &Path, expected: &'static str) -> Result<Vec<T>, FolderError> {
    let content = |reason: String| FolderError::Content { path: path.to_owned(), expected, reason };
    let bytes = read(path)?;
    let blocks = T::pem_slice_iter(without_mark(&bytes))
        .collect::<Result<Vec<T>, pem::Error>>()
        .map_err(|error| content(pem_reason(&error)))?;
    if blocks.is_empty() {
        let wanted = if path.ends_with(CRL_FILE) { Wanted::List } else { Wanted::Certificate };
        let reason = found_instead(&bytes, wanted).unwrap_or_else(|| pem_reason(&pem::Error::NoItemsFound));
        return Err(content(reason));
    }
    Ok(blocks)
}

/// Describes a PEM error, without the bytes that the library would list as numbers.
pub(crate) fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it has no such PEM block".to_owned(),
        pem::Error::MissingSectionEnd { .. } => "a PEM block has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line of PEM is malformed".to_owned(),
        pem::Error::Base64Decode(_) => "a PEM block is not valid base64".to_owned(),
        other => other.to_string(),
    }
}

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes.
fn read(path: &Path) -> Result<Vec<u8>, FolderError> {
    let failed = |error| FolderError::Read { path: path.to_owned(), error };
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(FolderError::TooLarge { path: path.to_owned() });
    }
    Ok(content)
}
