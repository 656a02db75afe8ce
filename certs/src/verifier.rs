//! A verifier of client certificates that caches verified chains, so that they are not verified again.
//!
//! A device that reconnects presents the same chain to the same trust anchors and revocation lists, so verifying the
//! signatures of the chain and of the lists gives the same result as before. [`ClientVerifier`] keeps the digest of
//! each chain that the TLS library's verifier accepted, and the period in which all its certificates are valid. A
//! cached chain within that period is accepted; in all other cases the library's verifier decides. So the cache can
//! only confirm, never refuse: every refusal comes from the library.
//!
//! Invariants:
//! - the cache belongs to one configuration: any change of trust (anchors, revocation lists) creates a new, empty one;
//! - the validity period is checked at every handshake, at both ends;
//! - possession of the key (the handshake's own signature) is verified at every handshake;
//! - only chains that the library accepted are cached, and only under the digest of the whole chain.

mod chain_cache;

use std::{
    fmt, iter,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::hash::Hash,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use self::chain_cache::{CHAINS_MAX, ChainCache, Digest, ValidityPeriod};
use crate::{certificate::parse, provider::sha256_hash};

/// A verifier of client certificates with a cache.
pub(crate) struct ClientVerifier {
    /// The library's verifier. Its result may depend only on the chain, on its construction, and on the time through
    /// the certificates' validity: it must not start to refuse revocation lists that expire while it is in use.
    inner: Arc<dyn ClientCertVerifier>,
    /// SHA-256; without it nothing is cached.
    hash: Option<&'static dyn Hash>,
    /// Locked for a lookup or an insertion, never during verification.
    cache: Mutex<ChainCache>,
}

impl ClientVerifier {
    /// A verifier with an empty cache.
    pub(crate) fn new(inner: Arc<dyn ClientCertVerifier>) -> Self {
        Self { inner, hash: sha256_hash(), cache: Mutex::new(ChainCache::new(CHAINS_MAX)) }
    }

    fn with_cache<T>(&self, use_it: impl FnOnce(&mut ChainCache) -> T) -> T {
        // A panic cannot leave the cache inconsistent, so a poisoned lock is safe to use.
        use_it(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of cached chains.
    #[cfg(test)]
    pub(crate) fn cached_chains(&self) -> usize {
        self.with_cache(|cache| cache.len())
    }
}

/// Digest of a chain: SHA-256 over length and bytes of each certificate, so that bytes cannot move from one certificate
/// to the next. Not truncated: two chains with the same digest would allow impersonating a device, which must stay as
/// hard as forging the signatures that are not verified again.
fn digest(hash: &dyn Hash, chain: &[&CertificateDer<'_>]) -> Option<Digest> {
    let mut context = hash.start();
    for certificate in chain {
        context.update(&(certificate.len() as u64).to_le_bytes());
        context.update(certificate);
    }
    context.finish().as_ref().try_into().ok()
}

/// The period in which all certificates of a chain are valid: from the latest start to the earliest end. `None` if a
/// certificate cannot be parsed.
fn validity(chain: &[&CertificateDer<'_>]) -> Option<ValidityPeriod> {
    let mut period = ValidityPeriod { first: 0, last: u64::MAX };
    for der in chain {
        let certificate = parse(der).ok()?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        period.first = period.first.max(seconds(certificate.validity().not_before)?);
        period.last = period.last.min(seconds(certificate.validity().not_after)?);
    }
    Some(period)
}

impl ClientCertVerifier for ClientVerifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = iter::once(end_entity).chain(intermediates).collect();
        let digest = self.hash.and_then(|hash| digest(hash, &chain));
        if let Some(digest) = &digest
            && self.with_cache(|cache| cache.find(digest)).is_some_and(|period| period.holds(now))
        {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if let (Some(digest), Some(period)) = (digest, validity(&chain))
            && period.holds(now)
        {
            self.with_cache(|cache| cache.insert(digest, period));
        }
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

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
