//! Why an encrypted key cannot be decrypted, in words: by its way of encryption, by a wrong passphrase, or by damage.

use pkcs8::{
    Error, ObjectIdentifier,
    der::ErrorKind,
    pkcs5::{self, EncryptionScheme},
};

use crate::der;

/// What to do about a way of encryption that is not supported.
const CONVERT: &str = "encrypt it again with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`";

/// Names of ways of encryption that openssl and other programs write and that are not supported, by object identifier.
const NAMES: [(&str, &str); 19] = [
    ("1.2.840.113549.1.5.1", "pbeWithMD2AndDES-CBC"),
    ("1.2.840.113549.1.5.3", "pbeWithMD5AndDES-CBC"),
    ("1.2.840.113549.1.5.4", "pbeWithMD2AndRC2-CBC"),
    ("1.2.840.113549.1.5.6", "pbeWithMD5AndRC2-CBC"),
    ("1.2.840.113549.1.5.10", "pbeWithSHA1AndDES-CBC"),
    ("1.2.840.113549.1.5.11", "pbeWithSHA1AndRC2-CBC"),
    ("1.2.840.113549.1.12.1.1", "pbeWithSHA1And128BitRC4"),
    ("1.2.840.113549.1.12.1.2", "pbeWithSHA1And40BitRC4"),
    ("1.2.840.113549.1.12.1.3", "pbeWithSHA1And3-KeyTripleDES-CBC"),
    ("1.2.840.113549.1.12.1.4", "pbeWithSHA1And2-KeyTripleDES-CBC"),
    ("1.2.840.113549.1.12.1.5", "pbeWithSHA1And128BitRC2-CBC"),
    ("1.2.840.113549.1.12.1.6", "pbeWithSHA1And40BitRC2-CBC"),
    ("1.2.840.113549.3.7", "Triple DES (des-ede3-cbc)"),
    ("1.3.14.3.2.7", "DES (des-cbc)"),
    ("1.2.840.113549.3.2", "RC2 (rc2-cbc)"),
    ("1.2.840.113549.2.7", "HMAC-SHA-1"),
    ("1.2.392.200011.61.1.1.1.4", "Camellia (camellia-256-cbc)"),
    ("1.2.410.200046.1.1.12", "ARIA (aria-256-cbc)"),
    ("1.2.410.200004.1.4", "SEED (seed-cbc)"),
];

/// PBES2, the way of encryption whose algorithms the library reads.
const PBES2: &str = "1.2.840.113549.1.5.13";

/// Why the structure of an encrypted key, DER, cannot be read.
pub(super) fn unreadable(document: &[u8], error: &Error) -> String {
    match (scheme_of(document), error) {
        (Some(scheme), _) if scheme != PBES2 => unsupported(&scheme),
        (Some(_), Error::Asn1(error)) => match error.kind() {
            ErrorKind::OidUnknown { oid } => unsupported(&oid.to_string()),
            _ => damaged(),
        },
        (Some(_), Error::EncryptedPrivateKey(error)) => unsupported_of(error),
        _ => damaged(),
    }
}

/// Object identifier of the way of encryption.
fn scheme_of(mut document: &[u8]) -> Option<String> {
    let mut key = der::expect(&mut document, der::SEQUENCE)?.content;
    let mut algorithm = der::expect(&mut key, der::SEQUENCE)?.content;
    let scheme = der::expect(&mut algorithm, der::OBJECT_IDENTIFIER)?.content;
    Some(ObjectIdentifier::from_bytes(scheme).ok()?.to_string())
}

/// Checks that a key is encrypted in a way that is supported, before anybody is asked for its passphrase.
pub(super) fn check(scheme: &EncryptionScheme) -> Result<(), String> {
    match scheme {
        EncryptionScheme::Pbes2(_) => Ok(()),
        other => Err(unsupported(&other.oid().to_string())),
    }
}

/// Why an encrypted key whose structure is fine cannot be decrypted.
pub(super) fn undecryptable(error: &Error) -> String {
    match error {
        Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) => wrong_passphrase(),
        Error::EncryptedPrivateKey(error) => unsupported_of(error),
        // The padding was right by chance, and the contents are noise.
        _ => wrong_passphrase(),
    }
}

fn unsupported_of(error: &pkcs5::Error) -> String {
    match error {
        pkcs5::Error::UnsupportedAlgorithm { oid } => unsupported(&oid.to_string()),
        pkcs5::Error::AlgorithmParametersInvalid { oid } => format!(
            "the key is encrypted with parameters of {} that are not supported; {CONVERT}",
            name(&oid.to_string())
        ),
        _ => damaged(),
    }
}

fn unsupported(oid: &str) -> String {
    format!("the key is encrypted with {}, which is not supported; {CONVERT}", name(oid))
}

fn name(oid: &str) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| format!("the algorithm {oid}"), |(_, name)| (*name).to_owned())
}

fn wrong_passphrase() -> String {
    "the passphrase is wrong".to_owned()
}

fn damaged() -> String {
    "not an encrypted key, although its PEM block says so, or a damaged one; restore it from a backup"
        .to_owned()
}
