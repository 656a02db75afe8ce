//! A client whose folder changes under it.

use std::{
    fs, io,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use http::Uri;
use tokio::{io::AsyncReadExt as _, time::timeout};
use tower::Service as _;

use super::{
    forge::{leaf, list, replace, root, write_folder},
    support::{Echo, TIMEOUT, ping},
};
use crate::{
    AcceptConfig, ClientIdentity, ConnectError, GrpcConnector, IdentityFolder, Role, StreamFailure,
    TlsFailure,
};

static REPORTS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn a_client_leaves_a_server_that_its_folder_no_longer_trusts() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    let (own, device) = (dir.path().join("gateway"), dir.path().join("device"));
    let gateway = leaf(&root, "site/berlin/gateway/g");
    write_folder(&own, &gateway, &[], &[&root], &[list(&root, 1, &[], 7).pem().unwrap()]);
    write_folder(&device, &leaf(&root, "site/berlin/device/a"), &[], &[&root], &[]);
    let echo = Echo::start(&IdentityFolder::load(&own).unwrap(), AcceptConfig::default()).await;
    let uri: Uri = format!("http://127.0.0.1:{}/", echo.addr.port()).parse().unwrap();
    let report = |_: &str| _ = REPORTS.fetch_add(1, SeqCst);
    let identity = ClientIdentity::load(&device, &[], report).unwrap();
    let mut connector = GrpcConnector::live(identity, Role::Gateway, TIMEOUT);
    // A folder that cannot be used changes nothing but a report.
    replace(&device, "ca.pem", "nonsense");
    let mut stream = connector.call(uri.clone()).await.unwrap().into_inner();
    ping(&mut stream).await.unwrap();
    assert_eq!(REPORTS.load(SeqCst), 1);
    replace(&device, "ca.pem", &root.pem);
    let mut stream = connector.call(uri.clone()).await.unwrap().into_inner();
    ping(&mut stream).await.unwrap();
    assert_eq!((REPORTS.load(SeqCst), connector.failure().get()), (1, None));

    replace(&device, "crl.pem", &list(&root, 2, &[&gateway.serial], 7).pem().unwrap());
    let mut byte = [0];
    let error = timeout(TIMEOUT, stream.read(&mut byte)).await.expect("the stream ends").unwrap_err();
    assert!(error.to_string().contains("no longer trusts the server: crl.pem"), "{error}");
    let failure = connector.failure().get().unwrap();
    assert_eq!((failure.reason, failure.is_lasting), (error.to_string(), false));
    // The next connection shows that the server has no other certificate.
    let error = connector.call(uri.clone()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { failure: TlsFailure::Revoked, .. }), "{error}");
    assert!(error.is_lasting());
    fs::remove_file(device.join("crl.pem")).unwrap();
    let mut stream = connector.call(uri).await.unwrap().into_inner();
    ping(&mut stream).await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_refused_learns_why_from_its_connection() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    let (own, device) = (dir.path().join("gateway"), dir.path().join("device"));
    let revoked = leaf(&root, "site/berlin/device/a");
    let lists = [list(&root, 1, &[&revoked.serial], 7).pem().unwrap()];
    write_folder(&own, &leaf(&root, "site/berlin/gateway/g"), &[], &[&root], &lists);
    write_folder(&device, &revoked, &[], &[&root], &[]);
    let echo = Echo::start(&IdentityFolder::load(&own).unwrap(), AcceptConfig::default()).await;
    let identity = ClientIdentity::load(&device, &[], |_| ()).unwrap();
    let mut connector = GrpcConnector::live(identity, Role::Gateway, TIMEOUT);
    let uri: Uri = format!("http://127.0.0.1:{}/", echo.addr.port()).parse().unwrap();
    let mut stream = connector.call(uri).await.unwrap().into_inner();
    ping(&mut stream).await.unwrap_err();
    let failure = connector.failure().get().unwrap();
    assert!(failure.reason.contains("revoked; have a new one issued"), "{failure}");
    assert!(failure.is_lasting);
}

#[test]
fn failures_of_a_connection_are_in_plain_words() {
    let text =
        "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/unexpected-eof";
    for (kind, part) in [
        (io::ErrorKind::UnexpectedEof, "went away"),
        (io::ErrorKind::ConnectionReset, "cut the connection"),
        (io::ErrorKind::BrokenPipe, "cut the connection"),
    ] {
        let failure = StreamFailure::from_io(&io::Error::new(kind, text));
        assert!(failure.reason.contains(part) && !failure.reason.contains("docs.rs"), "{failure}");
        assert!(!failure.is_lasting);
        let again = io::Error::from(failure.clone());
        assert_eq!((again.kind(), again.to_string()), (kind, failure.reason));
    }
    let other = StreamFailure::from_io(&io::Error::other("no route"));
    assert_eq!(other.reason, "the connection failed: no route");
}
