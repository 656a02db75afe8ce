//! Private keys of authorities and identities: their kinds, and their files, plain or encrypted.
//!
//! An encrypted key is PKCS#8 with PBES2: PBKDF2 with HMAC-SHA-256 and AES-256-CBC, which `openssl pkcs8` reads. Any
//! other PBES2 key, such as one with scrypt, is read too.

mod encryption;

use std::{fmt, path::Path, str::FromStr};

use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef,
    der::{SecretDocument, zeroize::Zeroizing},
    pkcs5::pbes2,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};

use super::{AuthorityError, PEM_BYTES_MAX};
use crate::{
    files,
    pem_text::{Wanted, found_instead},
};

/// PEM label of an encrypted key.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Rounds of PBKDF2 for new keys, as OWASP recommends for HMAC-SHA-256.
const KDF_ROUNDS: u32 = 600_000;

/// Minimum length of a new passphrase, in bytes.
const PASSPHRASE_BYTES_MIN: usize = 8;

/// The kind of a new key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on the curve P-256.
    #[default]
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// RSA with 3,072 bits, for peers without elliptic curves. A build with the feature `ring` cannot make it.
    Rsa3072,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::Rsa3072];

    /// The kind in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa3072 => "rsa3072",
        }
    }

    /// Makes a key.
    pub(super) fn generate(self) -> Result<KeyPair, AuthorityError> {
        match self {
            Self::P256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
            Self::P384 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?),
            Self::Rsa3072 => generate_rsa(),
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
fn generate_rsa() -> Result<KeyPair, AuthorityError> {
    Ok(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_3072)?)
}

#[cfg(not(feature = "aws-lc-rs"))]
fn generate_rsa() -> Result<KeyPair, AuthorityError> {
    // Answers that it cannot.
    KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|_| AuthorityError::NoRsa)
}

/// A text that is not a [`KeyKind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of key {0:?}: use p256, p384 or rsa3072")]
pub struct KeyKindError(String);

impl FromStr for KeyKind {
    type Err = KeyKindError;

    fn from_str(text: &str) -> Result<Self, KeyKindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| KeyKindError(text.to_owned()))
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A passphrase; overwritten in memory when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase from the first line of a text.
    ///
    /// # Errors
    /// The line is empty.
    pub fn new(text: String) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text);
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Self(Zeroizing::new(line.to_owned()))),
            _ => Err(PassphraseError::Empty),
        }
    }

    /// Checks that a new key may be encrypted with it.
    ///
    /// # Errors
    /// It is shorter than eight bytes.
    pub fn for_new_key(self) -> Result<Self, PassphraseError> {
        if self.0.len() < PASSPHRASE_BYTES_MIN { Err(PassphraseError::Short) } else { Ok(self) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why a text is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// There is none.
    #[error("the passphrase is empty")]
    Empty,
    /// It is too short for a new key.
    #[error("the passphrase is shorter than {PASSPHRASE_BYTES_MIN} characters; use several words")]
    Short,
}

/// Answers which passphrase a key file has; asked only for keys that are encrypted. Errors are texts for people.
pub type Passphrases<'a> = &'a mut dyn FnMut(&Path) -> Result<Passphrase, String>;

/// For keys that are not encrypted: there is no passphrase.
pub(super) fn no_passphrase(_: &Path) -> Result<Passphrase, String> {
    Err("the key is encrypted; give its passphrase with --passphrase-file FILE, with the environment variable \
         CATCHMENT_CERTS_PASSPHRASE_FILE, or at a terminal"
        .to_owned())
}

/// A private key, and how its file holds it.
pub(super) struct StoredKey {
    pub(super) key: KeyPair,
    /// The passphrase, if the file is encrypted.
    pub(super) passphrase: Option<Passphrase>,
}

/// Reads a private key in PEM.
pub(super) fn read(path: &Path, passphrases: Passphrases<'_>) -> Result<StoredKey, AuthorityError> {
    let text = Zeroizing::new(files::read_text(path, PEM_BYTES_MAX)?);
    let content = |reason: String| AuthorityError::Content { path: path.to_owned(), reason };
    if !is_encrypted(&text) {
        let key = KeyPair::from_pem(&text).map_err(|error| {
            let found = found_instead(text.as_bytes(), Wanted::Key).unwrap_or_else(|| error.to_string());
            content(format!("no private key in PKCS#8 PEM: {found}"))
        })?;
        return Ok(StoredKey { key, passphrase: None });
    }
    let (_, document) = SecretDocument::from_pem(text.trim_start())
        .map_err(|error| content(format!("a damaged encrypted key: {error}; restore it from a backup")))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| content(encryption::unreadable(document.as_bytes(), &error)))?;
    encryption::check(&encrypted.encryption_algorithm).map_err(content)?;
    let passphrase = passphrases(path).map_err(content)?;
    let plain =
        encrypted.decrypt(passphrase.as_str()).map_err(|error| content(encryption::undecryptable(&error)))?;
    let key = KeyPair::try_from(plain.as_bytes()).map_err(|_| {
        content(
            "it is decrypted, but no key that signs certificates (ECDSA P-256 or P-384, Ed25519, RSA)"
                .to_owned(),
        )
    })?;
    Ok(StoredKey { key, passphrase: Some(passphrase) })
}

/// Whether PEM text holds an encrypted key.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.contains(ENCRYPTED)
}

/// The text of a key's file, encrypted if there is a passphrase.
pub(super) fn to_pem(
    key: &KeyPair,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, AuthorityError> {
    let Some(passphrase) = passphrase else { return Ok(Zeroizing::new(key.serialize_pem())) };
    let encrypt = || -> Result<Zeroizing<String>, pkcs8::Error> {
        let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(
            KDF_ROUNDS,
            &rand::random::<[u8; 16]>(),
            rand::random(),
        )?;
        let plain = PrivateKeyInfoRef::try_from(key.serialized_der())?;
        let document = plain.encrypt_with_params(scheme, passphrase.as_str())?;
        Ok(document.to_pem(ENCRYPTED, LineEnding::LF)?)
    };
    encrypt().map_err(|error| AuthorityError::Encrypt(error.to_string()))
}
