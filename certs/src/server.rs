//! The server side of TLS: client certificates are mandatory, and revocation takes effect with the next handshake.
//!
//! A configuration is built from an identity folder and swapped atomically, so a handshake sees either the old or the
//! new one. Sessions are never resumed: a resumed session skips the check of the client's certificate and would let a
//! revoked device reconnect. The verifier caches the chains that it has verified (see `verifier`) until the trust
//! anchors change; revocation lists are replaced without a new configuration.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};

use crate::{
    anchors::Anchors,
    certificate::Peer,
    chain::peer_of_chain,
    folder::{CA_FILE, IdentityFolder},
    identity::IdentityError,
    provider::provider,
    revocation::RevocationCheck,
    verifier::ClientVerifier,
};

/// Maximum plaintext bytes that a connection buffers while its peer does not read. One full TLS record: a
/// stalled peer costs no more, and data to a busy one is sent record by record anyway.
pub(crate) const BUFFER_BYTES_MAX: usize = 16 << 10;

/// Why no TLS configuration could be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The trust anchors are refused.
    #[error("{path} cannot be used: {error}")]
    Verifier {
        /// The trust anchors' file.
        path: PathBuf,
        /// What is wrong.
        error: VerifierBuilderError,
    },
    /// The cryptography provider is refused.
    #[error("no TLS configuration can be built: {0}")]
    Config(#[from] rustls::Error),
}

impl TlsError {
    pub(crate) fn verifier(folder: &IdentityFolder, error: VerifierBuilderError) -> Self {
        Self::Verifier { path: folder.dir().join(CA_FILE), error }
    }
}

/// A server's TLS configuration that can be replaced while in use. Clones share it.
#[derive(Clone, Debug)]
pub struct ServerTls {
    current: Arc<ArcSwap<Current>>,
    alpn: Arc<[Vec<u8>]>,
    /// Clients that offer only other protocols are accepted too, without a negotiated protocol.
    accepts_any_protocol: bool,
}

/// A configuration and its identity, replaced together.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) config: Arc<ServerConfig>,
    /// For clients that offer only other protocols, if they are accepted.
    without_alpn: Option<Arc<ServerConfig>>,
    pub(crate) peer: Arc<Peer>,
    anchors: Anchors,
    /// Kept while the anchors and the lists' place stay, because of its cache.
    pub(crate) verifier: Arc<ClientVerifier>,
    revocations: Arc<RevocationCheck>,
}

impl ServerTls {
    /// Builds the configuration of a server that supports the application protocols `alpn`, preferred first. A
    /// client that offers none is accepted; one that offers only others is refused. Without a revocation list of a root
    /// that is up to date, no client is accepted. A server that runs for long gets its configuration from
    /// [`crate::Trust::server`], which follows the files.
    ///
    /// # Errors
    /// The TLS library refuses the trust anchors.
    pub fn new(folder: &IdentityFolder, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::with(folder, alpn, false, own_check(folder))
    }

    /// Like [`Self::new`], but a client that offers only other protocols is treated like one that offers none: the
    /// server must detect its protocol and answer.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn accepting_any_protocol(folder: &IdentityFolder, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::with(folder, alpn, true, own_check(folder))
    }

    /// A configuration that asks `revocations`.
    pub(crate) fn with(
        folder: &IdentityFolder,
        alpn: &[&[u8]],
        accepts_any_protocol: bool,
        revocations: Arc<RevocationCheck>,
    ) -> Result<Self, TlsError> {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let current = Current::new(folder, &alpn, accepts_any_protocol, revocations, None)?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(current)), alpn, accepts_any_protocol })
    }

    /// The configuration for the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The current configuration and identity.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// The server's own identity.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.current.load().peer)
    }

    /// Replaces certificate, key, trust anchors and revocation lists with those of `folder`, for all clones, starting
    /// with the next handshake. Established connections are not affected.
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
        let before = self.current();
        let (alpn, any) = (&self.alpn, self.accepts_any_protocol);
        Ok(Arc::new(Current::new(folder, alpn, any, revocations, Some(&before))?))
    }

    /// Whether anyone but the caller holds it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.current) > 1
    }

    /// Replaces the configuration.
    pub(crate) fn store(&self, prepared: Arc<Current>) {
        self.current.store(prepared);
    }
}

impl Current {
    /// The configuration for a client that offers these application protocols.
    pub(crate) fn config_for<'a>(
        &self,
        offers: Option<impl Iterator<Item = &'a [u8]>>,
    ) -> &Arc<ServerConfig> {
        let known = |offer: &[u8]| self.config.alpn_protocols.iter().any(|known| known == offer);
        // Without an offer, both configurations behave the same.
        let is_known = offers.is_none_or(|mut offers| offers.any(known));
        self.without_alpn.as_ref().filter(|_| !is_known).unwrap_or(&self.config)
    }

    /// The peer that presented this chain in a handshake with this configuration.
    pub(crate) fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<Peer, IdentityError> {
        peer_of_chain(chain, &self.anchors)?.of_domain(&self.peer.trust_domain)
    }

    fn new(
        folder: &IdentityFolder,
        alpn: &[Vec<u8>],
        accepts_any_protocol: bool,
        revocations: Arc<RevocationCheck>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let anchors = folder.anchors().clone();
        let same = |before: &&Self| {
            before.anchors.certificates() == anchors.certificates()
                && Arc::ptr_eq(&before.revocations, &revocations)
        };
        let verifier = match before.filter(same) {
            Some(before) => Arc::clone(&before.verifier),
            None => {
                let inner = WebPkiClientVerifier::builder_with_provider(folder.roots(), provider())
                    .build()
                    .map_err(|error| TlsError::verifier(folder, error))?;
                Arc::new(ClientVerifier::new(inner, anchors.clone(), Arc::clone(&revocations)))
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(folder.certified_key())));
        config.alpn_protocols = alpn.to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let without_alpn = accepts_any_protocol.then(|| {
            let mut without = config.clone();
            without.alpn_protocols = Vec::new();
            Arc::new(without)
        });
        Ok(Self {
            config: Arc::new(config),
            without_alpn,
            peer: Arc::new(folder.peer().clone()),
            anchors,
            verifier,
            revocations,
        })
    }
}

/// The folder's own lists, required.
fn own_check(folder: &IdentityFolder) -> Arc<RevocationCheck> {
    RevocationCheck::new(folder.revocations().clone(), true)
}
