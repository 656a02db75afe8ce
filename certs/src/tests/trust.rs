//! The watched trust: every file replaced while connections come in.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{
    forge::{Ca, Leaf, leaf, list, replace, root, site, write_folder},
    support::{Echo, TIMEOUT, ping, until},
};
use crate::{
    AcceptConfig, ClientTls, ConnectError, HandshakeFailure, IdentityFolder, RevocationError, Role,
    TlsFailure, Trust, TrustConfig, TrustStatus,
};

/// A gateway whose trust is watched, and its devices.
struct World {
    dir: TempDir,
    root: Ca,
    gateway: Leaf,
    trust: Trust,
    echo: Echo,
    watching: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn crl(signer: &Ca, number: u64, serials: &[&crate::Serial]) -> String {
    list(signer, number, serials, 7).pem().unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(require_revocation_list: bool) -> Self {
        let (dir, root) = (tempfile::tempdir().unwrap(), root());
        let gateway = leaf(&root, "site/berlin/gateway/g");
        let lists = if require_revocation_list { vec![crl(&root, 1, &[])] } else { Vec::new() };
        write_folder(&dir.path().join("gateway"), &gateway, &[], &[&root], &lists);
        let config = TrustConfig { require_revocation_list, check_every: Duration::from_millis(10) };
        let trust = Trust::load(&dir.path().join("gateway"), config).unwrap();
        let accept =
            AcceptConfig { connections_max: 64, handshake_timeout: TIMEOUT, ..AcceptConfig::default() };
        let echo = Echo::with(trust.server(&[]).unwrap(), accept).await;
        let watched = trust.clone();
        let watching = tokio::spawn(async move { watched.watch().await });
        Self { dir, root, gateway, trust, echo, watching }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("gateway")
    }

    /// A device's client that trusts these roots.
    fn client(&self, leaf: &Leaf, issuers: &[&Ca], roots: &[&Ca]) -> ClientTls {
        let dir = self.dir.path().join("device");
        write_folder(&dir, leaf, issuers, roots, &[]);
        ClientTls::new(&IdentityFolder::load(&dir).unwrap(), &[]).unwrap()
    }

    async fn connects(&self, client: &ClientTls) -> Result<(), TlsFailure> {
        match client.connect("127.0.0.1", self.echo.addr.port(), Role::Gateway, TIMEOUT).await {
            Ok((mut stream, _)) => match ping(&mut stream).await {
                Ok(()) => Ok(()),
                Err(_) => match self.echo.seen.failure().await {
                    HandshakeFailure::Tls(failure) => Err(failure),
                    other => panic!("{other}"),
                },
            },
            Err(ConnectError::Tls { failure, .. }) => Err(failure),
            Err(other) => panic!("{other}"),
        }
    }

    fn status(&self) -> TrustStatus {
        self.trust.subscribe().borrow().clone()
    }

    async fn version(&self, version: u64) {
        until("the folder is taken", || self.status().version == version).await;
    }

    async fn problem(&self, part: &str) {
        until("the problem is reported", || self.status().problem.is_some_and(|text| text.contains(part)))
            .await;
    }
}

#[tokio::test]
async fn a_new_list_counts_at_the_next_handshake_and_keeps_the_chain_cache() {
    let world = World::new().await;
    let (gone, stays) =
        (leaf(&world.root, "site/berlin/device/a"), leaf(&world.root, "site/berlin/device/b"));
    let gone_client = world.client(&gone, &[], &[&world.root]);
    let stays_client = world.client(&stays, &[], &[&world.root]);
    for client in [&gone_client, &stays_client] {
        assert_eq!(world.connects(client).await, Ok(()));
    }
    replace(&world.folder(), "crl.pem", &crl(&world.root, 2, &[&gone.serial]));
    world.version(2).await;
    assert_eq!(world.connects(&gone_client).await, Err(TlsFailure::Revoked));
    assert_eq!(world.connects(&stays_client).await, Ok(()));
    assert_eq!(world.echo.tls.current().verifier.cached_chains(), 2);
    // Going back is refused, and said; the next number is taken.
    replace(&world.folder(), "crl.pem", &crl(&world.root, 1, &[]));
    world.problem("a list never goes back").await;
    assert_eq!(world.connects(&gone_client).await, Err(TlsFailure::Revoked));
    replace(&world.folder(), "crl.pem", &crl(&world.root, 3, &[]));
    world.version(3).await;
    until("the problem is over", || world.status().problem.is_none()).await;
    assert_eq!(world.connects(&gone_client).await, Ok(()));
    // A list that vanishes still counts.
    replace(&world.folder(), "crl.pem", &crl(&world.root, 4, &[&gone.serial]));
    world.version(4).await;
    fs::remove_file(world.folder().join("crl.pem")).unwrap();
    world.problem("is gone").await;
    assert_eq!(world.connects(&gone_client).await, Err(TlsFailure::Revoked));
    assert_eq!(world.status().version, 4);
}

#[tokio::test]
async fn a_new_certificate_and_two_roots_are_taken_as_a_whole() {
    let world = World::new().await;
    let new_root = root();
    let old = world.client(&leaf(&world.root, "site/berlin/device/a"), &[], &[&world.root, &new_root]);
    let berlin = site(&new_root, "berlin");
    let new_device = leaf(&berlin, "site/berlin/device/b");
    let new = world.client(&new_device, &[&berlin], &[&world.root, &new_root]);
    assert_eq!(world.connects(&old).await, Ok(()));
    assert_eq!(world.connects(&new).await, Err(TlsFailure::UnknownIssuer));
    // Both roots count.
    replace(&world.folder(), "ca.pem", &format!("{}{}", world.root.pem, new_root.pem));
    world.version(2).await;
    assert_eq!(world.connects(&old).await, Ok(()));
    assert_eq!(world.connects(&new).await, Ok(()));
    // Certificate and key one after another: between the two they do not fit, and nothing is reported.
    let renewed = leaf(&berlin, "site/berlin/gateway/g");
    replace(&world.folder(), "key.pem", &renewed.key.serialize_pem());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((world.status().version, world.status().problem), (2, None));
    replace(&world.folder(), "cert.pem", &format!("{}{}", renewed.pem, berlin.pem));
    world.version(3).await;
    assert_eq!(*world.trust.peer(), world.status().peer.as_ref().clone());
    assert_eq!(world.trust.peer().issuer, Some(berlin.serial.clone()));
    let connect = old.connect("127.0.0.1", world.echo.addr.port(), Role::Gateway, TIMEOUT);
    assert_eq!(connect.await.unwrap().1.serial, renewed.serial);
    // The old root goes, and its lists with it.
    replace(&world.folder(), "crl.pem", &format!("{}{}", crl(&world.root, 2, &[]), crl(&new_root, 1, &[])));
    world.version(4).await;
    replace(&world.folder(), "ca.pem", &new_root.pem);
    world.version(5).await;
    assert_eq!(world.connects(&old).await, Err(TlsFailure::UnknownIssuer));
    assert_eq!(world.connects(&new).await, Ok(()));
    let numbers: Vec<u64> = world.status().revocations.lists().iter().map(|list| list.number).collect();
    assert_eq!(numbers, [1]);
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_until_it_is_good() {
    let world = World::new().await;
    let device = world.client(&leaf(&world.root, "site/berlin/device/a"), &[], &[&world.root]);
    let good = fs::read_to_string(world.folder().join("cert.pem")).unwrap();
    let other_name = leaf(&world.root, "site/berlin/gateway/other");
    let stranger = root();
    for (file, content, part) in [
        ("cert.pem", "nonsense", "no PEM block"),
        ("cert.pem", &leaf(&world.root, "site/berlin/gateway/g").pem, "key.pem"),
        ("cert.pem", &leaf(&stranger, "site/berlin/gateway/g").pem, "key.pem"),
    ] {
        let before = world.status();
        replace(&world.folder(), file, content);
        world.problem(part).await;
        let now = world.status();
        assert_eq!((now.version, now.reloads.taken), (before.version, before.reloads.taken));
        assert_eq!(now.reloads.refused, before.reloads.refused + 1);
        assert_eq!(world.connects(&device).await, Ok(()));
        replace(&world.folder(), file, &good);
        until("the problem is over", || world.status().problem.is_none()).await;
        assert_eq!(world.status().version, before.version, "the same certificate is no swap");
    }
    // Another identity is refused, though all of it is valid.
    replace(&world.folder(), "key.pem", &other_name.key.serialize_pem());
    replace(&world.folder(), "cert.pem", &other_name.pem);
    world.problem("gateway/other").await;
    assert_eq!(world.connects(&device).await, Ok(()));
    // And a site as anchor, and a list of a stranger alone.
    write_folder(&world.folder(), &world.gateway, &[], &[&world.root], &[crl(&world.root, 1, &[])]);
    until("the problem is over", || world.status().problem.is_none()).await;
    replace(&world.folder(), "ca.pem", &format!("{}{}", world.root.pem, site(&world.root, "berlin").pem));
    world.problem("ca.pem").await;
    replace(&world.folder(), "ca.pem", &world.root.pem);
    until("the problem is over", || world.status().problem.is_none()).await;
    replace(&world.folder(), "crl.pem", &crl(&stranger, 9, &[]));
    world.problem("signed by nobody").await;
    assert_eq!(world.connects(&device).await, Ok(()));
}

#[tokio::test]
async fn a_list_that_revokes_the_server_itself_still_counts() {
    let world = World::new().await;
    let device = leaf(&world.root, "site/berlin/device/a");
    let renewed = leaf(&world.root, "site/berlin/gateway/g");
    let serials = [&world.gateway.serial, &renewed.serial, &device.serial];
    replace(&world.folder(), "crl.pem", &crl(&world.root, 2, &serials));
    world.version(2).await;
    world.problem("is revoked").await;
    let client = world.client(&device, &[], &[&world.root]);
    assert_eq!(world.connects(&client).await, Err(TlsFailure::Revoked));
    // A new certificate is needed, and one that is revoked too is not taken.
    replace(&world.folder(), "key.pem", &renewed.key.serialize_pem());
    replace(&world.folder(), "cert.pem", &renewed.pem);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.trust.peer().serial, world.gateway.serial);
    let good = leaf(&world.root, "site/berlin/gateway/g");
    replace(&world.folder(), "key.pem", &good.key.serialize_pem());
    replace(&world.folder(), "cert.pem", &good.pem);
    until("the new certificate counts", || world.trust.peer().serial == good.serial).await;
    until("the problem is over", || world.status().problem.is_none()).await;
}

#[tokio::test]
async fn received_lists_count_and_survive_a_swap() {
    let world = World::new().await;
    let device = leaf(&world.root, "site/berlin/device/a");
    let client = world.client(&device, &[], &[&world.root]);
    let received = list(&world.root, 7, &[&device.serial], 7);
    assert_eq!(world.trust.add_lists(&[received.der()], &[]), Ok(true));
    assert_eq!(world.trust.add_lists(&[received.der()], &[]), Ok(false));
    assert_eq!(world.connects(&client).await, Err(TlsFailure::Revoked));
    let rolled_back = world.trust.add_lists(&[list(&world.root, 6, &[], 7).der()], &[]);
    assert_eq!(rolled_back, Err(RevocationError::RolledBack { known: 7, found: 6 }));
    let stranger = root();
    assert_eq!(
        world.trust.add_lists(&[list(&stranger, 8, &[], 7).der()], &[]),
        Err(RevocationError::Signature)
    );
    assert_eq!(world.status().version, 2);
    // The folder's own list is older than the received one, which is nothing to report.
    let renewed = leaf(&world.root, "site/berlin/gateway/g");
    replace(&world.folder(), "crl.pem", &crl(&world.root, 2, &[]));
    replace(&world.folder(), "key.pem", &renewed.key.serialize_pem());
    replace(&world.folder(), "cert.pem", &renewed.pem);
    until("the new certificate counts", || world.trust.peer().serial == renewed.serial).await;
    assert_eq!(world.status().problem, None);
    assert_eq!(world.connects(&client).await, Err(TlsFailure::Revoked));
    // A site's list, with the certificate that signed it.
    let berlin = site(&world.root, "berlin");
    let of_berlin = leaf(&berlin, "site/berlin/device/b");
    let client = world.client(&of_berlin, &[&berlin], &[&world.root]);
    assert_eq!(world.connects(&client).await, Ok(()));
    let of_site = list(&berlin, 1, &[&of_berlin.serial], 7);
    assert_eq!(world.trust.add_lists(&[of_site.der()], &[&berlin.der]), Ok(true));
    assert_eq!(world.connects(&client).await, Err(TlsFailure::Revoked));
    let peer = crate::peer_from_chain(&[of_berlin.der.clone(), berlin.der.clone()]).unwrap();
    assert!(world.status().revocations.names(&peer));
}

/// Who puts a list into the folder of a running server wants what it names to be revoked.
#[tokio::test]
async fn a_list_of_the_folder_that_does_not_count_beside_a_received_one_is_reported() {
    let world = World::new().await;
    let (one, other) = (leaf(&world.root, "site/berlin/device/a"), leaf(&world.root, "site/berlin/device/b"));
    let other_client = world.client(&other, &[], &[&world.root]);
    let received = |number, serials: &[&crate::Serial]| {
        world.trust.add_lists(&[list(&world.root, number, serials, 7).der()], &[])
    };
    assert_eq!(received(7, &[&one.serial]), Ok(true));
    // All that it names is revoked: nothing is wrong.
    replace(&world.folder(), "crl.pem", &crl(&world.root, 4, &[&one.serial]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((world.status().problem, world.status().reloads.refused), (None, 0));
    // Not so a list from elsewhere with a lower number.
    replace(&world.folder(), "crl.pem", &crl(&world.root, 5, &[&other.serial]));
    world.problem("No list that counts names 1 of its certificates").await;
    assert!(world.status().problem.unwrap().contains("number 5, but number 7 is known"));
    assert_eq!(world.status().reloads.refused, 1);
    assert_eq!(world.connects(&other_client).await, Ok(()));
    // It stays reported while the file is the same, until a list names all.
    let renewed = leaf(&world.root, "site/berlin/gateway/g");
    replace(&world.folder(), "key.pem", &renewed.key.serialize_pem());
    replace(&world.folder(), "cert.pem", &renewed.pem);
    until("the new certificate counts", || world.trust.peer().serial == renewed.serial).await;
    world.problem("No list that counts").await;
    assert_eq!(received(8, &[&one.serial, &other.serial]), Ok(true));
    assert_eq!((world.status().problem, world.status().reloads.refused), (None, 1));
    assert_eq!(world.connects(&other_client).await, Err(TlsFailure::Revoked));
    // And one with the same number.
    let third = leaf(&world.root, "site/berlin/device/c");
    replace(&world.folder(), "crl.pem", &crl(&world.root, 8, &[&third.serial]));
    world.problem("another revocation list of the same issuer has number 8").await;
    assert_eq!(world.connects(&other_client).await, Err(TlsFailure::Revoked));
    replace(&world.folder(), "crl.pem", &crl(&world.root, 9, &[&one.serial, &third.serial]));
    until("the problem is over", || world.status().problem.is_none()).await;
    assert_eq!(world.connects(&other_client).await, Ok(()), "the newest list counts as it is");
}

#[tokio::test]
async fn without_a_required_list_nobody_is_accepted_until_one_comes() {
    let world = World::with(false).await;
    let device = leaf(&world.root, "site/berlin/device/a");
    let client = world.client(&device, &[], &[&world.root]);
    assert_eq!(world.connects(&client).await, Ok(()), "not required");
    let closed = World::new().await;
    let client = closed.client(&leaf(&closed.root, "site/berlin/device/a"), &[], &[&closed.root]);
    let ended = list(&closed.root, 2, &[], -1).pem().unwrap();
    replace(&closed.folder(), "crl.pem", &ended);
    closed.version(2).await;
    assert_eq!(closed.connects(&client).await, Err(TlsFailure::NoRevocationList));
    assert_eq!(closed.trust.add_lists(&[list(&closed.root, 3, &[], 7).der()], &[]), Ok(true));
    assert_eq!(closed.connects(&client).await, Ok(()));
}

#[tokio::test]
async fn a_folder_behind_a_symbolic_link_is_switched_at_once() {
    let world = World::new().await;
    // As Kubernetes mounts a secret: files → ..data/file, ..data → a folder of its own for each version.
    let mount = world.dir.path().join("mount");
    let version = |name: &str, lists: &[String]| {
        write_folder(&mount.join(name), &world.gateway, &[], &[&world.root], lists);
        let link = mount.join("..new");
        std::os::unix::fs::symlink(name, &link).unwrap();
        fs::rename(link, mount.join("..data")).unwrap();
    };
    version("..1", &[crl(&world.root, 1, &[])]);
    for file in ["cert.pem", "key.pem", "ca.pem", "crl.pem"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), mount.join(file)).unwrap();
    }
    let config = TrustConfig { check_every: Duration::from_millis(10), ..TrustConfig::default() };
    let trust = Trust::load(&mount, config).unwrap();
    let watched = trust.clone();
    let watching = tokio::spawn(async move { watched.watch().await });
    version("..2", &[crl(&world.root, 2, &[])]);
    let status = trust.subscribe();
    until("the switched folder is taken", || status.borrow().revocations.lists()[0].number == 2).await;
    watching.abort();
}
