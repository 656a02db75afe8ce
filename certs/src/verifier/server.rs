//! The client's verifier of a server's chain.

use std::{fmt, sync::Arc};

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{obeys_rule, presented, root_in_force};
use crate::{anchors::Anchors, revocation::RevocationCheck};

/// The TLS library's verifier, then the chain rule, then the lists.
pub(crate) struct ServerVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    anchors: Anchors,
    revocations: Arc<RevocationCheck>,
}

impl ServerVerifier {
    pub(crate) fn new(
        inner: Arc<dyn ServerCertVerifier>,
        anchors: Anchors,
        revocations: Arc<RevocationCheck>,
    ) -> Self {
        Self { inner, anchors, revocations }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = presented(end_entity, intermediates, self.anchors.certificates())?;
        let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let verified = self.inner.verify_server_cert(leaf, intermediates, server_name, ocsp_response, now)?;
        obeys_rule(&chain, self.anchors.certificates())?;
        root_in_force(&chain, &self.anchors, now)?;
        self.revocations.check_server(&chain)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[rustls::DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("inner", &self.inner).finish_non_exhaustive()
    }
}
