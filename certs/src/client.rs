//! The client side of TLS: connects to a server of an expected role in the same trust domain.
//!
//! The server's certificate must be issued by one of the folder's trust anchors, be on none of its revocation lists,
//! and name the host. The role is checked too, because the authority may have issued a gateway's certificate for any
//! host name.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    certificate::{Peer, peer_from_certificate},
    failure::TlsFailure,
    folder::IdentityFolder,
    identity::{IdentityError, Role},
    provider::provider,
    server::{BUFFER_BYTES_MAX, TlsError},
};

/// A client's TLS configuration that can be replaced while in use. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientTls {
    current: Arc<ArcSwap<Current>>,
    alpn: Arc<[Vec<u8>]>,
}

/// A configuration and its identity, replaced together.
#[derive(Debug)]
struct Current {
    config: Arc<ClientConfig>,
    peer: Arc<Peer>,
}

/// Why a connection failed. Every message names the server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Host(String),
    /// The name does not resolve, or nothing listens there.
    #[error("cannot connect to {server}: {error}")]
    Tcp {
        /// `HOST:PORT`.
        server: String,
        /// The system's error.
        error: io::Error,
    },
    /// Name resolution, connecting and handshake took longer than allowed.
    #[error("{server} did not complete the connection within {}", humantime::format_duration(*.after))]
    Timeout {
        /// `HOST:PORT`.
        server: String,
        /// The deadline.
        after: Duration,
    },
    /// TLS refused the connection, on either side.
    #[error("{server}: {failure}")]
    Tls {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        failure: TlsFailure,
    },
    /// The server's certificate names no identity of this trust domain.
    #[error("{server}: {error}")]
    Identity {
        /// `HOST:PORT`.
        server: String,
        /// Why.
        error: IdentityError,
    },
    /// The server has another role than expected.
    #[error("{server} is {}, not {}; check the address", .found.with_article(), .expected.with_article())]
    Role {
        /// `HOST:PORT`.
        server: String,
        /// The expected role.
        expected: Role,
        /// The role in its certificate.
        found: Role,
    },
}

impl ConnectError {
    /// Whether retrying is useless until somebody changes certificates or addresses.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Tcp { .. } | Self::Timeout { .. } => false,
            Self::Tls { failure, .. } => failure.is_lasting(),
            Self::Host(_) | Self::Identity { .. } | Self::Role { .. } => true,
        }
    }
}

impl ClientTls {
    /// Builds the configuration of a client that offers the application protocols `alpn`, preferred first (none
    /// if empty).
    ///
    /// # Errors
    /// The TLS library refuses a revocation list.
    pub fn new(folder: &IdentityFolder, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let current = Arc::new(ArcSwap::from_pointee(Current::new(folder, &alpn)?));
        Ok(Self { current, alpn })
    }

    /// The configuration for the next handshake.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The client's own identity.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.current.load().peer)
    }

    /// Replaces certificate, key, trust anchors and revocation lists with those of `folder`, for all clones, starting
    /// with the next handshake.
    ///
    /// # Errors
    /// As [`Self::new`]; the old configuration stays.
    pub fn reload(&self, folder: &IdentityFolder) -> Result<(), TlsError> {
        self.current.store(Arc::new(Current::new(folder, &self.alpn)?));
        Ok(())
    }

    /// Connects to a server of role `expect`, with one deadline for name resolution, TCP and handshake.
    ///
    /// `host` is a DNS name or an IP address (IPv6 without brackets). In TLS 1.3 the client's handshake completes
    /// before the server has verified its certificate: a refusal arrives with the first read, and
    /// [`TlsFailure::from_io`] explains it.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        expect: Role,
        deadline: Duration,
    ) -> Result<(TlsStream<TcpStream>, Peer), ConnectError> {
        let server = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Host(host.to_owned()))?;
        let current = self.current.load_full();
        let handshake = async {
            let tcp = |error| ConnectError::Tcp { server: server.clone(), error };
            let stream = TcpStream::connect((host, port)).await.map_err(tcp)?;
            stream.set_nodelay(true).map_err(tcp)?;
            TlsConnector::from(Arc::clone(&current.config))
                .connect_with(name, stream, |connection| connection.set_buffer_limit(Some(BUFFER_BYTES_MAX)))
                .await
                .map_err(|error| ConnectError::Tls {
                    server: server.clone(),
                    failure: TlsFailure::from_io(&error),
                })
        };
        let stream = timeout(deadline, handshake)
            .await
            .map_err(|_| ConnectError::Timeout { server: server.clone(), after: deadline })??;
        let peer = current.check_server(&stream, expect, &server)?;
        Ok((stream, peer))
    }
}

impl Current {
    fn new(folder: &IdentityFolder, alpn: &[Vec<u8>]) -> Result<Self, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(folder.roots(), provider())
            .with_crls(folder.crls())
            .build()
            .map_err(|error| TlsError::verifier(folder, error))?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(folder.certified_key())));
        config.alpn_protocols = alpn.to_vec();
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), peer: Arc::new(folder.peer().clone()) })
    }

    fn check_server(
        &self,
        stream: &TlsStream<TcpStream>,
        expect: Role,
        server: &str,
    ) -> Result<Peer, ConnectError> {
        let (_, connection) = stream.get_ref();
        let leaf = connection.peer_certificates().and_then(<[_]>::first).ok_or_else(|| {
            ConnectError::Tls { server: server.to_owned(), failure: TlsFailure::NoCertificate }
        })?;
        let peer = peer_from_certificate(leaf)
            .and_then(|peer| peer.of_domain(&self.peer.trust_domain))
            .map_err(|error| ConnectError::Identity { server: server.to_owned(), error })?;
        let found = peer.identity.role();
        if found != expect {
            return Err(ConnectError::Role { server: server.to_owned(), expected: expect, found });
        }
        Ok(peer)
    }
}
