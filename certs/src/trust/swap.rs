//! What a loaded folder changes: all configurations at once, or only the lists.

use std::{sync::Arc, time::SystemTime};

use rustls::pki_types::CertificateDer;

use super::{Shared, TrustConfig};
use crate::{
    client::ClientTls,
    folder::{CERT_FILE, CRL_FILE, FolderError, IdentityFolder},
    key_id::KeyId,
    revocation::{RevocationCheck, RevocationError, Revocations},
    self_check::SelfCheckError,
    server::{ServerTls, TlsError},
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
    /// Shared by all configurations with the present anchors. Other anchors get their own, so that a handshake with an
    /// old configuration sees the lists of its own anchors.
    check: Arc<RevocationCheck>,
    config: TrustConfig,
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
            folder,
            config,
            servers: Vec::new(),
            clients: Vec::new(),
        }
    }

    pub(super) fn anchors(&self) -> Arc<[CertificateDer<'static>]> {
        self.folder.anchors()
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
        let received = self.revocations.merged(&folder.anchors(), &[], &[]).revocations;
        let revocations = received.with(&from_file);
        let refused: Vec<RevocationError> = merged.refused.into_iter().map(|(_, error)| error).collect();
        let lists_changed = !revocations.are(&self.revocations);
        let same_certificates = folder.has_certificates_of(&self.folder);
        let file = |name| folder.dir().join(name);
        let revoked = revocations
            .names(folder.peer())
            .then(|| SelfCheckError::Revoked { cert: file(CERT_FILE), lists: file(CRL_FILE) });
        let problem = problem_of_lists(&folder, &refused)
            .or_else(|| self.vanished(&folder))
            .or_else(|| revoked.as_ref().map(ToString::to_string));
        if !same_certificates {
            if let Some(revoked) = revoked {
                return Err(FolderError::from(revoked).into());
            }
            self.replace_certificates(&folder, &revocations)?;
        }
        if lists_changed {
            self.replace_lists(&revocations);
        }
        self.from_file = from_file;
        folder.drop_crl_file();
        self.folder = folder;
        Ok((lists_changed || !same_certificates, problem))
    }

    /// New configurations for a new certificate, key or anchors.
    fn replace_certificates(
        &mut self,
        folder: &IdentityFolder,
        revocations: &Revocations,
    ) -> Result<(), TlsError> {
        let check = match folder.anchors() == self.folder.anchors() {
            true => Arc::clone(&self.check),
            false => RevocationCheck::new(revocations.clone(), self.config.require_revocation_list),
        };
        self.servers.retain(ServerTls::is_shared);
        self.clients.retain(ClientTls::is_shared);
        let prepare = |tls: &ServerTls| tls.prepare(folder, Arc::clone(&check));
        let servers = self.servers.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let prepare = |tls: &ClientTls| tls.prepare(folder, Arc::clone(&check));
        let clients = self.clients.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        self.servers.iter().zip(servers).for_each(|(tls, prepared)| tls.store(prepared));
        self.clients.iter().zip(clients).for_each(|(tls, prepared)| tls.store(prepared));
        self.check = check;
        Ok(())
    }

    /// What is wrong if `crl.pem` held lists and is gone.
    fn vanished(&self, folder: &IdentityFolder) -> Option<String> {
        let gone = folder.crl_file().lists.is_empty() && !self.from_file.lists().is_empty();
        gone.then(|| {
            format!(
                "{} is gone; the lists that it held still count until the next start, so put a new one there",
                folder.dir().join(CRL_FILE).display()
            )
        })
    }
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
                status.roots = KeyId::of_anchors(&state.folder.anchors());
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

    /// Reports that the files found last do not count.
    pub(super) fn refuse(&self, error: &SwapError) {
        self.status.send_if_modified(|status| {
            say(&mut status.problem, &mut status.reloads.refused, Some(error.to_string()))
        });
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
            tracing::warn!(problem, "the changed identity folder does not count; the trust before it does");
        }
        None => tracing::info!("the identity folder is in order again"),
    }
    *problem = now;
    true
}
