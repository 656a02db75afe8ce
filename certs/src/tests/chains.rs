//! The chain rule, from the whole chain: read, at a server's door and at a client's.

use std::sync::Arc;

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier as _},
};

use super::forge::{self, Ca, Leaf, leaf, leaf_with, list, root, root_with, site, site_with, unix_now};
use crate::{
    ChainError, FolderError, IdentityError, IdentityFolder, SelfCheckError, TlsFailure,
    anchors::Anchors,
    chain::without_anchors,
    peer_from_chain,
    provider::provider,
    revocation::{RevocationCheck, Revocations},
    verifier::{ClientVerifier, ServerVerifier},
};

/// What both doors with these anchors and lists say to a chain: as a client's, and as a server's.
fn doors(
    anchors: &[&Ca],
    lists: &Revocations,
    chain: &[CertificateDer<'static>],
) -> [Result<(), TlsFailure>; 2] {
    let mut roots = RootCertStore::empty();
    anchors.iter().for_each(|ca| roots.add(ca.der.clone()).unwrap());
    let (roots, now) = (Arc::new(roots), UnixTime::since_unix_epoch(unix_now()));
    let anchors = Anchors::read(anchors.iter().map(|ca| ca.der.clone()).collect(), None).unwrap();
    let check = RevocationCheck::new(lists.clone(), true);
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider()).build().unwrap();
    let client = ClientVerifier::new(inner, anchors.clone(), Arc::clone(&check));
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().unwrap();
    let server = ServerVerifier::new(inner, anchors, check);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    // Twice: the second time a cached chain would answer.
    let first = client.verify_client_cert(&chain[0], &chain[1..], now).map(drop);
    let second = client.verify_client_cert(&chain[0], &chain[1..], now).map(drop);
    let failure = |error: rustls::Error| TlsFailure::from_tls(&error);
    let (first, second) = (first.map_err(failure), second.map_err(failure));
    assert_eq!(first, second, "the cache changes the answer");
    let server = server.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
    [first, server.map(drop).map_err(failure)]
}

fn lists(root: &Ca) -> Revocations {
    Revocations::default()
        .merged(std::slice::from_ref(&root.der), &[list(root, 1, &[], 7).der()], &[])
        .revocations
}

fn chain(leaf: &Leaf, issuers: &[&Ca]) -> Vec<CertificateDer<'static>> {
    [vec![leaf.der.clone()], issuers.iter().map(|ca| ca.der.clone()).collect()].concat()
}

#[test]
fn a_site_issues_devices_and_gateways_of_its_own() {
    let root = root();
    let (berlin, paris) = (site(&root, "berlin"), site(&root, "paris"));
    let lists = lists(&root);
    for path in ["site/berlin/device/a", "site/berlin/gateway/g"] {
        let leaf = leaf(&berlin, path);
        let chain = chain(&leaf, &[&berlin]);
        assert_eq!(doors(&[&root], &lists, &chain), [Ok(()), Ok(())], "{path}");
        let peer = peer_from_chain(&chain).unwrap();
        assert_eq!((peer.serial, peer.issuer), (leaf.serial.clone(), Some(berlin.serial.clone())));
        // A root at the end, as some libraries append it, changes nothing; a stranger's does.
        let with_root = [&chain[..], std::slice::from_ref(&root.der)].concat();
        assert_eq!(doors(&[&root], &lists, &with_root), [Ok(()), Ok(())], "{path}");
        assert_eq!(without_anchors(&with_root, std::slice::from_ref(&root.der)), chain);
        let with_stranger = [&chain[..], &[forge::root().der]].concat();
        let too_long = Err(TlsFailure::WrongIssuer(ChainError::TooLong(3)));
        assert_eq!(doors(&[&root], &lists, &with_stranger), [too_long.clone(), too_long]);
    }
    for (path, issuer) in [
        ("site/paris/device/a", &berlin),
        ("site/berlin/gateway/g", &paris),
        ("aggregator/center", &berlin),
        ("operator/ada", &berlin),
    ] {
        let chain = chain(&leaf(issuer, path), &[issuer]);
        for door in doors(&[&root], &lists, &chain) {
            assert!(
                matches!(
                    door,
                    Err(TlsFailure::WrongIssuer(ChainError::OtherSite { .. } | ChainError::Role(_)))
                ),
                "{path}: {door:?}"
            );
        }
        assert!(matches!(peer_from_chain(&chain), Err(IdentityError::Chain(_))), "{path}");
    }
}

#[test]
fn a_root_issues_everyone_directly_and_no_other_certificate_beside_the_leaf_passes() {
    let root = root_with(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0)));
    let lists = lists(&root);
    for path in ["site/berlin/device/a", "site/berlin/gateway/g", "aggregator/center", "operator/ada"] {
        let leaf = leaf(&root, path);
        assert_eq!(doors(&[&root], &lists, &chain(&leaf, &[])), [Ok(()), Ok(())], "{path}");
        assert_eq!(doors(&[&root], &lists, &chain(&leaf, &[&root])), [Ok(()), Ok(())], "{path}");
    }
    // A site that did not issue the leaf, and certificates that are no site's.
    let device = leaf(&root, "site/berlin/device/a");
    let other = leaf(&root, "site/berlin/device/b").der;
    let stranger = forge::root();
    for extra in [site(&root, "berlin").der, other, stranger.der, CertificateDer::from(vec![1, 2, 3])] {
        for door in doors(&[&root], &lists, &[device.der.clone(), extra]) {
            assert!(matches!(door, Err(TlsFailure::WrongIssuer(_))), "{door:?}");
        }
    }
}

#[test]
fn an_issuer_must_be_what_it_says() {
    let root = root();
    let lists = lists(&root);
    let device = |issuer: &Ca| chain(&leaf(issuer, "site/berlin/device/a"), &[issuer]);
    let long = site_with(&root, "berlin", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let two_sites = site_with(&root, "berlin", |params| {
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://d/site/paris".try_into().unwrap()));
    });
    let no_lists = site_with(&root, "berlin", |params| {
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    });
    let other_domain = site_with(&root, "berlin", |params| {
        params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://e/site/berlin".try_into().unwrap())];
    });
    let nested = site(&site(&root, "berlin"), "berlin");
    for (what, issuer) in [
        ("any path length", &long),
        ("two sites", &two_sites),
        ("no list signing", &no_lists),
        ("another domain", &other_domain),
    ] {
        for door in doors(&[&root], &lists, &device(issuer)) {
            assert!(matches!(door, Err(TlsFailure::WrongIssuer(_))), "{what}: {door:?}");
        }
    }
    for door in doors(&[&root], &lists, &device(&nested)) {
        assert_eq!(door, Err(TlsFailure::UnknownIssuer));
    }
    // The dates of the issuer are the library's to check.
    let expired = site_with(&root, "berlin", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for door in doors(&[&root], &lists, &device(&expired)) {
        assert_eq!(door, Err(TlsFailure::Expired));
    }
    // A root of the version before may have no issuer below it.
    let old = root_with(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0)));
    for door in doors(&[&old], &self::lists(&old), &device(&site(&old, "berlin"))) {
        assert_eq!(door, Err(TlsFailure::WrongIssuer(ChainError::PathLength)));
    }
}

#[test]
fn a_revoked_issuer_takes_its_leaves_along_and_a_list_is_required_of_servers_only() {
    let root = root();
    let (berlin, paris) = (site(&root, "berlin"), site(&root, "paris"));
    let device = |issuer: &Ca, site: &str| leaf(issuer, &format!("site/{site}/device/a"));
    let (of_berlin, of_paris) = (device(&berlin, "berlin"), device(&paris, "paris"));
    let anchors = [root.der.clone()];
    let merged = |lists: &[&rcgen::CertificateRevocationList], issuers: &[&Ca]| {
        let lists: Vec<&[u8]> = lists.iter().map(|list| list.der().as_ref()).collect();
        let issuers: Vec<_> = issuers.iter().map(|ca| ca.der.clone()).collect();
        let merged = Revocations::default().merged(&anchors, &lists, &issuers);
        assert_eq!(merged.refused, []);
        merged.revocations
    };
    let revoked = [Err(TlsFailure::Revoked), Err(TlsFailure::Revoked)];
    let by_root = merged(&[&list(&root, 1, &[&berlin.serial], 7)], &[]);
    assert_eq!(doors(&[&root], &by_root, &chain(&of_berlin, &[&berlin])), revoked);
    assert_eq!(doors(&[&root], &by_root, &chain(&of_paris, &[&paris])), [Ok(()), Ok(())]);
    // A site's list counts for its own leaves, whatever else it names.
    let of_root = leaf(&root, "operator/ada");
    let named = [&of_berlin.serial, &of_paris.serial, &of_root.serial];
    let (empty, by_site) = (list(&root, 1, &[], 7), list(&berlin, 1, &named, 7));
    let by_site = merged(&[&by_site, &empty], &[&berlin]);
    assert_eq!(doors(&[&root], &by_site, &chain(&of_berlin, &[&berlin])), revoked);
    assert_eq!(doors(&[&root], &by_site, &chain(&of_paris, &[&paris])), [Ok(()), Ok(())]);
    assert_eq!(doors(&[&root], &by_site, &chain(&of_root, &[])), [Ok(()), Ok(())]);
    // Without a list, and with one that has ended, a server accepts nobody, and a client everybody that is not named.
    let ended = merged(&[&list(&root, 1, &[&of_paris.serial], -1)], &[]);
    let site_only = merged(&[&list(&berlin, 1, &[], 7)], &[&berlin]);
    for lists in [&Revocations::default(), &ended, &site_only] {
        let closed = [Err(TlsFailure::NoRevocationList), Ok(())];
        assert_eq!(doors(&[&root], lists, &chain(&of_berlin, &[&berlin])), closed);
    }
    assert_eq!(doors(&[&root], &ended, &chain(&of_paris, &[&paris])), revoked, "an old list still names it");
}

#[test]
fn a_folder_with_a_chain_that_peers_refuse_does_not_load() {
    let dir = tempfile::tempdir().unwrap();
    let root = root();
    let (berlin, paris) = (site(&root, "berlin"), site(&root, "paris"));
    let crl = |serials: &[&crate::Serial]| vec![list(&root, 1, serials, 7).pem().unwrap()];
    let load = |name: &str, leaf: &Leaf, issuers: &[&Ca], roots: &[&Ca], lists: &[String]| {
        forge::write_folder(&dir.path().join(name), leaf, issuers, roots, lists);
        IdentityFolder::load_in_force(&dir.path().join(name))
    };
    let gateway = leaf(&berlin, "site/berlin/gateway/g");
    let folder = load("good", &gateway, &[&berlin], &[&root], &crl(&[])).unwrap();
    assert_eq!(folder.peer().issuer, Some(berlin.serial.clone()));
    load("with root", &gateway, &[&berlin, &root], &[&root], &[]).unwrap();
    let error = load("other site", &leaf(&paris, "site/berlin/gateway/g"), &[&paris], &[&root], &[]);
    assert!(matches!(error, Err(FolderError::Identity { error: IdentityError::Chain(_), .. })), "{error:?}");
    let error = load("no issuer", &gateway, &[], &[&root], &[]).unwrap_err();
    assert!(matches!(error, FolderError::Standing(SelfCheckError::NotIssued { .. })), "{error}");
    let error = load("site as anchor", &gateway, &[&berlin], &[&root, &berlin], &[]).unwrap_err();
    assert!(error.to_string().contains("ca.pem") && error.to_string().contains("site berlin"), "{error}");
    let device = leaf_with(&root, "site/berlin/device/a", |params| params.is_ca = rcgen::IsCa::ExplicitNoCa);
    let mut as_anchor = forge::root();
    as_anchor.pem = device.pem.clone();
    let error = load("leaf as anchor", &device, &[], &[&root, &as_anchor], &[]).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
    for (name, serial) in [("revoked", &gateway.serial), ("issuer revoked", &berlin.serial)] {
        let error = load(name, &gateway, &[&berlin], &[&root], &crl(&[serial])).unwrap_err();
        assert!(matches!(error, FolderError::Standing(SelfCheckError::Revoked { .. })), "{name}: {error}");
    }
}
