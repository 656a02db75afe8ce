//! Which peers can connect, and why others are refused.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::support::{Echo, Pki, TIMEOUT, identity, no_note, ping};
use crate::{
    ClientTls, ConnectError, HandshakeFailure, IdentityError, IdentityFolder, Role, ServerTls, TlsFailure,
    authority::{IssueRequest, RevokeWhat},
    provider::provider,
};

const DAY: Duration = Duration::from_secs(86_400);

/// Connects; returns whether the server accepted the client.
async fn try_client(echo: &Echo, tls: &ClientTls) -> bool {
    match tls.connect("127.0.0.1", echo.addr.port(), Role::Gateway, TIMEOUT).await {
        Ok((mut stream, _)) => ping(&mut stream).await.is_ok(),
        Err(ConnectError::Tls { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

/// The reason for which the server refuses a client.
async fn refusal(echo: &Echo, tls: &ClientTls) -> HandshakeFailure {
    assert!(!try_client(echo, tls).await, "the server accepted the client");
    echo.seen.failure().await
}

/// An identity folder whose certificate has arbitrary URIs and the root's signature.
fn forge(pki: &Pki, name: &str, uris: &[&str]) -> PathBuf {
    let root = pki.authority.dir();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let key = KeyPair::from_pem(&read(&root.join("ca.key"))).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read(&root.join("ca.pem")), key).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    let key = KeyPair::generate().unwrap();
    let dir = pki.dir.path().join(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(root.join("ca.pem"), dir.join("ca.pem")).unwrap();
    std::fs::write(dir.join("cert.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    crate::files::create_file(&dir.join("key.pem"), key.serialize_pem().as_bytes(), 0o600).unwrap();
    dir
}

/// A rustls client without the checks and limits of [`ClientTls`].
fn raw_client(
    pki: &Pki,
    folder: Option<&IdentityFolder>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = std::fs::read(pki.authority.dir().join("ca.pem")).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&root).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match folder {
        Some(folder) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            folder.certified_key(),
        ))),
        None => builder.with_no_client_auth(),
    }
}

async fn try_raw(echo: &Echo, config: &Arc<ClientConfig>) -> std::io::Result<()> {
    let tcp = TcpStream::connect(echo.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    ping(&mut TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?).await
}

#[tokio::test]
async fn a_device_connects_and_is_identified() {
    let pki = Pki::new();
    let mut echo = Echo::of(&pki).await;
    let (mut stream, server) = pki
        .client(Role::Device, "press-17")
        .connect("localhost", echo.addr.port(), Role::Gateway, TIMEOUT)
        .await
        .unwrap();
    ping(&mut stream).await.unwrap();
    assert_eq!(server.identity, identity(Role::Gateway, "berlin", "gw"));
    let peer = echo.peers.recv().await.unwrap();
    assert_eq!(peer.identity, identity(Role::Device, "berlin", "press-17"));
    assert_eq!(peer.trust_domain.as_str(), "test.example");
    assert_eq!(peer.serial.as_bytes().len(), 16);
}

#[tokio::test]
async fn certificates_outside_their_validity_are_refused() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let now = SystemTime::now();
    for (name, start, expected) in
        [("expired", now - 2 * DAY, TlsFailure::Expired), ("not-yet", now + DAY, TlsFailure::NotYetValid)]
    {
        let mut request = pki.request(Role::Device, name);
        (request.start, request.lifetime) = (Some(start), Some(DAY));
        let dir = pki.authority.issue(&request, &mut no_note).unwrap().dir;
        let tls = ClientTls::new(&IdentityFolder::load(&dir).unwrap(), &[]).unwrap();
        assert_eq!(refusal(&echo, &tls).await, HandshakeFailure::Tls(expected));
    }
    assert!(try_client(&echo, &pki.client(Role::Device, "good")).await);
}

#[tokio::test]
async fn another_root_is_refused_on_both_sides() {
    let (pki, other) = (Pki::new(), Pki::new());
    let echo = Echo::of(&pki).await;
    let stranger = other.issue(Role::Device, "press-17").dir;
    let port = echo.addr.port();

    let tls = ClientTls::new(&IdentityFolder::load(&stranger).unwrap(), &[]).unwrap();
    let error = tls.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { failure: TlsFailure::UnknownIssuer, .. }), "{error}");
    assert!(matches!(echo.seen.failure().await, HandshakeFailure::Tls(TlsFailure::Refused(_))));

    // The stranger trusts our root, but its own certificate is not from it.
    for file in ["ca.pem", "crl.pem"] {
        std::fs::copy(pki.authority.dir().join(file), stranger.join(file)).unwrap();
    }
    let tls = ClientTls::new(&IdentityFolder::load(&stranger).unwrap(), &[]).unwrap();
    assert_eq!(refusal(&echo, &tls).await, HandshakeFailure::Tls(TlsFailure::UnknownIssuer));
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = Arc::new(raw_client(&pki, None, version));
        try_raw(&echo, &config).await.unwrap_err();
        assert_eq!(echo.seen.failure().await, HandshakeFailure::Tls(TlsFailure::NoCertificate));
    }
}

#[tokio::test]
async fn a_revoked_device_is_refused_at_once_even_with_a_session_to_resume() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let issued = pki.issue(Role::Device, "press-17");
    let folder = IdentityFolder::load(&issued.dir).unwrap();
    // rustls keeps sessions by default; this client would resume if the server let it.
    let clients = [&rustls::version::TLS13, &rustls::version::TLS12]
        .map(|version| Arc::new(raw_client(&pki, Some(&folder), version)));
    for client in &clients {
        try_raw(&echo, client).await.unwrap();
        try_raw(&echo, client).await.unwrap();
    }
    pki.authority.revoke(&RevokeWhat::Serial(issued.serial), &mut no_note).unwrap();
    let gateway = pki.authority.identity_dir(&identity(Role::Gateway, "berlin", "gw"));
    echo.tls.reload(&IdentityFolder::load(&gateway).unwrap()).unwrap();
    for client in &clients {
        try_raw(&echo, client).await.unwrap_err();
        assert_eq!(echo.seen.failure().await, HandshakeFailure::Tls(TlsFailure::Revoked));
    }
    assert!(try_client(&echo, &pki.client(Role::Device, "press-18")).await);
}

#[tokio::test]
async fn a_cached_chain_is_no_way_around_a_new_list() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let issued = pki.issue(Role::Device, "press-17");
    let tls = ClientTls::new(&IdentityFolder::load(&issued.dir).unwrap(), &[]).unwrap();
    let remembered = || echo.tls.current().verifier.cached_chains();
    for _ in 0..3 {
        assert!(try_client(&echo, &tls).await);
        assert_eq!(remembered(), 1);
    }
    pki.authority.revoke(&RevokeWhat::Serial(issued.serial), &mut no_note).unwrap();
    let gateway = pki.authority.identity_dir(&identity(Role::Gateway, "berlin", "gw"));
    echo.tls.reload(&IdentityFolder::load(&gateway).unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(&echo, &tls).await, HandshakeFailure::Tls(TlsFailure::Revoked));
    }
}

#[tokio::test]
async fn a_cached_chain_is_useless_without_its_key() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let folder = pki.folder(Role::Device, "press-17");
    let thief_key = pki.folder(Role::Device, "thief").certified_key().key;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = raw_client(&pki, Some(&folder), version);
        try_raw(&echo, &Arc::new(config.clone())).await.unwrap();
        assert_eq!(echo.tls.current().verifier.cached_chains(), 1);
        let stolen = rustls::sign::CertifiedKey::new(folder.certified_key().cert, Arc::clone(&thief_key));
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
        config.resumption = rustls::client::Resumption::disabled();
        try_raw(&echo, &Arc::new(config)).await.unwrap_err();
        // The handshake's own signature fails, not the chain's.
        assert!(matches!(echo.seen.failure().await, HandshakeFailure::Tls(TlsFailure::UnknownIssuer)));
    }
}

#[test]
fn sessions_are_never_cached() {
    let pki = Pki::new();
    let config = ServerTls::new(&pki.folder(Role::Gateway, "gw"), &[b"mqtt"]).unwrap().config();
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
    assert_eq!(config.send_tls13_tickets, 0);
}

#[tokio::test]
async fn a_revoked_server_is_refused() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let gateway = identity(Role::Gateway, "berlin", "gw");
    pki.authority.revoke(&RevokeWhat::Identity(gateway), &mut no_note).unwrap();
    let error = pki
        .client(Role::Device, "press-17")
        .connect("127.0.0.1", echo.addr.port(), Role::Gateway, TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Tls { failure: TlsFailure::Revoked, .. }), "{error}");
}

#[tokio::test]
async fn a_server_of_another_role_site_or_host_is_refused() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let far =
        pki.authority.issue(&IssueRequest::new(identity(Role::Device, "lyon", "a")), &mut no_note).unwrap();
    let far = ClientTls::new(&IdentityFolder::load(&far.dir).unwrap(), &[]).unwrap();
    let error = far.connect("127.0.0.1", echo.addr.port(), Role::Gateway, TIMEOUT).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Site { found, .. } if found.as_str() == "berlin"), "{error}");
    let tls = pki.client(Role::Operator, "ada");
    let error = tls.connect("127.0.0.1", echo.addr.port(), Role::Aggregator, TIMEOUT).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Role { expected: Role::Aggregator, found: Role::Gateway, .. }),
        "{error}"
    );
    let mut request = pki.request(Role::Gateway, "elsewhere");
    request.hosts = vec!["gw.example.org".parse().unwrap()];
    let dir = pki.authority.issue(&request, &mut no_note).unwrap().dir;
    echo.tls.reload(&IdentityFolder::load(&dir).unwrap()).unwrap();
    let error = tls.connect("127.0.0.1", echo.addr.port(), Role::Gateway, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { failure: TlsFailure::HostName, .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_must_name_one_identity_of_this_trust_domain() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    // A folder with such a certificate does not load, so the test uses a raw client.
    let good = "spiffe://test.example/site/berlin/device/a";
    for (name, uris, expected) in [
        ("none", &[][..], IdentityError::NoUri),
        ("two", &[good, "spiffe://test.example/operator/a"][..], IdentityError::ManyUris(2)),
        (
            "scheme",
            &["https://test.example/operator/a"][..],
            IdentityError::Scheme("https://test.example/operator/a".into()),
        ),
        (
            "domain",
            &["spiffe://other.example/operator/a"][..],
            IdentityError::OtherTrustDomain {
                expected: "test.example".parse().unwrap(),
                found: "other.example".parse().unwrap(),
            },
        ),
    ] {
        let dir = forge(&pki, name, uris);
        let pem = |file: &str| std::fs::read(dir.join(file)).unwrap();
        let chain = vec![rustls::pki_types::pem::PemObject::from_pem_slice(&pem("cert.pem")).unwrap()];
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(&pem("key.pem")).unwrap();
        let mut config = raw_client(&pki, None, &rustls::version::TLS13);
        let certified = rustls::sign::CertifiedKey::from_der(chain, key, &provider()).unwrap();
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        try_raw(&echo, &Arc::new(config)).await.unwrap_err();
        assert_eq!(echo.seen.failure().await, HandshakeFailure::Identity(expected));
    }
    assert!(IdentityFolder::load(&pki.dir.path().join("two")).unwrap_err().to_string().contains("cert.pem"));
}

#[tokio::test]
async fn a_connection_that_hangs_ends_by_its_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = Pki::new().client(Role::Device, "a");
    let port = silent.local_addr().unwrap().port();
    let error = tls.connect("127.0.0.1", port, Role::Gateway, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("50ms"), "{error}");
}

#[tokio::test]
async fn a_grpc_connector_reaches_the_server_of_a_url() {
    use tower::ServiceExt as _;
    let pki = Pki::new();
    let mut echo = Echo::of(&pki).await;
    let tls = pki.client(Role::Operator, "ada");
    let uri = crate::endpoint_uri(&format!("https://localhost:{}", echo.addr.port())).unwrap();
    let connector = crate::GrpcConnector::new(tls.clone(), Role::Gateway, TIMEOUT);
    let mut stream = connector.oneshot(uri.clone()).await.unwrap().into_inner();
    ping(&mut stream).await.unwrap();
    assert_eq!(echo.peers.recv().await.unwrap().identity, identity(Role::Operator, "", "ada"));
    let wrong = crate::GrpcConnector::new(tls, Role::Aggregator, TIMEOUT);
    assert!(matches!(wrong.oneshot(uri).await, Err(ConnectError::Role { .. })));
}
