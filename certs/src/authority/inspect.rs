//! Shows the contents of a certificate, a signing request or a revocation list.
//!
//! Read-only; verifies only a request's own signature. Files may come from anywhere: they are read up to a bound, and
//! control characters in their texts are escaped.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    certification_request::X509CertificationRequest,
    extensions::{ExtendedKeyUsage, GeneralName},
    pem::Pem,
    prelude::FromDer as _,
    public_key::PublicKey,
    revocation_list::CertificateRevocationList,
    x509::SubjectPublicKeyInfo,
};

use super::{AuthorityError, issue::fingerprint, renew::ip_address, timestamp};
use crate::{
    Serial,
    certificate::{peer_from_certificate, system_time},
    files,
    folder::CERT_FILE,
    serial::hex,
};

/// Maximum file size in bytes; revocation lists are the large ones.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Maximum number of revoked certificates listed one by one.
const REVOKED_SHOWN_MAX: usize = 1_000;

/// Describes every PEM block of a file (or one DER certificate), with one `field: value` per line. For a folder,
/// describes its `cert.pem`.
///
/// # Errors
/// The file cannot be read, or contains nothing of the kind.
pub fn inspect(path: &Path) -> Result<String, AuthorityError> {
    let path = if path.is_dir() { path.join(CERT_FILE) } else { path.to_owned() };
    let content = files::read_bytes(&path, FILE_BYTES_MAX)?;
    let refuse = |reason: String| AuthorityError::Content { path: path.clone(), reason };
    let mut blocks: Vec<(String, Vec<u8>)> = Pem::iter_from_buffer(&content)
        .map(|block| block.map(|pem| (pem.label, pem.contents)))
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(format!("a damaged PEM block: {error}")))?;
    if blocks.is_empty() {
        blocks.push(("CERTIFICATE".to_owned(), content));
    }
    let mut output = Lines::default();
    for (index, (label, der)) in blocks.iter().enumerate() {
        if index > 0 {
            output.text.push('\n');
        }
        let known = match label.as_str() {
            "CERTIFICATE" => certificate(der, &mut output),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => request(der, &mut output),
            "X509 CRL" => revocation_list(der, &mut output),
            other if other.ends_with("PRIVATE KEY") => {
                output.line("type", "private key (not shown)");
                Some(())
            }
            _ => None,
        };
        known.ok_or_else(|| {
            refuse(format!("no certificate, signing request or revocation list in PEM (block {})", index + 1))
        })?;
    }
    Ok(output.text)
}

/// Lines of `field: value`, values without control characters.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn line(&mut self, field: &str, value: impl fmt::Display) {
        let value: String = value
            .to_string()
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect();
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "{:<15}{value}", format!("{field}:"));
    }
}

fn certificate(der: &[u8], output: &mut Lines) -> Option<()> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    output.line("type", if certificate.is_ca() { "certificate (authority)" } else { "certificate" });
    output.line("subject", certificate.subject());
    match peer_from_certificate(&CertificateDer::from(der)) {
        Ok(peer) => {
            output.line("role", peer.identity.role());
            if let Some(site) = peer.identity.site() {
                output.line("site", site);
            }
            output.line("name", peer.identity.name());
            output.line("trust domain", &peer.trust_domain);
        }
        Err(_) if certificate.is_ca() => {}
        Err(error) => output.line("identity", format!("none: {error}")),
    }
    output.line("serial", serial(certificate.raw_serial()));
    output.line("not before", timestamp(system_time(certificate.validity().not_before)));
    output.line("not after", timestamp(system_time(certificate.validity().not_after)));
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            output.line("alt name", general_name(name));
        }
    }
    if let Ok(Some(usage)) = certificate.key_usage() {
        output.line("key usage", usage.value);
    }
    if let Ok(Some(usage)) = certificate.extended_key_usage() {
        output.line("ext key usage", extended_key_usage(usage.value));
    }
    output.line("issuer", certificate.issuer());
    output.line("key", key_type(certificate.public_key()));
    output.line("signature", signature_type(&certificate.signature_algorithm.algorithm.to_id_string()));
    output.line("sha256", fingerprint(der));
    Some(())
}

fn request(der: &[u8], output: &mut Lines) -> Option<()> {
    let (_, request) = X509CertificationRequest::from_der(der).ok()?;
    output.line("type", "signing request (only its key is used)");
    output.line("subject", &request.certification_request_info.subject);
    output.line("key", key_type(&request.certification_request_info.subject_pki));
    let genuine = request.verify_signature().is_ok();
    output.line("signature", if genuine { "by its own key" } else { "WRONG: not by its own key" });
    Some(())
}

fn revocation_list(der: &[u8], output: &mut Lines) -> Option<()> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    output.line("type", "revocation list");
    output.line("issuer", list.issuer());
    if let Some(number) = list.crl_number() {
        output.line("number", number);
    }
    output.line("this update", timestamp(system_time(list.last_update())));
    if let Some(next) = list.next_update() {
        output.line("next update", timestamp(system_time(next)));
    }
    output.line("revoked", list.iter_revoked_certificates().count());
    for revoked in list.iter_revoked_certificates().take(REVOKED_SHOWN_MAX) {
        let time = timestamp(system_time(revoked.revocation_date));
        output.line("  serial", format!("{} at {time}", serial(revoked.raw_serial())));
    }
    Some(())
}

fn serial(bytes: &[u8]) -> String {
    Serial::from_bytes(bytes).map_or_else(|_| hex(bytes), |serial| serial.to_string())
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI {uri}"),
        GeneralName::DNSName(name) => format!("DNS {name}"),
        GeneralName::IPAddress(bytes) => {
            ip_address(bytes).map_or_else(|| format!("IP {}", hex(bytes)), |address| format!("IP {address}"))
        }
        other => other.to_string(),
    }
}

fn extended_key_usage(usage: &ExtendedKeyUsage<'_>) -> String {
    let mut names = Vec::new();
    names.extend(usage.server_auth.then(|| "serverAuth".to_owned()));
    names.extend(usage.client_auth.then(|| "clientAuth".to_owned()));
    names.extend(usage.any.then(|| "any".to_owned()));
    names.extend(usage.other.iter().map(x509_parser::der_parser::Oid::to_id_string));
    names.join(", ")
}

/// Kind and size of a public key.
fn key_type(key: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    match (key.parsed(), curve.map(|oid| oid.to_id_string()).as_deref()) {
        (Ok(PublicKey::EC(_)), Some("1.2.840.10045.3.1.7")) => "ECDSA P-256".to_owned(),
        (Ok(PublicKey::EC(_)), Some("1.3.132.0.34")) => "ECDSA P-384".to_owned(),
        (Ok(PublicKey::EC(_)), Some("1.3.132.0.35")) => "ECDSA P-521".to_owned(),
        (Ok(PublicKey::RSA(rsa)), _) => format!("RSA {}", rsa.key_size()),
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => "Ed25519".to_owned(),
        _ => format!("OID {}", key.algorithm.algorithm.to_id_string()),
    }
}

fn signature_type(oid: &str) -> String {
    match oid {
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256".to_owned(),
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384".to_owned(),
        "1.2.840.113549.1.1.11" => "RSA with SHA-256".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        other => format!("OID {other}"),
    }
}
