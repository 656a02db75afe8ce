//! Shows the contents of a certificate, a chain, a signing request or a revocation list: a sentence, and its fields.
//!
//! Read-only; verifies only a request's own signature, and which certificate of a file signed which. Files may come from
//! anywhere: they are read up to a bound, and control characters in their texts are escaped.

mod block;
mod certificate;
mod words;

use std::{fmt, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;
use x509_parser::{
    certification_request::X509CertificationRequest, pem::Pem, prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
};

use super::{
    AuthorityError, RevocationReason, csr::requested_key, issue::fingerprint, public_key::key_kind, timestamp,
};
use crate::{
    certificate::system_time,
    files,
    folder::{CA_FILE, CERT_FILE},
    pem_text::{Wanted, found_instead, is_der, is_request, without_mark},
};
pub use block::Block;
use block::{Field, Revocation};

/// Maximum file size in bytes; revocation lists are the large ones.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a file holds, a block for each certificate, request, list or key. `Display` shows it to people, `Serialize` to
/// programs.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Inspection {
    /// The blocks, in the order of the file.
    pub blocks: Vec<Block>,
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, block) in self.blocks.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            block.fmt(f)?;
        }
        Ok(())
    }
}

/// Describes every PEM block of a file (or its one DER structure). For a folder, describes its `cert.pem`, and whether
/// that leads to a root in its `ca.pem`.
///
/// # Errors
/// The file cannot be read, or contains nothing of the kind.
pub fn inspect(path: &Path) -> Result<Inspection, AuthorityError> {
    let folder = path.is_dir();
    let path = if folder { path.join(CERT_FILE) } else { path.to_owned() };
    let content = files::read_bytes(&path, FILE_BYTES_MAX)?;
    let refuse = |reason: String| AuthorityError::Content { path: path.clone(), reason };
    let blocks = pem_blocks(without_mark(&content)).map_err(refuse)?;
    let anchors = if folder { anchors(&path.with_file_name(CA_FILE)) } else { Vec::new() };
    let mut described = Vec::with_capacity(blocks.len());
    for (index, (label, der)) in blocks.iter().enumerate() {
        let block = match label.as_str() {
            "CERTIFICATE" => {
                let others = blocks.iter().map(|(_, der)| der.as_slice()).enumerate();
                let others: Vec<_> = others.filter(|(other, _)| *other != index).collect();
                certificate::describe(der, &others, &anchors)
            }
            label if is_request(label) => request(der),
            "X509 CRL" => revocation_list(der),
            label if label.ends_with("PRIVATE KEY") => Some(private_key(label)),
            // openssl writes it before the key.
            "EC PARAMETERS" => continue,
            _ => None,
        };
        described.push(block.ok_or_else(|| {
            refuse(format!("no certificate, signing request or revocation list (block {})", index + 1))
        })?);
    }
    Ok(Inspection { blocks: described })
}

/// The blocks of a file: label and contents. A file in DER is one block, whose label is found by trying.
fn pem_blocks(content: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let blocks: Vec<_> = Pem::iter_from_buffer(content)
        .map(|block| block.map(|pem| (pem.label, pem.contents)))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("a damaged PEM block: {error}"))?;
    if !blocks.is_empty() {
        return Ok(blocks);
    }
    if !is_der(content) {
        let found = found_instead(content, Wanted::Certificate);
        return Err(found.unwrap_or_else(|| "a damaged PEM block".to_owned()));
    }
    let label = if X509CertificationRequest::from_der(content).is_ok() {
        "CERTIFICATE REQUEST"
    } else if CertificateRevocationList::from_der(content).is_ok() {
        "X509 CRL"
    } else {
        "CERTIFICATE"
    };
    Ok(vec![(label.to_owned(), content.to_vec())])
}

/// The roots next to a certificate; none if they cannot be read.
fn anchors(path: &Path) -> Vec<CertificateDer<'static>> {
    let content = files::read_bytes(path, FILE_BYTES_MAX).unwrap_or_default();
    CertificateDer::pem_slice_iter(without_mark(&content)).filter_map(Result::ok).collect()
}

fn private_key(label: &str) -> Block {
    let encrypted = if label.starts_with("ENCRYPTED") { "encrypted " } else { "" };
    Block::new("private_key", format!("A private key ({encrypted}not shown)."))
}

fn request(der: &[u8]) -> Option<Block> {
    let (_, request) = X509CertificationRequest::from_der(der).ok()?;
    let info = &request.certification_request_info;
    let key = key_kind(&info.subject_pki);
    let refused = requested_key(der).err();
    let verdict = match &refused {
        None => "signed by its own key".to_owned(),
        Some(reason) => format!("which `sign` refuses: {reason}"),
    };
    let mut block =
        Block::new("signing_request", format!("A signing request with a key of {key}, {verdict}."));
    block.text("subject", &info.subject);
    block.text("key", key);
    let genuine = request.verify_signature().is_ok();
    block.text("signature", if genuine { "by its own key" } else { "not verified" });
    if let Some(reason) = refused {
        block.text("refused", reason);
    }
    block.text("key sha256", fingerprint(info.subject_pki.raw));
    Some(block)
}

fn revocation_list(der: &[u8]) -> Option<Block> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    let (made, next) = (timestamp(system_time(list.last_update())), list.next_update());
    let next = next.map(|next| timestamp(system_time(next)));
    let revoked: Vec<Revocation> = list
        .iter_revoked_certificates()
        .map(|entry| Revocation {
            serial: words::serial(entry.raw_serial()),
            time: timestamp(system_time(entry.revocation_date)).to_string(),
            reason: entry
                .reason_code()
                .map(|(_, code)| RevocationReason::from_code(code))
                .filter(|reason| *reason != RevocationReason::Unspecified),
        })
        .collect();
    let number = list.crl_number().map(ToString::to_string);
    let counts = match next {
        Some(next) => words::validity(made, next, super::now(), "is out of date since", "counts until"),
        None => "has no end".to_owned(),
    };
    let summary = format!(
        "A revocation list{} of {}; it revokes {} certificates and {counts}.",
        number.as_ref().map(|number| format!(", number {number},")).unwrap_or_default(),
        list.issuer(),
        revoked.len(),
    );
    let mut block = Block::new("revocation_list", summary);
    block.text("issuer", list.issuer());
    if let Some(number) = number {
        let field = number.parse().map_or(Field::Text(number), Field::Number);
        block.field("number", field);
    }
    block.text("this update", made);
    if let Some(next) = next {
        block.text("next update", next);
    }
    block.field("revoked", Field::Number(i64::try_from(revoked.len()).unwrap_or(i64::MAX)));
    block.field("certificates", Field::Revoked(revoked));
    Some(block)
}
