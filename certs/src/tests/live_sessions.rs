//! Sessions under a trust whose files are replaced while they live.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use rcgen::CustomExtension;

use super::{
    forge::{Ca, Leaf, leaf, leaf_with, list, renew, replace, root, site_with, write_folder},
    support::until,
};
use crate::{EndReason, SessionGuard, SessionRegistry, Trust, TrustConfig};

fn crl(signer: &Ca, number: u64, leaves: &[&Leaf]) -> String {
    let serials: Vec<_> = leaves.iter().map(|leaf| &leaf.serial).collect();
    list(signer, number, &serials, 7).pem().unwrap()
}

/// A device that says which key signed its certificate.
fn device(issuer: &Ca, name: &str) -> Leaf {
    let path = format!("site/berlin/device/{name}");
    leaf_with(issuer, &path, |params| params.use_authority_key_identifier_extension = true)
}

/// An authority key identifier, DER.
fn authority_key_id(id: &[u8; 20]) -> Vec<u8> {
    [&[0x30, 22, 0x80, 20], &id[..]].concat()
}

#[tokio::test]
async fn sessions_end_when_a_list_names_them_and_when_their_root_goes() {
    let (dir, goes, stays) = (tempfile::tempdir().unwrap(), root(), root());
    let berlin = site_with(&goes, "berlin", |params| params.use_authority_key_identifier_extension = true);
    let gateway = leaf(&stays, "site/berlin/gateway/g");
    write_folder(dir.path(), &gateway, &[], &[&goes, &stays], &[crl(&stays, 1, &[])]);
    let config = TrustConfig { check_every: Duration::from_millis(10), ..TrustConfig::default() };
    let trust = Trust::load(dir.path(), config).unwrap();
    let (tls, registry) = (trust.server(&[]).unwrap(), SessionRegistry::new(&trust, None));
    let watched = trust.clone();
    let tasks = [
        tokio::spawn(async move { watched.watch().await }),
        tokio::spawn(registry.clone().sweep(trust.clone())),
    ];
    let register = |leaf: &Leaf, issuers: &[&Ca]| -> SessionGuard {
        let chain: Vec<_> =
            std::iter::once(&leaf.der).chain(issuers.iter().map(|issuer| &issuer.der)).cloned().collect();
        let peer = tls.current().peer_of(&chain).unwrap();
        registry.register(&peer, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    };
    let (revoked, of_site) = (device(&stays, "a"), device(&berlin, "b"));
    // One whose certificate does not say which key signed it, and one whose certificate says another.
    let silent = leaf(&goes, "site/berlin/device/c");
    let false_id = leaf_with(&goes, "site/berlin/device/f", |params| {
        let id = authority_key_id(&[7; 20]);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 35], id));
    });
    let sessions = [
        register(&revoked, &[]),
        register(&device(&stays, "d"), &[]),
        register(&device(&goes, "e"), &[]),
        register(&of_site, &[&berlin]),
        register(&silent, &[]),
        register(&false_id, &[]),
    ];
    let ended = || sessions.each_ref().map(SessionGuard::ended);
    replace(dir.path(), "crl.pem", &crl(&stays, 2, &[&revoked]));
    until("the list reaches the session", || ended()[0].is_some()).await;
    let revoked = Some(EndReason::Revoked);
    assert_eq!(ended(), [revoked, None, None, None, None, None]);
    replace(dir.path(), "ca.pem", &stays.pem);
    let gone = Some(EndReason::Untrusted);
    until("the root's sessions end", || ended()[2..].iter().all(Option::is_some)).await;
    assert_eq!(ended(), [revoked, None, gone, gone, gone, gone]);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_session_outlives_the_renewal_of_its_root_with_the_same_key() {
    let (dir, old) = (tempfile::tempdir().unwrap(), root());
    let renewed = renew(&old);
    let gateway = leaf(&old, "site/berlin/gateway/g");
    write_folder(dir.path(), &gateway, &[], &[&old], &[crl(&old, 1, &[])]);
    let config = TrustConfig { check_every: Duration::from_millis(10), ..TrustConfig::default() };
    let trust = Trust::load(dir.path(), config).unwrap();
    let (tls, registry) = (trust.server(&[]).unwrap(), SessionRegistry::new(&trust, None));
    let watched = trust.clone();
    let watching = tokio::spawn(async move { watched.watch().await });
    let peer = tls.current().peer_of(&[leaf(&old, "site/berlin/device/a").der]).unwrap();
    let session = registry.register(&peer, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    replace(dir.path(), "ca.pem", &renewed.pem);
    until("the new root is taken", || trust.subscribe().borrow().version == 2).await;
    registry.end_refused().await;
    assert_eq!(session.ended(), None);
    watching.abort();
}
