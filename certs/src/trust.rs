//! The live trust of a process: an identity folder that is watched, and revocation lists that come from elsewhere.
//!
//! Certificate, key, anchors and lists are validated as a whole and swapped as a whole, for every configuration made
//! here. A folder that is not valid changes nothing but [`TrustStatus::problem`].
//!
//! * `files`: which files are looked at, and how a change shows;
//! * `watch`: when a changed folder is loaded, tried again and reported;
//! * `swap`: what a loaded folder or a received list changes;
//! * `compare`: which lists of `crl.pem` do not count beside kept or received ones;
//! * `report`: conditions and metrics.

mod compare;
mod files;
mod report;
mod swap;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use catchment_settings::Conditions;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch::{Receiver, Sender, channel};

pub use self::report::{
    CERTIFICATE_ENDS, CERTIFICATE_REFUSED, REVOCATION_LIST_ENDS, REVOCATION_LIST_MISSING,
    REVOCATION_LIST_OUTDATED, REVOCATIONS_NOT_KEPT, ROOT_NOT_VALID, TRUST_NOT_LOADED, TrustMetrics,
};
use self::{files::Stamp, swap::State};
use crate::{
    anchors::Root,
    certificate::Peer,
    client::ClientTls,
    folder::{FolderError, IdentityFolder},
    revocation::{RevocationError, Revocations},
    server::{ServerTls, TlsError},
    sessions::EndReason,
};

/// Where lists are kept before they count.
pub(crate) trait Keeper: fmt::Debug + Send + Sync {
    /// Keeps these lists instead of those before. Returns when they are kept, or when they should count all the same:
    /// the disk fails, or takes too long.
    fn keep(&self, lists: &Revocations);
}

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
    /// Start of its certificate's validity; the end is in `peer`.
    pub valid_from: SystemTime,
    /// The lists that count.
    pub revocations: Revocations,
    /// The trust anchors; one outside its dates does not count.
    pub roots: Arc<[Root]>,
    /// Number of this trust: rises with each swap.
    pub version: u64,
    /// What is wrong with the files that were found last, for people; the trust before them counts.
    pub problem: Option<String>,
    /// When the trust was swapped last, or first loaded.
    pub since: SystemTime,
    /// What came of the changes that were found.
    pub reloads: Reloads,
}

impl TrustStatus {
    /// Why a peer that an earlier trust accepted is refused by this one; its certificate's end does not count here.
    pub fn refuses(&self, peer: &Peer) -> Option<EndReason> {
        if self.revocations.names(peer) {
            return Some(EndReason::Revoked);
        }
        let gone = peer.root.as_ref().is_some_and(|root| self.roots.iter().all(|known| known.key != *root));
        gone.then_some(EndReason::Untrusted)
    }
}

/// How often changed files were taken and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Changed files that count since.
    pub taken: u64,
    /// Changed files, or a list among them, that were reported as a problem.
    pub refused: u64,
}

/// The live trust of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Trust {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    config: TrustConfig,
    /// The files as they were before the folder was loaded.
    loaded: Stamp,
    status: Sender<TrustStatus>,
    /// Locked by those who change it, also while they verify lists; handshakes never wait for it.
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is prepared before it is made, so a panic leaves the state before or after it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trust {
    /// Loads an identity that is in force now ([`IdentityFolder::load_in_force`]).
    ///
    /// # Errors
    /// The first problem found.
    pub fn load(dir: &Path, config: TrustConfig) -> Result<Self, FolderError> {
        let loaded = Stamp::of(dir);
        let folder = IdentityFolder::load_in_force(dir)?;
        let (status, _) = channel(TrustStatus {
            peer: Arc::new(folder.peer().clone()),
            valid_from: folder.valid_from(),
            revocations: folder.revocations().clone(),
            roots: Arc::clone(folder.anchors().roots()),
            version: 1,
            problem: swap::problem_of_lists(&folder, folder.refused_lists()),
            since: SystemTime::now(),
            reloads: Reloads::default(),
        });
        let state = Mutex::new(State::new(folder, config));
        Ok(Self { shared: Arc::new(Shared { dir: dir.to_owned(), config, loaded, status, state }) })
    }

    /// The process's own identity.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.shared.status.borrow().peer)
    }

    /// The configuration that it was loaded with.
    pub fn config(&self) -> TrustConfig {
        self.shared.config
    }

    /// A server's configuration, which follows this trust: see [`ServerTls::new`].
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn server(&self, alpn: &[&[u8]]) -> Result<ServerTls, TlsError> {
        self.shared.lock().server(alpn, false)
    }

    /// A server's configuration, which follows this trust: see [`ServerTls::accepting_any_protocol`].
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn server_of_any_protocol(&self, alpn: &[&[u8]]) -> Result<ServerTls, TlsError> {
        self.shared.lock().server(alpn, true)
    }

    /// A client's configuration, which follows this trust. Lists that are out of date still count for what they name,
    /// but do not keep it from connecting: over that connection newer ones come.
    ///
    /// # Errors
    /// As [`ClientTls::new`].
    pub fn client(&self, alpn: &[&[u8]]) -> Result<ClientTls, TlsError> {
        self.shared.lock().client(alpn)
    }

    /// The trust that counts now, and each that follows.
    pub fn subscribe(&self) -> Receiver<TrustStatus> {
        self.shared.status.subscribe()
    }

    /// Takes revocation lists (DER) that came from a peer or from disk, with the issuing certificates of sites (DER)
    /// that signed some of them. Each that is signed by an anchor or such an issuer, and is newer than the one that
    /// counts, counts from now on. Returns whether any does.
    ///
    /// Verifies signatures, and waits for another change in progress: some milliseconds, a large list more. Call it on a
    /// thread that may block.
    ///
    /// # Errors
    /// The first list that is refused; the others are taken all the same.
    pub fn add_lists(&self, lists: &[&[u8]], issuers: &[&[u8]]) -> Result<bool, RevocationError> {
        let (changed, refused) = self.offer_lists(lists, issuers);
        refused.into_iter().next().map_or(Ok(changed), Err)
    }

    /// As [`Self::add_lists`]; also returns why each of the others is refused, in the order of the lists.
    pub fn offer_lists(&self, lists: &[&[u8]], issuers: &[&[u8]]) -> (bool, Vec<RevocationError>) {
        let mut state = self.shared.lock();
        let merged = state.revocations().merged(state.anchors(), lists, &certificates(issuers));
        if merged.changed {
            self.shared.take_lists(&mut state, merged.revocations);
        }
        (merged.changed, merged.refused.into_iter().map(|(_, error)| error).collect())
    }

    /// Takes the lists that an earlier run kept, before anything is accepted. They counted, so they come first: a list of
    /// the identity folder takes their place only if its number is higher. Returns why some do not count;
    /// [`Self::compare_file_with_kept`] says which of the folder's are behind.
    pub(crate) fn start_from(&self, kept: &[&[u8]], issuers: &[&[u8]]) -> Vec<RevocationError> {
        let mut state = self.shared.lock();
        let kept = Revocations::default().merged(state.anchors(), kept, &certificates(issuers));
        let merged = state.over(&kept.revocations);
        if !merged.revocations.are(state.revocations()) {
            self.shared.take_lists(&mut state, merged.revocations);
        }
        let is_behind = |error: &RevocationError| {
            matches!(error, RevocationError::RolledBack { .. } | RevocationError::SameNumber { .. })
        };
        let of_file = merged.refused.into_iter().filter(|(_, error)| !is_behind(error));
        kept.refused.into_iter().chain(of_file).map(|(_, error)| error).collect()
    }

    /// From now on every change of the lists is given to `keeper` before it counts: a process that is killed the moment
    /// after knows them at its next start. Keeps what counts now.
    pub(crate) fn keep_by(&self, keeper: Arc<dyn Keeper>) {
        let mut state = self.shared.lock();
        let counting = state.revocations().clone();
        state.keep_by(keeper);
        state.keep(&counting);
    }

    /// Compares `crl.pem` with the lists that were kept and given to this trust at the start. If the file is the only source
    /// of lists, one that lags behind has gone back, which is reported as while the process runs. Otherwise newer lists
    /// came from a peer, and the log says so; another list with the same number is reported all the same.
    pub(crate) fn compare_file_with_kept(&self, is_only_source: bool) {
        let mut state = self.shared.lock();
        let problem = if is_only_source { state.expect_all_in_file() } else { state.compare_file() };
        if problem.is_some() {
            self.shared.report_problem(problem);
        }
    }

    /// Watches the files until the future is dropped. Errors are in the status.
    pub async fn watch(&self) {
        watch::watch(&self.shared).await;
    }

    /// Watches the files, and raises and clears the conditions of this trust, until the future is dropped. The
    /// conditions are [`REVOCATION_LIST_MISSING`], [`REVOCATION_LIST_OUTDATED`], [`REVOCATION_LIST_ENDS`],
    /// [`CERTIFICATE_ENDS`], [`CERTIFICATE_REFUSED`], [`ROOT_NOT_VALID`] and [`TRUST_NOT_LOADED`].
    pub async fn watch_and_report(&self, conditions: &Conditions) {
        tokio::join!(self.watch(), report::report(self, conditions));
    }
}

fn certificates<'a>(ders: &[&'a [u8]]) -> Vec<CertificateDer<'a>> {
    ders.iter().map(|der| CertificateDer::from(*der)).collect()
}
