//! TLS offers what `docs/devices.md` lists, and a client that supports only one listed item can connect.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::support::{Echo, Pki, no_note, ping};
use crate::{AcceptConfig, IdentityFolder, Role, ServerTls, provider::provider};

/// The names in list items "* `NAME`" below a heading of the document.
fn listed(heading: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/devices.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, below) =
        text.split_once(&format!("### {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = below.split("\n#").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("* `")?.split('`').next().map(str::to_owned))
        .collect()
}

fn names<T: std::fmt::Debug>(list: impl IntoIterator<Item = T>) -> Vec<String> {
    list.into_iter().map(|one| format!("{one:?}")).collect()
}

// The document lists the default build.
#[cfg(feature = "aws-lc-rs")]
#[test]
fn the_document_lists_what_a_server_offers() {
    let pki = Pki::new();
    let config = ServerTls::new(&pki.folder(Role::Gateway, "gw"), &[]).unwrap().config();
    let provider = config.crypto_provider();
    assert_eq!(listed("Cipher suites"), names(provider.cipher_suites.iter().map(|suite| suite.suite())));
    assert_eq!(listed("Key exchange"), names(provider.kx_groups.iter().map(|group| group.name())));
    let schemes = provider.signature_verification_algorithms.mapping.iter().map(|(scheme, _)| scheme);
    assert_eq!(listed("Signatures"), names(schemes));
    // What the document says about sessions and records.
    assert_eq!((config.send_tls13_tickets, config.session_storage.can_cache()), (0, false));
    assert!(!config.ticketer.enabled());
    assert_eq!(config.max_fragment_size, None);
}

/// A client with the given provider and a device's identity.
fn client(
    pki: &Pki,
    folder: &IdentityFolder,
    provider: CryptoProvider,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let root = std::fs::read(pki.authority.dir().join("ca.pem")).unwrap();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&root).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(folder.certified_key())));
    Ok(Arc::new(config))
}

async fn connects(echo: &Echo, config: &Arc<ClientConfig>) -> std::io::Result<()> {
    let tcp = TcpStream::connect(echo.addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    ping(&mut TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?).await
}

/// Signs the request for a key that the authority never sees, and puts the key next to the certificate.
fn signed_rsa(pki: &Pki, role: Role, name: &str) -> IdentityFolder {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let csr = pki.dir.path().join(format!("{name}.csr"));
    std::fs::write(&csr, CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap())
        .unwrap();
    let dir = pki.authority.sign(&csr, &pki.request(role, name), &mut no_note).unwrap().dir;
    crate::files::create_file(&dir.join("key.pem"), key.serialize_pem().as_bytes(), 0o600).unwrap();
    IdentityFolder::load(&dir).unwrap()
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn each_suite_and_each_key_exchange_gets_a_connection() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let rsa = Echo::start(&signed_rsa(&pki, Role::Gateway, "rsa"), AcceptConfig::default()).await;
    let device = pki.folder(Role::Device, "d");
    let all = provider();
    for suite in &all.cipher_suites {
        let one = CryptoProvider { cipher_suites: vec![*suite], ..(*all).clone() };
        let config = client(&pki, &device, one).unwrap();
        // ECDHE_RSA suites need a gateway with an RSA key.
        let needs_rsa = format!("{:?}", suite.suite()).contains("_RSA_");
        let server = if needs_rsa { &rsa } else { &echo };
        connects(server, &config).await.unwrap_or_else(|error| panic!("{suite:?}: {error}"));
    }
    for group in &all.kx_groups {
        let one = CryptoProvider { kx_groups: vec![*group], ..(*all).clone() };
        let config = client(&pki, &device, one).unwrap();
        connects(&echo, &config).await.unwrap_or_else(|error| panic!("{group:?}: {error}"));
    }
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn a_device_with_an_rsa_key_connects_after_its_request_is_signed() {
    let pki = Pki::new();
    let echo = Echo::of(&pki).await;
    let folder = signed_rsa(&pki, Role::Device, "modem");
    connects(&echo, &client(&pki, &folder, (*provider()).clone()).unwrap()).await.unwrap();
    assert_eq!(echo.seen.failures.lock().unwrap().len(), 0);
}
