//! The client side of TLS: connects to a server of an expected role in the same trust domain.
//!
//! The server's certificate must be issued by one of the folder's trust anchors, be on none of its revocation lists,
//! and name the host. The role is checked too, because the authority may have issued a gateway's certificate for any
//! host name. A missing or outdated list refuses no server: over the connection newer ones come.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use catchment_proto::id::Name;
use rustls::{
    ClientConfig,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    anchors::Anchors,
    certificate::Peer,
    chain::peer_of_chain,
    failure::TlsFailure,
    folder::IdentityFolder,
    identity::{IdentityError, Role},
    provider::provider,
    revocation::RevocationCheck,
    server::{BUFFER_BYTES_MAX, TlsError},
    verifier::ServerVerifier,
};

/// A client's TLS configuration that can be replaced while in use. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientTls {
    current: Arc<ArcSwap<Current>>,
    alpn: Arc<[Vec<u8>]>,
}

/// A configuration and its identity, replaced together.
#[derive(Debug)]
pub(crate) struct Current {
    config: Arc<ClientConfig>,
    peer: Arc<Peer>,
    anchors: Anchors,
}

/// Why a connection failed. Every message names the server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The identity cannot be used.
    #[error(transparent)]
    Unusable(TlsError),
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
    /// The server belongs to another site than this client, a device.
    #[error(
        "{server} is a gateway of site {found}, but this device belongs to site {own}; check the address"
    )]
    Site {
        /// `HOST:PORT`.
        server: String,
        /// The device's site.
        own: Name,
        /// The site in the server's certificate.
        found: Name,
    },
}

impl ConnectError {
    /// Whether retrying is useless until somebody changes certificates or addresses.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Tcp { .. } | Self::Timeout { .. } => false,
            Self::Tls { failure, .. } => failure.is_lasting(),
            Self::Unusable(_)
            | Self::Host(_)
            | Self::Identity { .. }
            | Self::Role { .. }
            | Self::Site { .. } => true,
        }
    }
}

impl ClientTls {
    /// Builds the configuration of a client that offers the application protocols `alpn`, preferred first (none
    /// if empty).
    ///
    /// # Errors
    /// The TLS library refuses the trust anchors.
    pub fn new(folder: &IdentityFolder, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::with(folder, alpn, own_check(folder))
    }

    /// A configuration that asks `revocations`.
    pub(crate) fn with(
        folder: &IdentityFolder,
        alpn: &[&[u8]],
        revocations: Arc<RevocationCheck>,
    ) -> Result<Self, TlsError> {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let current = Arc::new(ArcSwap::from_pointee(Current::new(folder, &alpn, revocations)?));
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
        self.store(self.prepare(folder, own_check(folder))?);
        Ok(())
    }

    /// Builds the configuration that replaces the current one.
    pub(crate) fn prepare(
        &self,
        folder: &IdentityFolder,
        revocations: Arc<RevocationCheck>,
    ) -> Result<Arc<Current>, TlsError> {
        Ok(Arc::new(Current::new(folder, &self.alpn, revocations)?))
    }

    /// Whether anyone but the caller holds it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.current) > 1
    }

    /// Replaces the configuration.
    pub(crate) fn store(&self, prepared: Arc<Current>) {
        self.current.store(prepared);
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
    fn new(
        folder: &IdentityFolder,
        alpn: &[Vec<u8>],
        revocations: Arc<RevocationCheck>,
    ) -> Result<Self, TlsError> {
        let anchors = folder.anchors().clone();
        let inner = WebPkiServerVerifier::builder_with_provider(folder.roots(), provider())
            .build()
            .map_err(|error| TlsError::verifier(folder, error))?;
        let verifier = Arc::new(ServerVerifier::new(inner, anchors.clone(), revocations));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(folder.certified_key())));
        config.alpn_protocols = alpn.to_vec();
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), peer: Arc::new(folder.peer().clone()), anchors })
    }

    fn check_server(
        &self,
        stream: &TlsStream<TcpStream>,
        expect: Role,
        server: &str,
    ) -> Result<Peer, ConnectError> {
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().ok_or_else(|| ConnectError::Tls {
            server: server.to_owned(),
            failure: TlsFailure::NoCertificate,
        })?;
        let peer = peer_of_chain(chain, &self.anchors)
            .and_then(|peer| peer.of_domain(&self.peer.trust_domain))
            .map_err(|error| ConnectError::Identity { server: server.to_owned(), error })?;
        let found = peer.identity.role();
        if found != expect {
            return Err(ConnectError::Role { server: server.to_owned(), expected: expect, found });
        }
        // A site that issues for itself can name any host in its gateways' certificates.
        if self.peer.identity.role() == Role::Device
            && let (Some(own), Some(found)) = (self.peer.identity.site(), peer.identity.site())
            && own != found
        {
            let (own, found) = (own.clone(), found.clone());
            return Err(ConnectError::Site { server: server.to_owned(), own, found });
        }
        Ok(peer)
    }
}

/// The folder's own lists.
fn own_check(folder: &IdentityFolder) -> Arc<RevocationCheck> {
    RevocationCheck::new(folder.revocations().clone(), false)
}
