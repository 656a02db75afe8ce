//! Checks that peers would accept an identity: a root in its own `ca.pem` issued its certificate, its own `crl.pem`
//! covers that issuer and does not revoke it, and it is valid now.
//!
//! Peers hold the same roots and lists, and a server checks its peers with its own: with a foreign `ca.pem` or
//! `crl.pem`, every connection would be refused. So the identity's own certificate is checked with the verifiers used
//! for peers.

mod error;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, Error,
    client::WebPkiServerVerifier,
    client::danger::ServerCertVerifier as _,
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

pub use error::SelfCheckError;

use crate::{
    certificate::{parse, system_time},
    failure::TlsFailure,
    folder::{CA_FILE, CERT_FILE, CRL_FILE, FolderError, IdentityFolder},
    identity::Role,
    provider::provider,
};

/// A server name for the verifier, which requires one; a mismatch is ignored.
const ANY_NAME: &str = "name.invalid";

impl IdentityFolder {
    /// Loads an identity and checks that peers accept it now: [`IdentityFolder::load`], then [`IdentityFolder::check`].
    ///
    /// # Errors
    /// The first problem found.
    pub fn load_in_force(dir: &Path) -> Result<Self, FolderError> {
        let folder = Self::load(dir)?;
        folder.check(SystemTime::now())?;
        Ok(folder)
    }

    /// Checks that peers with the same roots and revocation lists accept this identity at time `now`. Logs a warning
    /// for roots without a list if other roots have one.
    ///
    /// # Errors
    /// Why peers would refuse it.
    pub fn check(&self, now: SystemTime) -> Result<(), SelfCheckError> {
        let file = |name: &str| self.dir().join(name);
        let (cert, lists) = (file(CERT_FILE), file(CRL_FILE));
        let refused = |reason: String| SelfCheckError::Refused { cert: cert.clone(), reason };
        let chain = self.certified_key().cert;
        let leaf = chain.first().ok_or_else(|| refused("it is empty".to_owned()))?;
        let parsed = parse(leaf).map_err(|error| refused(error.to_string()))?;
        let start = system_time(parsed.validity().not_before);
        let end = system_time(parsed.validity().not_after);
        // Check trust first, at a time at which the certificate is valid: the clock may be wrong.
        match self.verify(now.clamp(start, end.max(start))) {
            Ok(()) => {}
            Err(Error::InvalidCertRevocationList(error)) => {
                return Err(SelfCheckError::NotListed { lists, cert, reason: format!("{error:?}") });
            }
            Err(error) => {
                return Err(match TlsFailure::from_tls(&error) {
                    TlsFailure::UnknownIssuer => SelfCheckError::NotIssued { cert, roots: file(CA_FILE) },
                    TlsFailure::UnknownRevocationStatus => {
                        SelfCheckError::NotListed { lists, cert, reason: "its issuers differ".to_owned() }
                    }
                    TlsFailure::Revoked => SelfCheckError::Revoked { cert, lists },
                    TlsFailure::Expired | TlsFailure::NotYetValid => {
                        refused("a certificate between it and the root is not valid now".to_owned())
                    }
                    failure => refused(failure.to_string()),
                });
            }
        }
        if now < start {
            return Err(SelfCheckError::NotYetValid { cert, start });
        }
        if now > end {
            return Err(SelfCheckError::Expired { cert, end });
        }
        for root in unlisted(self.anchors(), &self.crls()) {
            tracing::warn!(
                root, path = %lists.display(),
                "crl.pem has no revocation list from this root in ca.pem: peers with certificates from it are refused"
            );
        }
        Ok(())
    }

    /// Verifies the certificate like a peer's, in the directions in which its role is used.
    fn verify(&self, at: SystemTime) -> Result<(), Error> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (at, key, role) =
            (UnixTime::since_unix_epoch(since), self.certified_key(), self.peer().identity.role());
        let Some((leaf, intermediates)) = key.cert.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        let unusable = |error: rustls::server::VerifierBuilderError| Error::General(error.to_string());
        if role.is_server() {
            let verifier = WebPkiServerVerifier::builder_with_provider(self.roots(), provider())
                .with_crls(self.crls())
                .build()
                .map_err(unusable)?;
            let name = ServerName::try_from(ANY_NAME).map_err(|error| Error::General(error.to_string()))?;
            match verifier.verify_server_cert(leaf, intermediates, &name, &[], at) {
                // The name is checked last, so everything else is fine.
                Ok(_)
                | Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        // An aggregator is never a client.
        if role != Role::Aggregator {
            WebPkiClientVerifier::builder_with_provider(self.roots(), provider())
                .with_crls(self.crls())
                .build()
                .map_err(unusable)?
                .verify_client_cert(leaf, intermediates, at)?;
        }
        Ok(())
    }
}

/// Names of the roots without a revocation list; empty if there are no lists at all.
fn unlisted(anchors: &[CertificateDer<'_>], lists: &[CertificateRevocationListDer<'_>]) -> Vec<String> {
    let issuers: Vec<Vec<u8>> = lists
        .iter()
        .filter_map(|der| {
            Some(CertificateRevocationList::from_der(der.as_ref()).ok()?.1.issuer().as_raw().to_vec())
        })
        .collect();
    let roots = anchors.iter().filter_map(|der| parse(der).ok());
    let without =
        roots.filter(|root| !issuers.is_empty() && issuers.iter().all(|raw| raw != root.subject().as_raw()));
    without.map(|root| root.subject().to_string()).collect()
}
