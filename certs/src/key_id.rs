//! Key identifiers of roots: which root a peer's chain ends at, so that its session can end when that root goes.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension};

use crate::certificate::parse;

/// Key identifier of a certificate authority (RFC 5280, 4.2.1.1 and 4.2.1.2): 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(Arc<[u8]>);

impl KeyId {
    const BYTES_MAX: usize = 64;

    fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// That of the authority which issued a certificate; `None`: the certificate does not say.
    pub(crate) fn of_issuer(certificate: &X509Certificate<'_>) -> Option<Self> {
        certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => Self::new(id.key_identifier.as_ref()?.0),
            _ => None,
        })
    }

    fn of_subject(certificate: &X509Certificate<'_>) -> Option<Self> {
        certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Self::new(id.0),
            _ => None,
        })
    }

    /// Those of trust anchors, without anchors that have none.
    pub(crate) fn of_anchors(anchors: &[CertificateDer<'_>]) -> Arc<[Self]> {
        anchors.iter().filter_map(|anchor| Self::of_subject(&parse(anchor).ok()?)).collect()
    }
}
