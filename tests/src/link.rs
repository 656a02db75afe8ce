//! A TCP proxy between two parts of the world: its address stays the same whatever happens to its server, and it can be
//! cut, frozen and resumed.
//!
//! Links have their own runtime, so that they continue while a test blocks.

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

/// Most bytes in flight per direction.
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
    /// Connections stay open, but no byte flows.
    Frozen,
    /// All connections are broken, including new ones.
    Cut,
}

/// A proxy with its own address.
pub struct Link {
    addr: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link without a target.
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

    /// The address for clients.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the target of new connections; without one they end at once.
    ///
    /// # Panics
    /// Never, unless the lock is poisoned.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
    }

    /// Breaks all connections, including new ones, until [`Link::resume`].
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Stops all bytes until [`Link::resume`]; connections stay open.
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

/// Copies one direction and passes on its end, so that half-closed connections work.
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
