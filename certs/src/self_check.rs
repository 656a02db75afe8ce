//! Checks that peers would accept an identity: a root in its own `ca.pem` issued its certificate, or an issuing
//! certificate of its site that a root issued; its own `crl.pem` does not revoke one of them; they are valid now.
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
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier as _},
};

pub use error::SelfCheckError;

use crate::{
    certificate::{parse, system_time},
    chain::without_anchors,
    failure::TlsFailure,
    folder::{CA_FILE, CERT_FILE, CRL_FILE, FolderError, IdentityFolder},
    identity::Role,
    provider::provider,
    revocation::RevocationCheck,
    verifier::{ClientVerifier, ServerVerifier},
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

    /// Checks that peers with the same roots and revocation lists accept this identity at time `now`.
    ///
    /// # Errors
    /// Why peers would refuse it.
    pub fn check(&self, now: SystemTime) -> Result<(), SelfCheckError> {
        let file = |name: &str| self.dir().join(name);
        let (cert, lists) = (file(CERT_FILE), file(CRL_FILE));
        let refused = |reason: String| SelfCheckError::Refused { cert: cert.clone(), reason };
        let key = self.certified_key();
        let chain = without_anchors(&key.cert, self.anchors().certificates()).to_vec();
        let (start, end) = validity(&chain).map_err(&refused)?;
        // Check trust first, at a time at which the certificates are valid: the clock may be wrong.
        let roots = file(CA_FILE);
        let signer = self.anchors().signer_of(&chain);
        let root = |at| signer.and_then(|root| root.defect(at));
        let (first, last) =
            signer.map_or((start, end), |root| (start.max(root.valid_from), end.min(root.valid_until)));
        let at = if first <= last { now.clamp(first, last) } else { now.clamp(start, end.max(start)) };
        // What only the root's dates are the reason for is found by the dates, below.
        let by_dates =
            |error: &Error| TlsFailure::from_tls(error) == TlsFailure::UnknownIssuer && root(at).is_some();
        if let Err(error) = self.verify(&chain, at)
            && !by_dates(&error)
        {
            return Err(match TlsFailure::from_tls(&error) {
                TlsFailure::UnknownIssuer => SelfCheckError::NotIssued { cert, roots },
                TlsFailure::Revoked => SelfCheckError::Revoked { cert, lists },
                TlsFailure::Expired | TlsFailure::NotYetValid => {
                    refused("a certificate between it and the root is not valid now".to_owned())
                }
                TlsFailure::Certificate(reason) => refused(reason),
                failure => refused(failure.to_string()),
            });
        }
        if let ([], [error, ..]) = (self.revocations().lists(), self.refused_lists()) {
            return Err(SelfCheckError::NotListed { lists, reason: error.to_string() });
        }
        if now < start {
            return Err(SelfCheckError::NotYetValid { cert, start });
        }
        if now > end {
            return Err(SelfCheckError::Expired { cert, end });
        }
        if let Some(reason) = root(now) {
            return Err(SelfCheckError::Root { cert, roots, reason });
        }
        Ok(())
    }

    /// Verifies the certificate like a peer's, in the directions in which its role is used.
    fn verify(&self, chain: &[CertificateDer<'_>], at: SystemTime) -> Result<(), Error> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (at, role) = (UnixTime::since_unix_epoch(since), self.peer().identity.role());
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        let unusable = |error: rustls::server::VerifierBuilderError| Error::General(error.to_string());
        let lists = || RevocationCheck::new(self.revocations().clone(), false);
        if role.is_server() {
            let inner = WebPkiServerVerifier::builder_with_provider(self.roots(), provider())
                .build()
                .map_err(unusable)?;
            let verifier = ServerVerifier::new(inner, self.anchors().clone(), lists());
            let name = ServerName::try_from(ANY_NAME).map_err(|error| Error::General(error.to_string()))?;
            match verifier.verify_server_cert(leaf, intermediates, &name, &[], at) {
                // The library checks the name last, so that everything else that it checks is fine.
                Ok(_)
                | Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => lists().check_server(chain)?,
                Err(error) => return Err(error),
            }
        }
        // An aggregator is never a client.
        if role != Role::Aggregator {
            let inner = WebPkiClientVerifier::builder_with_provider(self.roots(), provider())
                .build()
                .map_err(unusable)?;
            ClientVerifier::new(inner, self.anchors().clone(), lists()).verify_client_cert(
                leaf,
                intermediates,
                at,
            )?;
        }
        Ok(())
    }
}

/// The period in which all certificates of a chain are valid.
pub(crate) fn validity(chain: &[CertificateDer<'_>]) -> Result<(SystemTime, SystemTime), String> {
    let mut period: Option<(SystemTime, SystemTime)> = None;
    for der in chain {
        let certificate = parse(der).map_err(|error| error.to_string())?;
        let (first, last) =
            (system_time(certificate.validity().not_before), system_time(certificate.validity().not_after));
        period = Some(period.map_or((first, last), |(start, end)| (start.max(first), end.min(last))));
    }
    period.ok_or_else(|| "it is empty".to_owned())
}
