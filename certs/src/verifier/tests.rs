//! Tests with an inner verifier that counts its calls, and chains of a root, an issuing certificate and a leaf.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rcgen::{CertificateParams, date_time_ymd};
use rustls::{CertificateError, RootCertStore, server::WebPkiClientVerifier};

use super::*;
use crate::{
    provider::provider,
    revocation::Revocations,
    tests::forge::{self, Ca},
};

/// The library's verifier with a counter of calls.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ClientCertVerifier>,
    chains: AtomicUsize,
}

impl ClientCertVerifier for Counting {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chains.fetch_add(1, Ordering::SeqCst);
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
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
}

/// Years in which leaf and issuing certificate are valid, from 1 January to 1 January.
const LEAF: [i32; 2] = [2030, 2040];
const INTERMEDIATE: [i32; 2] = [2025, 2035];

/// A root, and the issuing certificate of a site under it.
struct Pki {
    root: Ca,
    site: Ca,
}

fn date(params: &mut CertificateParams, [first, last]: [i32; 2]) {
    (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
}

impl Pki {
    /// All instances use the same names.
    fn new() -> Self {
        let root = forge::root_with(|params| date(params, [2000, 2049]));
        let site = forge::site_with(&root, "berlin", |params| date(params, INTERMEDIATE));
        Self { root, site }
    }

    fn leaf(issuer: &Ca) -> CertificateDer<'static> {
        forge::leaf_with(issuer, "site/berlin/device/a", |params| date(params, LEAF)).der
    }

    fn verifier(&self) -> (ClientVerifier, Arc<Counting>) {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der.clone()).unwrap();
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let counting = Arc::new(Counting { inner, chains: AtomicUsize::new(0) });
        let lists = RevocationCheck::new(Revocations::default(), false);
        let anchors = Anchors::read(vec![self.root.der.clone()], None).unwrap();
        (ClientVerifier::new(counting.clone(), anchors, lists), counting)
    }
}

/// The first second of a year.
fn year(year: i32) -> u64 {
    let day = date_time_ymd(year, 1, 1) - date_time_ymd(1970, 1, 1);
    u64::try_from(day.whole_seconds()).unwrap()
}

/// Verifies a chain at time `now`; returns the result and the library's call count.
fn ask(
    (verifier, counting): &(ClientVerifier, Arc<Counting>),
    chain: &[&CertificateDer<'static>],
    now: u64,
) -> (Result<(), Error>, usize) {
    let intermediates: Vec<_> = chain[1..].iter().map(|der| (*der).clone()).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let result = verifier.verify_client_cert(chain[0], &intermediates, now).map(drop);
    (result, counting.chains.load(Ordering::SeqCst))
}

fn refusal(result: Result<(), Error>) -> CertificateError {
    match result {
        Err(Error::InvalidCertificate(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_is_verified_once() {
    let pki = Pki::new();
    let verifier = pki.verifier();
    let (leaf, other) = (Pki::leaf(&pki.root), Pki::leaf(&pki.root));
    assert_eq!(ask(&verifier, &[&leaf], year(2031)), (Ok(()), 1));
    assert_eq!(ask(&verifier, &[&leaf], year(2032)), (Ok(()), 1), "the same chain is verified again");
    assert_eq!(ask(&verifier, &[&other], year(2032)), (Ok(()), 2), "another leaf is not verified");
    let chain = [&Pki::leaf(&pki.site), &pki.site.der];
    assert_eq!(ask(&verifier, &chain, year(2032)), (Ok(()), 3));
    assert_eq!(ask(&verifier, &chain, year(2032)), (Ok(()), 3));
    // The root at the end is no part of it.
    assert_eq!(ask(&verifier, &[&leaf, &pki.root.der], year(2032)), (Ok(()), 3));
    assert_eq!(refusal(ask(&verifier, &chain[..1], year(2032)).0), CertificateError::UnknownIssuer);
    assert_eq!(verifier.0.cached_chains(), 3);
    assert_eq!(ask(&pki.verifier(), &[&leaf], year(2032)), (Ok(()), 1), "verifiers share a cache");
}

#[test]
fn both_ends_of_the_validity_are_checked_at_every_handshake() {
    let pki = Pki::new();
    let verifier = pki.verifier();
    let leaf = Pki::leaf(&pki.root);
    let (first, last) = (year(LEAF[0]), year(LEAF[1]));
    assert_eq!(ask(&verifier, &[&leaf], first), (Ok(()), 1));
    assert_eq!(ask(&verifier, &[&leaf], last), (Ok(()), 1), "the last second belongs to it");
    let (result, asked) = ask(&verifier, &[&leaf], last + 1);
    assert!(matches!(refusal(result), CertificateError::ExpiredContext { .. }));
    assert_eq!(asked, 2, "a refusal is the library's");
    let (result, _) = ask(&verifier, &[&leaf], first - 1);
    assert!(matches!(refusal(result), CertificateError::NotValidYetContext { .. }));
    assert_eq!(ask(&verifier, &[&leaf], first), (Ok(()), 3), "a refusal removed it from the cache");
}

#[test]
fn the_validity_of_every_certificate_in_the_chain_is_checked() {
    let pki = Pki::new();
    let verifier = pki.verifier();
    let chain = [&Pki::leaf(&pki.site), &pki.site.der];
    let (first, last) = (year(LEAF[0]), year(INTERMEDIATE[1]));
    assert_eq!(ask(&verifier, &chain, first), (Ok(()), 1));
    assert_eq!(ask(&verifier, &chain, last), (Ok(()), 1));
    // The leaf is still valid, but its issuer is not; then vice versa.
    let (result, _) = ask(&verifier, &chain, last + 1);
    assert!(matches!(refusal(result), CertificateError::ExpiredContext { .. }));
    let (result, _) = ask(&verifier, &chain, first - 1);
    assert!(matches!(refusal(result), CertificateError::NotValidYetContext { .. }));
}

#[test]
fn a_chain_against_the_rule_is_refused_every_time_and_never_cached() {
    let pki = Pki::new();
    let verifier = pki.verifier();
    let leaf = Pki::leaf(&pki.root);
    let junk = CertificateDer::from(vec![1, 2, 3]);
    for extra in [&pki.site.der, &junk] {
        for _ in 0..2 {
            let (result, _) = ask(&verifier, &[&leaf, extra], year(2034));
            assert!(matches!(refusal(result), CertificateError::Other(_)));
        }
    }
    let (_, asked) = ask(&verifier, &[&leaf, &pki.site.der], year(2034));
    assert_eq!(asked, 5);
    // Too long a chain does not even reach the library.
    let (result, asked) = ask(&verifier, &[&leaf, &pki.site.der, &junk], year(2034));
    assert!(matches!(refusal(result), CertificateError::Other(_)));
    assert_eq!((asked, verifier.0.cached_chains()), (5, 0));
}

#[test]
fn any_changed_bit_is_refused() {
    let pki = Pki::new();
    let verifier = pki.verifier();
    let leaf = Pki::leaf(&pki.root);
    assert_eq!(ask(&verifier, &[&leaf], year(2031)), (Ok(()), 1));
    for place in 0..leaf.len() {
        let mut bytes = leaf.to_vec();
        bytes[place] ^= 1 << (place % 8);
        let (result, _) = ask(&verifier, &[&CertificateDer::from(bytes)], year(2031));
        assert!(result.is_err(), "a changed bit in byte {place} passes");
    }
    assert_eq!(verifier.0.cached_chains(), 1, "refused chains are cached");
    assert_eq!(ask(&verifier, &[&leaf], year(2031)), (Ok(()), 1 + leaf.len()));
}

#[test]
fn a_chain_of_another_root_is_refused_every_time() {
    let (pki, other) = (Pki::new(), Pki::new());
    let verifier = pki.verifier();
    assert_eq!(ask(&verifier, &[&Pki::leaf(&pki.root)], year(2031)), (Ok(()), 1));
    let stranger = Pki::leaf(&other.root);
    for asked in 2..5 {
        let (result, now_asked) = ask(&verifier, &[&stranger], year(2031));
        assert_eq!((refusal(result), now_asked), (CertificateError::BadSignature, asked));
    }
    // Including its own root in the chain does not help.
    let chain = [&stranger, &other.root.der];
    assert!(ask(&verifier, &chain, year(2031)).0.is_err());
    assert!(ask(&verifier, &chain, year(2031)).0.is_err());
}

#[test]
fn bytes_do_not_move_between_certificates() {
    let hash = sha256_hash().unwrap();
    let of = |chain: &[&'static [u8]]| {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
        digest(hash, &chain).unwrap()
    };
    assert_ne!(of(&[&[1, 2], &[3]]), of(&[&[1], &[2, 3]]));
    assert_ne!(of(&[&[1], &[]]), of(&[&[1]]));
    assert_eq!(of(&[&[1], &[2]]), of(&[&[1], &[2]]));
}
