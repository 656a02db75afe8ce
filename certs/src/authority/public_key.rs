//! Kinds of public keys: their names, and which of them the authority certifies.
//!
//! It certifies the kinds that both cryptography providers verify, so that a certificate works with every build of the
//! servers.

use x509_parser::{asn1_rs::Tag, public_key::PublicKey, x509::SubjectPublicKeyInfo};

/// Lengths of RSA keys, in bits, that the TLS library takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Advice for a key that is not certified.
const USE: &str = "use ECDSA P-256 (`openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 …`), P-384, Ed25519, \
                   or RSA of 2048 to 8192 bits";

/// A kind of key: its name, and whether it is certified.
struct Kind {
    name: String,
    certified: Result<(), &'static str>,
}

/// Kind and size of a public key, in words.
pub(super) fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    kind(key).name
}

/// Checks that a key is of a kind that is certified.
///
/// # Errors
/// What the key is, why it is refused, and what to use.
pub(super) fn check_kind(key: &SubjectPublicKeyInfo<'_>) -> Result<(), String> {
    let Kind { name, certified } = kind(key);
    certified.map_err(|reason| format!("its key is {name}, {reason}; {USE}"))
}

fn kind(key: &SubjectPublicKeyInfo<'_>) -> Kind {
    const UNSUPPORTED: &str = "which is not supported";
    let refused = |name: &str, reason| Kind { name: name.to_owned(), certified: Err(reason) };
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.2.1" => elliptic(key),
        "1.2.840.113549.1.1.1" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => {
                let bits = rsa.key_size();
                let certified = match bits {
                    bits if RSA_BITS.contains(&bits) => Ok(()),
                    bits if bits < *RSA_BITS.start() => Err("which is too short to be safe"),
                    _ => Err("which is longer than TLS libraries take"),
                };
                Kind { name: format!("RSA {bits}"), certified }
            }
            _ => refused("RSA", "and cannot be read"),
        },
        "1.2.840.113549.1.1.10" => refused(
            "RSA-PSS",
            "which TLS libraries do not take (a plain RSA key may sign with PSS all the same)",
        ),
        "1.3.101.112" => Kind { name: "Ed25519".to_owned(), certified: Ok(()) },
        "1.3.101.113" => refused("Ed448", UNSUPPORTED),
        "1.3.101.110" | "1.3.101.111" => refused("X25519 or X448", "which cannot sign"),
        "1.2.840.10040.4.1" => refused("DSA", "which TLS 1.3 has no place for"),
        "2.16.840.1.101.3.4.3.17" | "2.16.840.1.101.3.4.3.18" | "2.16.840.1.101.3.4.3.19" => {
            refused("ML-DSA", UNSUPPORTED)
        }
        oid => refused(&format!("of the kind with OID {oid}"), UNSUPPORTED),
    }
}

/// A key on an elliptic curve.
fn elliptic(key: &SubjectPublicKeyInfo<'_>) -> Kind {
    let refused = |name: String, reason| Kind { name, certified: Err(reason) };
    let named = key.algorithm.parameters.as_ref().filter(|parameters| parameters.header.tag() == Tag::Oid);
    let Some(Ok(curve)) = named.map(|parameters| parameters.as_oid()) else {
        return refused(
            "ECDSA with explicit curve parameters".to_owned(),
            "where a curve must be named (`-pkeyopt ec_param_enc:named_curve`)",
        );
    };
    let name = match curve.to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => "P-256".to_owned(),
        "1.3.132.0.34" => "P-384".to_owned(),
        "1.3.132.0.35" => "P-521".to_owned(),
        "1.3.132.0.33" => "P-224".to_owned(),
        "1.2.840.10045.3.1.1" => "P-192".to_owned(),
        "1.3.132.0.10" => "secp256k1".to_owned(),
        "1.2.156.10197.1.301" => "SM2".to_owned(),
        oid if oid.starts_with("1.3.36.3.3.2.8.1.1.") => "a Brainpool curve".to_owned(),
        oid => format!("the curve with OID {oid}"),
    };
    if !matches!(name.as_str(), "P-256" | "P-384") {
        return refused(format!("ECDSA {name}"), "which not every TLS library takes");
    }
    if matches!(key.subject_public_key.data.first(), Some(2 | 3)) {
        return refused(
            format!("ECDSA {name} as a compressed point"),
            "which TLS libraries do not take (`openssl ec -conv_form uncompressed`)",
        );
    }
    Kind { name: format!("ECDSA {name}"), certified: Ok(()) }
}

/// Name of a signature algorithm by its OID.
pub(super) fn signature_kind(oid: &str) -> String {
    let name = match oid {
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        other => return format!("OID {other}"),
    };
    name.to_owned()
}
