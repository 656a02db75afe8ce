//! Verifiers of presented chains: the TLS library's, then the chain rule, then the revocation lists.
//!
//! The library verifies signatures, dates, use and path lengths, but not the dates of trust anchors: an anchor outside them
//! does not count ([`crate::anchors`]). The chain rule ([`crate::chain`]) refuses a leaf that
//! its issuer was not allowed to issue. The lists are asked by serial number ([`RevocationCheck`]).
//!
//! A device that reconnects presents the same chain to the same trust anchors, so verifying its signatures gives the
//! same result as before. [`ClientVerifier`] keeps the digest of each chain that library and chain rule accepted, and
//! the period in which all its certificates and its root are valid. A cached chain within that period is accepted; in all other
//! cases the library decides. So the cache can only confirm, never refuse: every refusal comes from the library.
//!
//! Invariants:
//! - the cache belongs to one set of trust anchors: other anchors come with a new, empty one;
//! - the lists are asked at every handshake, never cached;
//! - the validity period is checked at every handshake, at both ends;
//! - possession of the key (the handshake's own signature) is verified at every handshake;
//! - only chains that the library and the chain rule accepted are cached, and only under the digest of the whole chain.

mod chain_cache;
mod server;

use std::{
    fmt, iter,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::hash::Hash,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use self::chain_cache::{CHAINS_MAX, ChainCache, Digest, ValidityPeriod};
pub(crate) use self::server::ServerVerifier;
use crate::{
    anchors::{Anchors, Root},
    certificate::parse,
    chain::{CHAIN_MAX, ChainError, check_path_length, peer_from_chain, without_anchors},
    identity::IdentityError,
    provider::sha256_hash,
    revocation::RevocationCheck,
};

/// A verifier of client certificates with a cache.
pub(crate) struct ClientVerifier {
    /// The library's verifier. Its result may depend only on the chain, on its construction, and on the time through
    /// the certificates' validity: it must not get revocation lists, which change while it is in use.
    inner: Arc<dyn ClientCertVerifier>,
    /// SHA-256; without it nothing is cached.
    hash: Option<&'static dyn Hash>,
    /// Locked for a lookup or an insertion, never during verification.
    cache: Mutex<ChainCache>,
    anchors: Anchors,
    revocations: Arc<RevocationCheck>,
}

impl ClientVerifier {
    /// A verifier with an empty cache.
    pub(crate) fn new(
        inner: Arc<dyn ClientCertVerifier>,
        anchors: Anchors,
        revocations: Arc<RevocationCheck>,
    ) -> Self {
        let cache = Mutex::new(ChainCache::new(CHAINS_MAX));
        Self { inner, hash: sha256_hash(), cache, anchors, revocations }
    }

    /// The check that library and chain rule make; cached.
    fn verify_chain(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let digest = self.hash.and_then(|hash| digest(hash, chain));
        if let Some(digest) = &digest
            && self.with_cache(|cache| cache.find(digest)).is_some_and(|period| period.holds(now))
        {
            return Ok(());
        }
        let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.inner.verify_client_cert(leaf, intermediates, now)?;
        let obeys_rule = obeys_rule(chain, self.anchors.certificates())?;
        let root = root_in_force(chain, &self.anchors, now)?;
        if let (true, Some(digest), Some(period)) = (obeys_rule, digest, validity(chain))
            && let period = period.within(root.valid_from, root.valid_until)
            && period.holds(now)
        {
            self.with_cache(|cache| cache.insert(digest, period));
        }
        Ok(())
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

/// The presented chain without the trust anchors at its end, borrowed.
///
/// # Errors
/// It is longer than a leaf and its issuer.
fn presented<'a>(
    leaf: &'a CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
) -> Result<Vec<CertificateDer<'a>>, Error> {
    let borrowed = |der: &'a CertificateDer<'_>| CertificateDer::from(der.as_ref());
    let chain: Vec<_> = iter::once(leaf).chain(intermediates).map(borrowed).collect();
    let chain = without_anchors(&chain, anchors);
    if chain.len() > CHAIN_MAX {
        return Err(refused(ChainError::TooLong(chain.len())));
    }
    Ok(chain.to_vec())
}

/// The root that a verified chain ends at.
///
/// # Errors
/// It is not valid now: to peers it is as if `ca.pem` did not hold it.
fn root_in_force<'a>(
    chain: &[CertificateDer<'_>],
    anchors: &'a Anchors,
    now: UnixTime,
) -> Result<&'a Root, Error> {
    let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs()));
    let root = now.and_then(|now| anchors.root_of(chain, now));
    root.ok_or_else(|| CertificateError::UnknownIssuer.into())
}

/// Whether the leaf's issuer was allowed to issue it. `false`: the leaf names no identity, which everyone who asks for
/// the peer refuses after the handshake; such a chain is not cached.
///
/// # Errors
/// The issuer was not allowed to.
fn obeys_rule(chain: &[CertificateDer<'_>], anchors: &[CertificateDer<'_>]) -> Result<bool, Error> {
    if chain.len() <= 1 {
        return Ok(true);
    }
    match peer_from_chain(chain).and_then(|_| check_path_length(chain, anchors)) {
        Ok(()) => Ok(true),
        Err(IdentityError::Chain(error)) => Err(refused(error)),
        Err(_) => Ok(false),
    }
}

fn refused(error: ChainError) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// Digest of a chain: SHA-256 over length and bytes of each certificate, so that bytes cannot move from one certificate
/// to the next. Not truncated: two chains with the same digest would allow impersonating a device, which must stay as
/// hard as forging the signatures that are not verified again.
fn digest(hash: &dyn Hash, chain: &[CertificateDer<'_>]) -> Option<Digest> {
    let mut context = hash.start();
    for certificate in chain {
        context.update(&(certificate.len() as u64).to_le_bytes());
        context.update(certificate);
    }
    context.finish().as_ref().try_into().ok()
}

/// The period in which all certificates of a chain are valid: from the latest start to the earliest end. `None` if a
/// certificate cannot be parsed.
fn validity(chain: &[CertificateDer<'_>]) -> Option<ValidityPeriod> {
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
        let chain = presented(end_entity, intermediates, self.anchors.certificates())?;
        self.verify_chain(&chain, now)?;
        self.revocations.check_client(&chain, now)?;
        Ok(ClientCertVerified::assertion())
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
