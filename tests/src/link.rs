//! A TCP proxy between two parts of the world: it has one address for good, whatever becomes of the server
//! behind it, and it can be cut, frozen and resumed.
//!
//! Links live on a runtime of their own, so that they go on while a test blocks.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, OnceLock},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
};

/// Bytes of a direction that are on their way at once.
const BUFFER: usize = 16 << 10;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("links")
            .enable_all()
            .build()
            .unwrap()
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes flow.
    Open,
    /// Connections stay, no byte flows.
    Frozen,
    /// Connections are broken, new ones too.
    Cut,
}

/// A proxy on an address of its own.
pub struct Link {
    addr: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link that leads nowhere yet.
    ///
    /// # Panics
    /// When no address can be bound.
    pub fn new() -> Self {
        let _entered = runtime().enter();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let target: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let (state, watched) = watch::channel(State::Open);
        let task = runtime().spawn(accept(listener, Arc::clone(&target), watched));
        Self { addr, target, state, task }
    }

    /// Where to connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Leads new connections there from now on; without an address they end at once.
    ///
    /// # Panics
    /// Never, unless the lock is poisoned.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
    }

    /// Breaks all connections and those that come, until [`Link::resume`].
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets no byte through, until [`Link::resume`]; connections stay.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Lets bytes flow again.
    pub fn resume(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.state.send_replace(State::Cut);
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<Option<SocketAddr>>>,
    state: watch::Receiver<State>,
) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        let to = *target.lock().unwrap();
        let Some(to) = to.filter(|_| *state.borrow() != State::Cut) else { continue };
        let mut ended = state.clone();
        let state = state.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = carry(near, to, state) => {}
                _ = ended.wait_for(|state| *state == State::Cut) => {}
            }
        });
    }
}

async fn carry(near: TcpStream, to: SocketAddr, state: watch::Receiver<State>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(copy(near_read, far_write, state.clone()), copy(far_read, near_write, state));
}

/// Copies one direction; its end is passed on, so that half-closed connections work.
async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(1..) = from.read(&mut buffer[..]).await.inspect(|read| buffer.truncate(*read)) {
        if state.wait_for(|state| *state == State::Open).await.is_err()
            || to.write_all(&buffer).await.is_err()
        {
            break;
        }
        buffer.resize(BUFFER, 0);
    }
    let _ = to.shutdown().await;
}
