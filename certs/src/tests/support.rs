//! A certificate authority in a temporary folder, an echo server, and the events that it recorded.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use catchment_proto::id::Name;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    AcceptConfig, AcceptEvents, Accepted, ClientTls, HandshakeFailure, Identity, IdentityFolder, Peer, Role,
    ServerTls, TrustDomain, accept_loop,
    authority::{Authority, IssueRequest, IssuedPaths},
};

/// How long a test waits for an expected event.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn identity(role: Role, site: &str, name: &str) -> Identity {
    let site = role.has_site().then(|| Name::new(site).unwrap());
    Identity::from_parts(role, site, Name::new(name).unwrap()).unwrap()
}

/// Fails on any note.
pub(super) fn no_note(text: String) {
    panic!("unexpected note: {text}");
}

pub(super) struct Pki {
    pub(super) authority: Authority,
    pub(super) dir: TempDir,
}

impl Pki {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain = TrustDomain::new("test.example").unwrap();
        let authority = Authority::init(&dir.path().join("pki"), &domain, 3_650).unwrap();
        Self { authority, dir }
    }

    pub(super) fn request(&self, role: Role, name: &str) -> IssueRequest {
        let mut request = IssueRequest::new(identity(role, "berlin", name));
        if role.is_server() {
            request.hosts = vec!["127.0.0.1".parse().unwrap(), "localhost".parse().unwrap()];
        }
        request
    }

    pub(super) fn issue(&self, role: Role, name: &str) -> IssuedPaths {
        self.authority.issue(&self.request(role, name), &mut no_note).unwrap()
    }

    pub(super) fn folder(&self, role: Role, name: &str) -> IdentityFolder {
        IdentityFolder::load(&self.issue(role, name).dir).unwrap()
    }

    pub(super) fn client(&self, role: Role, name: &str) -> ClientTls {
        ClientTls::new(&self.folder(role, name), &[]).unwrap()
    }
}

/// Events recorded from the accept loop.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) failures: Mutex<Vec<HandshakeFailure>>,
    pub(super) at_capacity: AtomicUsize,
    pub(super) has_room: AtomicUsize,
    pub(super) handshakes_most: AtomicUsize,
    pub(super) waiting_most: AtomicUsize,
}

impl AcceptEvents for Seen {
    fn accept_error(&self, error: &std::io::Error) {
        panic!("accept failed: {error}");
    }

    fn handshake_failed(&self, _addr: SocketAddr, reason: HandshakeFailure) {
        self.failures.lock().unwrap().push(reason);
    }

    fn at_capacity(&self, _connections_max: usize) {
        self.at_capacity.fetch_add(1, Ordering::SeqCst);
    }

    fn has_room(&self) {
        self.has_room.fetch_add(1, Ordering::SeqCst);
    }

    fn handshakes(&self, count: usize) {
        self.handshakes_most.fetch_max(count, Ordering::SeqCst);
    }

    fn handshakes_waiting(&self, count: usize) {
        self.waiting_most.fetch_max(count, Ordering::SeqCst);
    }
}

/// Polls until a condition holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, poll).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

impl Seen {
    /// Waits for the next failure and takes it.
    pub(super) async fn failure(&self) -> HandshakeFailure {
        until("a handshake failed", || !self.failures.lock().unwrap().is_empty()).await;
        self.failures.lock().unwrap().remove(0)
    }
}

/// A server that echoes every byte and reports its peers.
pub(super) struct Echo {
    pub(super) addr: SocketAddr,
    pub(super) tls: ServerTls,
    pub(super) seen: Arc<Seen>,
    pub(super) peers: mpsc::Receiver<Peer>,
    task: JoinHandle<()>,
}

impl Echo {
    pub(super) async fn start(folder: &IdentityFolder, config: AcceptConfig) -> Self {
        Self::with(ServerTls::new(folder, &[]).unwrap(), config).await
    }

    pub(super) async fn with(tls: ServerTls, config: AcceptConfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (sender, peers) = mpsc::channel(256);
        let serve = move |accepted: Accepted| {
            let sender = sender.clone();
            async move {
                sender.send(accepted.peer.clone()).await.unwrap();
                echo(accepted).await;
            }
        };
        let events: Arc<dyn AcceptEvents> = seen.clone();
        let task = tokio::spawn(accept_loop(
            listener,
            tls.clone(),
            config,
            Default::default(),
            events,
            std::future::pending(),
            serve,
        ));
        Self { addr, tls, seen, peers, task }
    }

    pub(super) async fn of(pki: &Pki) -> Self {
        let config =
            AcceptConfig { connections_max: 16, handshake_timeout: TIMEOUT, ..AcceptConfig::default() };
        Self::start(&pki.folder(Role::Gateway, "gw"), config).await
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Echoes until the connection ends, or is evicted before its first byte.
pub(super) async fn echo(accepted: Accepted) {
    let Accepted { mut stream, slot, .. } = accepted;
    let (evict, evicted) = oneshot::channel::<()>();
    slot.on_evict(move || _ = evict.send(()));
    let mut byte = [0];
    let mut read = tokio::select! {
        read = stream.read(&mut byte) => read,
        Ok(()) = evicted => return,
    };
    slot.mark_used();
    while let Ok(1) = read {
        if stream.write_all(&byte).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        read = stream.read(&mut byte).await;
    }
}

/// Sends a byte and reads it back: in TLS 1.3 only this shows that the server accepted the client.
pub(super) async fn ping<S>(stream: &mut S) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let exchange = async {
        stream.write_all(b"x").await?;
        stream.flush().await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        assert_eq!(&byte, b"x");
        Ok(())
    };
    tokio::time::timeout(TIMEOUT, exchange).await.expect("the server neither echoes nor closes")
}
