//! What a loaded folder changes: all configurations at once, or only the lists.

use std::{path::Path, sync::Arc, time::SystemTime};

use rustls::pki_types::CertificateDer;

use super::{Keeper, Shared, TrustConfig, compare::Ignored};
use crate::{
    client::{self, ClientTls},
    folder::{CERT_FILE, CRL_FILE, FolderError, IdentityFolder},
    revocation::{Merged, RevocationCheck, RevocationError, Revocations},
    self_check::SelfCheckError,
    server::{self, ServerTls, TlsError},
};

/// Why a loaded folder is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwapError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The trust that counts, and the configurations that follow it.
#[derive(Debug)]
pub(super) struct State {
    folder: IdentityFolder,
    /// The lists that ever came from `crl.pem`, as far as their roots are trusted: a file that goes back shows by them.
    from_file: Revocations,
    /// All lists that count.
    revocations: Revocations,
    /// What was found wrong with lists of `crl.pem` that do not count beside kept or received ones.
    ignored: Option<String>,
    /// Shared by all configurations with the present anchors. Other anchors get their own, so that a handshake with an
    /// old configuration sees the lists of its own anchors.
    check: Arc<RevocationCheck>,
    config: TrustConfig,
    keeper: Option<Arc<dyn Keeper>>,
    servers: Vec<ServerTls>,
    clients: Vec<ClientTls>,
}

impl State {
    pub(super) fn new(mut folder: IdentityFolder, config: TrustConfig) -> Self {
        folder.drop_crl_file();
        let revocations = folder.revocations().clone();
        Self {
            check: RevocationCheck::new(revocations.clone(), config.require_revocation_list),
            from_file: revocations.clone(),
            revocations,
            ignored: None,
            folder,
            config,
            keeper: None,
            servers: Vec::new(),
            clients: Vec::new(),
        }
    }

    pub(super) fn anchors(&self) -> &[CertificateDer<'static>] {
        self.folder.anchors().certificates()
    }

    pub(super) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub(super) fn server(&mut self, alpn: &[&[u8]], any_protocol: bool) -> Result<ServerTls, TlsError> {
        let tls = ServerTls::with(&self.folder, alpn, any_protocol, Arc::clone(&self.check))?;
        self.servers.retain(ServerTls::is_shared);
        self.servers.push(tls.clone());
        Ok(tls)
    }

    pub(super) fn client(&mut self, alpn: &[&[u8]]) -> Result<ClientTls, TlsError> {
        let tls = ClientTls::with(&self.folder, alpn, Arc::clone(&self.check))?;
        self.clients.retain(ClientTls::is_shared);
        self.clients.push(tls.clone());
        Ok(tls)
    }

    pub(super) fn keep_by(&mut self, keeper: Arc<dyn Keeper>) {
        self.keeper = Some(keeper);
    }

    /// Keeps lists that count next. Handshakes do not wait for it.
    pub(super) fn keep(&self, revocations: &Revocations) {
        self.keeper.iter().for_each(|keeper| keeper.keep(revocations));
    }

    /// See [`super::Trust::expect_all_in_file`]. Returns what is wrong with the file.
    pub(super) fn expect_all_in_file(&mut self) -> Option<String> {
        let found = std::mem::replace(&mut self.from_file, self.revocations.clone());
        let path = self.folder.dir().join(CRL_FILE);
        if found.lists().is_empty() && !self.from_file.lists().is_empty() {
            return Some(vanished(&path));
        }
        let behind = found.behind(&self.from_file).into_iter().next()?;
        Some(format!("{}: {}", path.display(), behind.why))
    }

    /// Compares `crl.pem` with the lists that count, at a start. Returns what is wrong with it.
    pub(super) fn compare_file(&mut self) -> Option<String> {
        let ignored = Ignored::find(&self.folder, &self.revocations);
        self.ignored = ignored.problem(false);
        if self.ignored.is_none() {
            ignored.log();
        }
        self.ignored.clone()
    }

    /// The lists that count, those of `crl.pem`, over others: of each issuer the higher one, and of two with the same
    /// number the other.
    pub(super) fn over(&self, others: &Revocations) -> Merged {
        let lists: Vec<&[u8]> = self.revocations.lists().iter().map(|list| list.der.as_ref()).collect();
        let issuers: Vec<_> =
            self.revocations.lists().iter().filter_map(|list| list.issuer.clone()).collect();
        others.merged(self.anchors(), &lists, &issuers)
    }

    /// Replaces the lists, for all configurations.
    pub(super) fn replace_lists(&mut self, revocations: &Revocations) {
        self.check.replace(revocations.clone());
        self.revocations = revocations.clone();
    }

    /// Takes a folder that was loaded by [`Shared::reload`]. Everything that can fail comes first. Returns whether anything changed,
    /// and what is wrong with its lists.
    fn take(&mut self, mut folder: IdentityFolder) -> Result<(bool, Option<String>), SwapError> {
        let (running, found) = (self.folder.peer().uri(), folder.peer().uri());
        if running != found {
            let path = folder.dir().join(CERT_FILE);
            return Err(FolderError::OtherIdentity { path, found, running }.into());
        }
        let merged = folder.merged_into(&self.from_file);
        let from_file = merged.revocations;
        let received = self.revocations.merged(folder.anchors().certificates(), &[], &[]).revocations;
        let revocations = received.with(&from_file);
        received.warn_of_dropped(&from_file, &self.from_file);
        let refused: Vec<RevocationError> = merged.refused.into_iter().map(|(_, error)| error).collect();
        let lists_changed = !revocations.are(&self.revocations);
        let same_certificates = folder.has_certificates_of(&self.folder);
        let put = !folder.revocations().are(self.folder.revocations());
        let lists = Ignored::find(&folder, &revocations);
        let ignored = lists.problem(put || self.ignored.is_some());
        let file = |name| folder.dir().join(name);
        let revoked = revocations
            .names(folder.peer())
            .then(|| SelfCheckError::Revoked { cert: file(CERT_FILE), lists: file(CRL_FILE) });
        let problem = problem_of_lists(&folder, &refused)
            .or_else(|| self.vanished(&folder))
            .or_else(|| revoked.as_ref().map(ToString::to_string))
            .or_else(|| ignored.clone());
        if !same_certificates && let Some(revoked) = revoked {
            return Err(FolderError::from(revoked).into());
        }
        let prepared =
            if same_certificates { None } else { Some(self.prepare_certificates(&folder, &revocations)?) };
        if lists_changed {
            self.keep(&revocations);
        }
        if let Some(prepared) = prepared {
            self.store_certificates(prepared);
        }
        if lists_changed {
            self.replace_lists(&revocations);
        }
        if put && problem.is_none() {
            lists.log();
        }
        (self.from_file, self.ignored) = (from_file, ignored);
        folder.drop_crl_file();
        self.folder = folder;
        Ok((lists_changed || !same_certificates, problem))
    }

    /// New configurations for a new certificate, key or anchors.
    fn prepare_certificates(
        &mut self,
        folder: &IdentityFolder,
        revocations: &Revocations,
    ) -> Result<Prepared, TlsError> {
        let check = match folder.anchors().certificates() == self.folder.anchors().certificates() {
            true => Arc::clone(&self.check),
            false => RevocationCheck::new(revocations.clone(), self.config.require_revocation_list),
        };
        self.servers.retain(ServerTls::is_shared);
        self.clients.retain(ClientTls::is_shared);
        let prepare = |tls: &ServerTls| tls.prepare(folder, Arc::clone(&check));
        let servers = self.servers.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let prepare = |tls: &ClientTls| tls.prepare(folder, Arc::clone(&check));
        let clients = self.clients.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        Ok(Prepared { check, servers, clients })
    }

    fn store_certificates(&mut self, prepared: Prepared) {
        self.servers.iter().zip(prepared.servers).for_each(|(tls, prepared)| tls.store(prepared));
        self.clients.iter().zip(prepared.clients).for_each(|(tls, prepared)| tls.store(prepared));
        self.check = prepared.check;
    }

    /// What is wrong if `crl.pem` held lists and is gone.
    fn vanished(&self, folder: &IdentityFolder) -> Option<String> {
        let gone = folder.crl_file().lists.is_empty() && !self.from_file.lists().is_empty();
        gone.then(|| vanished(&folder.dir().join(CRL_FILE)))
    }
}

/// New configurations, of the servers and clients there are.
struct Prepared {
    check: Arc<RevocationCheck>,
    servers: Vec<Arc<server::Current>>,
    clients: Vec<Arc<client::Current>>,
}

fn vanished(path: &Path) -> String {
    format!("{} is gone; the lists that it held still count, so put a new one there", path.display())
}

/// What is wrong with the lists of a folder, for people.
pub(super) fn problem_of_lists(folder: &IdentityFolder, refused: &[RevocationError]) -> Option<String> {
    let error = refused.first()?;
    Some(format!("{}: {error}", folder.dir().join(CRL_FILE).display()))
}

impl Shared {
    /// Loads the folder, and checks that new certificates are in force. With the certificates that count already, lists are
    /// taken in any case: also those of a server whose own certificate has expired end the sessions of the revoked.
    pub(super) fn reload(&self) -> Result<IdentityFolder, FolderError> {
        let folder = IdentityFolder::load(&self.dir)?;
        if !folder.has_certificates_of(&self.lock().folder) {
            folder.check(SystemTime::now())?;
        }
        Ok(folder)
    }

    /// Takes a loaded folder.
    pub(super) fn take(&self, folder: IdentityFolder) -> Result<(), SwapError> {
        let mut state = self.lock();
        let (changed, problem) = state.take(folder)?;
        self.status.send_if_modified(|status| {
            if changed {
                status.peer = Arc::new(state.folder.peer().clone());
                status.valid_from = state.folder.valid_from();
                status.revocations = state.revocations.clone();
                status.roots = Arc::clone(state.folder.anchors().roots());
                status.version = status.version.saturating_add(1);
                status.since = SystemTime::now();
                status.reloads.taken = status.reloads.taken.saturating_add(1);
                tracing::info!(
                    version = status.version,
                    list = status.revocations.root_list().map(|list| list.number),
                    "certificates and revocation lists were replaced"
                );
            }
            changed | say(&mut status.problem, &mut status.reloads.refused, problem)
        });
        Ok(())
    }

    /// Takes verified lists instead of those that count.
    pub(super) fn take_lists(&self, state: &mut State, revocations: Revocations) {
        state.keep(&revocations);
        state.replace_lists(&revocations);
        // They may name what an ignored file names.
        let before = state.ignored.clone();
        if before.is_some() {
            state.ignored = Ignored::find(&state.folder, &revocations).problem(true);
        }
        self.status.send_modify(|status| {
            status.revocations = revocations;
            status.version = status.version.saturating_add(1);
            status.since = SystemTime::now();
            if before.is_some() && status.problem == before {
                say(&mut status.problem, &mut status.reloads.refused, state.ignored.clone());
            }
        });
    }

    /// Reports that the files found last do not count.
    pub(super) fn refuse(&self, error: &SwapError) {
        self.report_problem(Some(error.to_string()));
    }

    /// Reports a problem with the files, or that there is none.
    pub(super) fn report_problem(&self, problem: Option<String>) {
        self.status.send_if_modified(|status| say(&mut status.problem, &mut status.reloads.refused, problem));
    }
}

/// Logs a new problem, or that it is over, once. Returns whether it changed.
fn say(problem: &mut Option<String>, refused: &mut u64, now: Option<String>) -> bool {
    if *problem == now {
        return false;
    }
    match &now {
        Some(problem) => {
            *refused = refused.saturating_add(1);
            tracing::warn!(
                problem,
                "the identity folder does not count, or not all of it; the trust before it does"
            );
        }
        None => tracing::info!("the identity folder is in order again"),
    }
    *problem = now;
    true
}
