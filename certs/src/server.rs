//! The server's side of TLS: a client certificate is mandatory, and revocation holds from the next handshake.
//!
//! A configuration is built whole from an identity folder and swapped in one step, so that a handshake sees
//! either the old or the new one. Sessions are never resumed: a resumed session skips the check of the
//! client's certificate, and a revoked device would come back through it. What a configuration has verified it
//! remembers, see `verifier`; that memory ends with it.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};

use crate::{
    certificate::Peer,
    folder::{CRL_FILE, IdentityFolder},
    provider::provider,
    verifier::ClientVerifier,
};

/// Most plaintext bytes that a connection holds back while its peer does not read. One full TLS record: a
/// stalled peer costs no more, and a busy one is sent record by record anyway.
pub(crate) const BUFFER_BYTES_MAX: usize = 16 << 10;

/// Why no TLS configuration could be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The trust anchors or revocation lists are refused.
    #[error("{path} cannot be used: {error}")]
    Verifier {
        /// The revocation list's file, the only part that has not been checked by loading the folder.
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
        Self::Verifier { path: folder.dir().join(CRL_FILE), error }
    }
}

/// A server's TLS configuration that can be exchanged while it serves. Clones share it.
#[derive(Clone, Debug)]
pub struct ServerTls {
    current: Arc<ArcSwap<Current>>,
    alpn: Arc<[Vec<u8>]>,
    /// A client that offers other protocols only is taken too, with none agreed on.
    accepts_any_protocol: bool,
}

/// One configuration and whose it is, exchanged together.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) config: Arc<ServerConfig>,
    /// For clients that offer other protocols only, if they are taken.
    without_alpn: Option<Arc<ServerConfig>>,
    pub(crate) peer: Arc<Peer>,
    /// For tests: the configuration does not give it back.
    #[cfg(test)]
    pub(crate) verifier: Arc<ClientVerifier>,
}

impl ServerTls {
    /// Builds the configuration of a server that speaks the application protocols `alpn`, best first. A
    /// client that offers none is taken; one that offers only others is refused.
    ///
    /// # Errors
    /// A revocation list that the TLS library refuses.
    pub fn new(folder: &IdentityFolder, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::with(folder, alpn, false)
    }

    /// As [`Self::new`], and a client that offers only other protocols is taken as one that offers none: what it speaks
    /// is for the server to find out, and to answer.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn accepting_any_protocol(folder: &IdentityFolder, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        Self::with(folder, alpn, true)
    }

    fn with(folder: &IdentityFolder, alpn: &[&[u8]], accepts_any_protocol: bool) -> Result<Self, TlsError> {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let current = Arc::new(ArcSwap::from_pointee(Current::new(folder, &alpn, accepts_any_protocol)?));
        Ok(Self { current, alpn, accepts_any_protocol })
    }

    /// The configuration for the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Configuration and identity of one moment.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// The server's own identity.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.current.load().peer)
    }

    /// Exchanges certificate, key, trust anchors and revocation lists for those of `folder`, from the next
    /// handshake on, for all clones. Connections that stand are not touched.
    ///
    /// # Errors
    /// As [`Self::new`]; the old configuration stays.
    pub fn reload(&self, folder: &IdentityFolder) -> Result<(), TlsError> {
        self.current.store(Arc::new(Current::new(folder, &self.alpn, self.accepts_any_protocol)?));
        Ok(())
    }
}

impl Current {
    /// The configuration for a client that offers these application protocols.
    pub(crate) fn config_for<'a>(
        &self,
        offers: Option<impl Iterator<Item = &'a [u8]>>,
    ) -> &Arc<ServerConfig> {
        let known = |offer: &[u8]| self.config.alpn_protocols.iter().any(|known| known == offer);
        // Without an offer the two do the same.
        let is_known = offers.is_none_or(|mut offers| offers.any(known));
        self.without_alpn.as_ref().filter(|_| !is_known).unwrap_or(&self.config)
    }

    fn new(folder: &IdentityFolder, alpn: &[Vec<u8>], accepts_any_protocol: bool) -> Result<Self, TlsError> {
        // Strict where there are lists: the whole chain is checked, and an issuer without a list is refused.
        // A list past its date still counts (with a warning when it is loaded): refusing it would lock a
        // whole site out because nobody renewed a file.
        let verifier = WebPkiClientVerifier::builder_with_provider(folder.roots(), provider())
            .with_crls(folder.crls())
            .build()
            .map_err(|error| TlsError::verifier(folder, error))?;
        // Made here and nowhere else: no other configuration, and none after a reload, shares what it remembers.
        let verifier = Arc::new(ClientVerifier::new(verifier));
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
            #[cfg(test)]
            verifier,
        })
    }
}
