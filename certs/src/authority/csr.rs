//! Reads signing requests: of one, only the public key is used, after checks.
//!
//! The kind of the key is checked before the signature, so that a key that no library verifies is named as such and
//! not as a wrong signature.

use std::path::Path;

use rcgen::SubjectPublicKeyInfo;
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest, error::X509Error,
    pem::Pem, prelude::FromDer as _,
};

use super::{
    AuthorityError, PEM_BYTES_MAX,
    public_key::{check_kind, signature_kind},
};
use crate::{
    files,
    pem_text::{Wanted, found_instead, is_der, is_request, without_mark},
};

/// The public key of a signing request in PEM or DER. The request's signature proves possession of the key.
///
/// # Errors
/// The file cannot be read, holds no request, has a key that is not certified, or is not signed by its key.
pub(super) fn read_csr(path: &Path) -> Result<SubjectPublicKeyInfo, AuthorityError> {
    let content = files::read_bytes(path, PEM_BYTES_MAX)?;
    requested_key(&content).map_err(|reason| AuthorityError::Content { path: path.to_owned(), reason })
}

/// The public key of a signing request, or what is wrong with it.
pub(super) fn requested_key(content: &[u8]) -> Result<SubjectPublicKeyInfo, String> {
    let der = request_der(without_mark(content))?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| {
        if X509Certificate::from_der(&der).is_ok() {
            "it holds a certificate in DER, not a signing request".to_owned()
        } else {
            "not a signing request (PKCS#10) in PEM or DER".to_owned()
        }
    })?;
    if !rest.is_empty() {
        return Err("bytes follow the signing request".to_owned());
    }
    check_kind(&request.certification_request_info.subject_pki)?;
    check_signature(&request)?;
    SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|error| format!("its key cannot be certified: {error}"))
}

/// The request's bytes: of the first block that is one, or the file as it is.
fn request_der(content: &[u8]) -> Result<Vec<u8>, String> {
    for block in Pem::iter_from_buffer(content) {
        let block = block.map_err(|error| format!("a damaged PEM block: {error}"))?;
        if is_request(&block.label) {
            return Ok(block.contents);
        }
    }
    if is_der(content) {
        return Ok(content.to_vec());
    }
    Err(found_instead(content, Wanted::Request).map_or_else(
        || "a damaged PEM block".to_owned(),
        |found| format!("{found}; a signing request (PKCS#10) is needed"),
    ))
}

fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    let kind = signature_kind(&request.signature_algorithm.algorithm.to_id_string());
    request.verify_signature().map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => {
            format!("the request is signed by {kind}, which is not supported; make it with `openssl req -new -sha256`")
        }
        _ if kind == "RSA-PSS" => {
            "the request is not signed by the key to be certified, or by RSA-PSS with an unusual salt; make it without \
             `-sigopt rsa_padding_mode:pss`"
                .to_owned()
        }
        _ => "the request is not signed by the key to be certified".to_owned(),
    })
}
