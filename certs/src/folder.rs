//! An identity is a folder: `cert.pem` (leaf, then the issuing certificate of its site, if that issued it), `key.pem`
//! (PKCS#8, mode 0600), `ca.pem` (roots) and `crl.pem` (revocation lists, and the issuing certificates of sites that
//! signed some of them).
//!
//! Loading checks everything that can be checked without a peer, and names the file that is wrong: a folder that loads
//! gives a working TLS configuration. Each file is read up to a bound.

mod error;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustix::fs::OFlags;
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject, SectionKind},
    },
    sign::CertifiedKey,
};

pub use self::error::FolderError;
use crate::{
    anchors::Anchors,
    certificate::Peer,
    chain::{peer_from_chain, without_anchors},
    failure::certificate_words,
    identity::Role,
    pem_text::{Wanted, found_instead, without_mark},
    provider::provider,
    revocation::{Merged, RevocationError, Revocations},
    self_check::validity,
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
    anchors: Anchors,
    crl_file: CrlFile,
    revocations: Revocations,
    refused_lists: Vec<RevocationError>,
}

/// The blocks of a `crl.pem`; nothing in it is verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrlFile {
    /// Revocation lists, DER.
    pub(crate) lists: Vec<Vec<u8>>,
    /// Certificates beside them: issuing certificates of sites that signed some of the lists.
    pub(crate) issuers: Vec<CertificateDer<'static>>,
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
        let anchors: Vec<CertificateDer<'static>> = pem_blocks(&dir.join(CA_FILE), "trust anchor")?;
        let own = without_anchors(&chain, &anchors);
        let mut peer =
            peer_from_chain(own).map_err(|error| FolderError::Identity { path: cert_path.clone(), error })?;
        let (anchors, roots) = anchors_of(&dir.join(CA_FILE), anchors.clone(), &peer)?;
        peer.root = anchors.signer_of(own).map(|root| root.key.clone());
        if peer.not_after < SystemTime::now() {
            tracing::warn!(path = %cert_path.display(), "this certificate has expired; peers will refuse it until it is renewed");
        }
        let certified_key = Arc::new(load_key(&dir.join(KEY_FILE), chain)?);
        let crl_file = load_crls(&dir.join(CRL_FILE))?;
        let mut folder = Self {
            dir: dir.to_owned(),
            peer,
            certified_key,
            roots: Arc::new(roots),
            anchors,
            crl_file,
            revocations: Revocations::default(),
            refused_lists: Vec::new(),
        };
        let merged = folder.merged_into(&Revocations::default());
        folder.revocations = merged.revocations;
        folder.refused_lists = merged.refused.into_iter().map(|(_, error)| error).collect();
        for (found, known) in merged.older {
            let path = dir.join(CRL_FILE);
            tracing::info!(path = %path.display(), found, known, "a revocation list beside a newer one of its issuer is ignored");
        }
        folder.warn_of_lists();
        Ok(folder)
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
    pub(crate) fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Start of the validity of its certificate and its issuer's.
    pub(crate) fn valid_from(&self) -> SystemTime {
        validity(without_anchors(&self.certified_key.cert, self.anchors.certificates()))
            .map_or(SystemTime::UNIX_EPOCH, |(start, _)| start)
    }

    /// The lists of `crl.pem` that count.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Why other lists of `crl.pem` do not count.
    pub(crate) fn refused_lists(&self) -> &[RevocationError] {
        &self.refused_lists
    }

    /// The blocks of `crl.pem`.
    pub(crate) fn crl_file(&self) -> &CrlFile {
        &self.crl_file
    }

    /// Drops the blocks of `crl.pem`: the lists among them that count are in [`Self::revocations`].
    pub(crate) fn drop_crl_file(&mut self) {
        self.crl_file = CrlFile::default();
    }

    /// Known lists and those of `crl.pem`, as far as they are signed below these roots.
    pub(crate) fn merged_into(&self, known: &Revocations) -> Merged {
        let lists: Vec<&[u8]> = self.crl_file.lists.iter().map(Vec::as_slice).collect();
        known.merged(self.anchors.certificates(), &lists, &self.crl_file.issuers)
    }

    /// Whether certificate, key and trust anchors are those of another folder; the lists may differ.
    pub(crate) fn has_certificates_of(&self, other: &Self) -> bool {
        // The key belongs to the certificate.
        self.anchors.certificates() == other.anchors.certificates()
            && self.certified_key.cert == other.certified_key.cert
    }

    fn warn_of_lists(&self) {
        let path = self.dir.join(CRL_FILE);
        for error in &self.refused_lists {
            tracing::warn!(path = %path.display(), %error, "a revocation list does not count");
        }
        if self.revocations.ends().is_some_and(|ends| ends < SystemTime::now()) {
            tracing::warn!(path = %path.display(), "this revocation list is out of date; renew it with `catchment-certs crl`");
        }
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

/// The checked trust anchors of an identity, also as the TLS library wants them.
fn anchors_of(
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
    peer: &Peer,
) -> Result<(Anchors, RootCertStore), FolderError> {
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| FolderError::Content {
            path: path.to_owned(),
            expected: "trust anchor",
            reason: match &error {
                rustls::Error::InvalidCertificate(error) => certificate_words(error),
                other => other.to_string(),
            },
        })?;
    }
    let anchors = Anchors::read(certificates, Some(&peer.trust_domain)).map_err(|error| {
        FolderError::Anchor { path: path.to_owned(), subject: error.subject, reason: error.reason }
    })?;
    for defect in anchors.roots().iter().filter_map(|root| root.defect(SystemTime::now())) {
        tracing::warn!(path = %path.display(), "{defect}: it does not count");
    }
    Ok((anchors, store))
}

/// The blocks of a file of revocation lists; none if there is no file.
fn load_crls(path: &Path) -> Result<CrlFile, FolderError> {
    match read(path) {
        Err(FolderError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            Ok(CrlFile::default())
        }
        Err(error) => Err(error),
        Ok(pem) => CrlFile::read(&pem).map_err(|reason| FolderError::Content {
            path: path.to_owned(),
            expected: "revocation list (remove the file if there is none)",
            reason,
        }),
    }
}

impl CrlFile {
    /// Reads PEM: at least one list, and certificates.
    pub(crate) fn read(pem: &[u8]) -> Result<Self, String> {
        let mut file = Self::default();
        for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(without_mark(pem)) {
            match block.map_err(|error| pem_reason(&error))? {
                (SectionKind::Crl, der) => file.lists.push(der),
                (SectionKind::Certificate, der) => file.issuers.push(der.into()),
                _ => {}
            }
        }
        if file.lists.is_empty() {
            let found = found_instead(pem, Wanted::List);
            return Err(found.unwrap_or_else(|| pem_reason(&pem::Error::NoItemsFound)));
        }
        Ok(file)
    }
}

/// All PEM blocks of one kind in a file; at least one.
fn pem_blocks<T: PemObject>(path: &Path, expected: &'static str) -> Result<Vec<T>, FolderError> {
    let content = |reason: String| FolderError::Content { path: path.to_owned(), expected, reason };
    let bytes = read(path)?;
    let blocks = T::pem_slice_iter(without_mark(&bytes))
        .collect::<Result<Vec<T>, pem::Error>>()
        .map_err(|error| content(pem_reason(&error)))?;
    if blocks.is_empty() {
        let found = found_instead(&bytes, Wanted::Certificate);
        return Err(content(found.unwrap_or_else(|| pem_reason(&pem::Error::NoItemsFound))));
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
    // Nonblocking: opening a named pipe would otherwise wait for somebody to write to it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(FolderError::TooLarge { path: path.to_owned() });
    }
    Ok(content)
}
