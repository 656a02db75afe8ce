//! Exports an identity as PKCS#12, for browsers, Windows and other programs that take one file with a passphrase.

use std::path::Path;

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use pkcs8::der::zeroize::Zeroizing;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use super::{AuthorityError, Passphrase, open::read_anchors};
use crate::{
    IdentityFolder,
    certificate::{self, Peer},
    files::{self, PRIVATE},
    folder::{CA_FILE, CERT_FILE, KEY_FILE},
    pem_text::without_mark,
};

/// Rounds of the key derivation. Importing programs run them, twice.
const ROUNDS: u32 = 100_000;

/// Writes key, chain and root of an identity folder into a new PKCS#12 file with mode 0600 (AES-256, HMAC-SHA-256).
///
/// # Errors
/// The folder is not a complete identity, the file exists, or it cannot be written.
pub fn export_pkcs12(dir: &Path, file: &Path, passphrase: &Passphrase) -> Result<Peer, AuthorityError> {
    let content = |name: &str, reason: String| AuthorityError::Content { path: dir.join(name), reason };
    let folder = IdentityFolder::load(dir).map_err(|error| AuthorityError::Folder(Box::new(error)))?;
    let encode = |error: p12_keystore::error::Error| AuthorityError::Encode {
        what: "PKCS#12",
        reason: error.to_string(),
    };
    let key_pem = Zeroizing::new(files::read_bytes(&dir.join(KEY_FILE), super::PEM_BYTES_MAX)?);
    let key = PrivatePkcs8KeyDer::from_pem_slice(without_mark(&key_pem)).map_err(|_| {
        let reason = "not in PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt`".to_owned();
        content(KEY_FILE, reason)
    })?;
    let key = PrivateKey::from_der(key.secret_pkcs8_der()).map_err(encode)?;
    let cert_pem = files::read_bytes(&dir.join(CERT_FILE), super::PEM_BYTES_MAX)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(without_mark(&cert_pem))
        .collect::<Result<_, _>>()
        .map_err(|error| content(CERT_FILE, crate::folder::pem_reason(&error)))?;
    let (anchors, _) = read_anchors(&dir.join(CA_FILE))?;
    let last = chain.last().and_then(|last| certificate::parse(last).ok());
    let root = anchors.iter().find(|anchor| {
        let root = certificate::parse(anchor).ok();
        last.as_ref()
            .zip(root)
            .is_some_and(|(last, root)| last.verify_signature(Some(root.public_key())).is_ok())
    });
    let certs: Vec<Certificate> = chain
        .iter()
        .chain(root)
        .map(|der| Certificate::from_der(der))
        .collect::<Result<_, _>>()
        .map_err(encode)?;
    let peer = folder.peer().clone();
    let mut store = KeyStore::new();
    let entry = PrivateKeyChain::new(peer.serial.as_bytes(), key, certs);
    store.add_entry(&peer.identity.to_string(), KeyStoreEntry::PrivateKeyChain(entry));
    let writer = store.writer(passphrase.as_str());
    let bytes = writer.encryption_iterations(ROUNDS).mac_iterations(ROUNDS).write().map_err(encode)?;
    files::create_file(file, &Zeroizing::new(bytes), PRIVATE)?;
    Ok(peer)
}
