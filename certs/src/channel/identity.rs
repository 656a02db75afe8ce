//! The identity of a client that runs for long: its folder may change under it.

use std::{
    future::pending,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    certificate::Peer,
    client::ClientTls,
    folder::FolderError,
    server::TlsError,
    sessions::EndReason,
    trust::{Trust, TrustConfig},
};

/// How often the files are looked at while there is a connection.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// An identity folder. Each connection is made with the files that are there by then, and ends when they change so that
/// its server would be refused. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    dir: Arc<Path>,
    alpn: Arc<[&'static [u8]]>,
    /// For files that cannot be used; those before them count.
    report: fn(&str),
    last: Arc<Mutex<Trust>>,
}

impl ClientIdentity {
    /// Loads an identity that is in force now, of a client that offers these application protocols. `report` gets a line
    /// when a changed folder cannot be used, without the name of the folder's flag or key.
    ///
    /// # Errors
    /// As [`Trust::load`].
    pub fn load(dir: &Path, alpn: &[&'static [u8]], report: fn(&str)) -> Result<Self, FolderError> {
        let last = Arc::new(Mutex::new(load(dir)?));
        Ok(Self { dir: dir.into(), alpn: alpn.into(), report, last })
    }

    /// The identity that was loaded last.
    pub fn peer(&self) -> Arc<Peer> {
        self.last().peer()
    }

    fn last(&self) -> Trust {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The trust that the files say now, and a configuration of it.
    pub(super) async fn now(&self) -> Result<(Trust, ClientTls), TlsError> {
        let dir = Arc::clone(&self.dir);
        // Fails only while the process ends.
        match tokio::task::spawn_blocking(move || load(&dir)).await {
            Ok(Ok(trust)) => *self.last.lock().unwrap_or_else(PoisonError::into_inner) = trust,
            Ok(Err(error)) => (self.report)(&format!("{error}; continuing with the identity read before")),
            Err(_) => {}
        }
        let trust = self.last();
        let tls = trust.client(&self.alpn)?;
        Ok((trust, tls))
    }
}

fn load(dir: &Path) -> Result<Trust, FolderError> {
    // A client connects without a list, or with an old one.
    Trust::load(dir, TrustConfig { require_revocation_list: false, check_every: CHECK_EVERY })
}

/// Watches the files, and resolves when the trust refuses the server of a connection.
pub(super) async fn distrusted(trust: Trust, server: Peer) -> EndReason {
    let mut status = trust.subscribe();
    let refused = async {
        loop {
            if let Some(reason) = status.borrow_and_update().refuses(&server) {
                return reason;
            }
            if status.changed().await.is_err() {
                return pending().await;
            }
        }
    };
    tokio::select! {
        reason = refused => reason,
        () = trust.watch() => pending().await,
    }
}
