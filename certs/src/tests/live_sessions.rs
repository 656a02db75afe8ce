//! Sessions under a trust whose files are replaced while they live.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    forge::{Ca, Leaf, leaf, leaf_with, list, replace, root, site_with, write_folder},
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
    // One whose certificate does not say which key signed it.
    let silent = leaf(&goes, "site/berlin/device/c");
    let sessions = [
        register(&revoked, &[]),
        register(&device(&stays, "d"), &[]),
        register(&device(&goes, "e"), &[]),
        register(&of_site, &[&berlin]),
        register(&silent, &[]),
    ];
    let ended = || sessions.each_ref().map(SessionGuard::ended);
    replace(dir.path(), "crl.pem", &crl(&stays, 2, &[&revoked]));
    until("the list reaches the session", || ended()[0].is_some()).await;
    let revoked = Some(EndReason::Revoked);
    assert_eq!(ended(), [revoked, None, None, None, None]);
    replace(dir.path(), "ca.pem", &stays.pem);
    until("the root's sessions end", || ended()[2].is_some() && ended()[3].is_some()).await;
    let gone = Some(EndReason::Untrusted);
    assert_eq!(ended(), [revoked, None, gone, gone, None]);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
