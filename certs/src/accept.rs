//! The accept loop that gateway and aggregator share.
//!
//! Accept, a slot for the handshake, then one task per connection: handshake under a deadline, a slot for the
//! connection, then the caller's `serve`. No peer delays another, and no error ends the loop.
//!
//! Handshakes have slots of their own ([`AcceptConfig::handshakes_max`]): one that does not end never holds the slot
//! of a connection. When all are in use, one that has not sent its whole first message gives way, then one that has
//! taken long; else new connections wait in the kernel's backlog. A connection's slot travels in [`Accepted`] and
//! counts until it is dropped. Until its owner says that the peer has used it, it gives way to the next one when all
//! are in use.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use catchment_settings::connection_slots::{ConnectionSlot, ConnectionSlots, Full};
use rustls::server::Acceptor;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    certificate::{Peer, peer_from_certificate},
    failure::{HandshakeFailure, TlsFailure},
    server::{BUFFER_BYTES_MAX, ServerTls},
    socket::{self, Socket},
};

/// First and longest pause after an accept error that will not go away by itself (no file descriptors left).
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// How often the accept loop looks whether all slots are in use.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// Part of the longest handshake after which one gives way when all slots of handshakes are in use.
const LATE_PART: u32 = 2;

/// Bounds of an accept loop.
#[derive(Clone, Copy, Debug)]
pub struct AcceptConfig {
    /// Most connections at once whose handshake is made.
    pub connections_max: usize,
    /// Most of them from one address; of IPv6, from one /64.
    pub connections_per_address_max: usize,
    /// Most handshakes at once.
    pub handshakes_max: usize,
    /// Longest handshake; and longest wait for a slot after it.
    pub handshake_timeout: Duration,
}

impl Default for AcceptConfig {
    fn default() -> Self {
        let connections_max = 20_000;
        Self {
            connections_max,
            connections_per_address_max: per_address_default(connections_max),
            handshakes_max: HANDSHAKES_DEFAULT_MAX,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// Handshakes at once, unless configured: some 20 KiB each, and so few that a slow processor is done with all of them
/// before the first is late.
pub const HANDSHAKES_DEFAULT_MAX: usize = 1_024;

/// Connections of one address, unless configured. A whole site may be behind one address, so this is generous; some
/// slots are left to the other addresses.
pub const fn per_address_default(connections_max: usize) -> usize {
    const MOST: usize = 16_000;
    if connections_max < MOST { connections_max } else { MOST }
}

/// What an accept loop tells besides connections, to be counted.
pub trait AcceptEvents: Send + Sync {
    /// The system returned an error instead of a connection; the loop goes on.
    fn accept_error(&self, error: &io::Error);
    /// A connection did not become a peer and was closed.
    fn handshake_failed(&self, addr: SocketAddr, reason: HandshakeFailure);
    /// All `connections_max` slots are in use and nobody gives way: the next connection waits for one, or does.
    fn at_capacity(&self, _connections_max: usize) {}
    /// A slot came free after [`Self::at_capacity`].
    fn has_room(&self) {}
    /// All slots of handshakes are in use and nobody gives way: no connection is accepted until there is one.
    fn handshakes_full(&self) {}
    /// So many handshakes are under way now.
    fn handshakes(&self, _count: usize) {}
}

/// A connection whose other end is known.
#[derive(Debug)]
pub struct Accepted {
    /// The encrypted stream.
    pub stream: TlsStream<Socket>,
    /// Whose it is, of this server's trust domain. Whether its role may do what it wants is the caller's to
    /// decide.
    pub peer: Peer,
    /// The address that it comes from.
    pub addr: SocketAddr,
    /// The connection's slot among [`AcceptConfig::connections_max`]: drop it when the connection ends. It may be
    /// taken away until [`ConnectionSlot::mark_used`]; the connection must end then.
    pub slot: ConnectionSlot,
}

impl Accepted {
    /// The application protocol that the two sides agreed on, if the client offered one.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// Moves the connection to the current runtime, see [`Socket::rebind`].
    ///
    /// # Errors
    /// As [`Socket::rebind`].
    pub fn rebind(&mut self) -> io::Result<()> {
        self.stream.get_mut().0.rebind()
    }
}

/// Accepts connections until `shutdown` completes, then returns at once: handshakes that are under way are
/// given up, connections that are being served go on in their tasks.
///
/// `serve` runs in the connection's own task on the current runtime.
pub async fn accept_loop<F, Fut>(
    listener: TcpListener,
    tls: ServerTls,
    config: AcceptConfig,
    events: Arc<dyn AcceptEvents>,
    shutdown: impl Future<Output = ()>,
    serve: F,
) where
    F: Fn(Accepted) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let state = Arc::new(AcceptState::new(tls, config, events));
    let serve = Arc::new(serve);
    // Dropping the sender at the end of this function tells the handshakes to give up.
    let (_running, stopped) = watch::channel(());
    let (mut stop_watching, watched) = (stopped.clone(), Arc::clone(&state));
    tokio::spawn(async move {
        tokio::select! {
            _ = stop_watching.changed() => {}
            () = watched.watch_capacity() => {}
        }
    });
    // Saves each connection the calls; one that has nothing from its listener is given its options alone.
    let _ = socket::prepare(&listener);
    let mut shutdown = pin!(shutdown);
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = state.accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, addr, slot)) => {
                back_off = BACK_OFF_FIRST;
                let (mut stopped, state, serve) = (stopped.clone(), Arc::clone(&state), Arc::clone(&serve));
                tokio::spawn(async move {
                    let result = tokio::select! {
                        _ = stopped.changed() => return,
                        result = state.admit(stream, addr, slot) => result,
                    };
                    state.events.handshakes(state.handshakes.taken());
                    match result {
                        Ok(accepted) => serve(accepted).await,
                        Err(reason) => state.events.handshake_failed(addr, reason),
                    }
                });
            }
            Err(error) => {
                state.events.accept_error(&error);
                if concerns_one_connection(&error) {
                    continue;
                }
                tokio::select! {
                    () = &mut shutdown => return,
                    () = sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF_MAX),
                }
            }
        }
    }
}

/// What the connections of a listener share before they are served.
struct AcceptState {
    tls: ServerTls,
    events: Arc<dyn AcceptEvents>,
    handshakes: Arc<ConnectionSlots>,
    connections: Arc<ConnectionSlots>,
    connections_max: usize,
    /// All slots of connections were in use, and none came free since.
    full: AtomicBool,
    handshake_timeout: Duration,
}

impl AcceptState {
    fn new(tls: ServerTls, config: AcceptConfig, events: Arc<dyn AcceptEvents>) -> Self {
        let (handshakes_max, handshake_timeout) = (config.handshakes_max, config.handshake_timeout);
        let late_after = handshake_timeout / LATE_PART;
        Self {
            tls,
            events,
            handshakes: ConnectionSlots::evicting_after(handshakes_max, handshakes_max, late_after),
            connections: ConnectionSlots::new(config.connections_max, config.connections_per_address_max),
            connections_max: config.connections_max,
            full: AtomicBool::new(false),
            handshake_timeout,
        }
    }

    /// A connection, then a slot for its handshake: until there is one, this connection waits and no other is
    /// accepted.
    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, ConnectionSlot)> {
        let (stream, addr) = listener.accept().await?;
        let slot = match self.handshakes.try_acquire(addr.ip()) {
            Ok(slot) => slot,
            Err(_) => {
                self.events.handshakes_full();
                self.handshakes.acquire_patiently(addr.ip()).await
            }
        };
        self.events.handshakes(self.handshakes.taken());
        Ok((stream, addr, slot))
    }

    /// Makes the handshake and finds a slot for the connection, unless its slot for that is taken away.
    async fn admit(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        handshake: ConnectionSlot,
    ) -> Result<Accepted, HandshakeFailure> {
        let made = async {
            let (stream, peer) = self.handshake(stream, &handshake).await?;
            Ok(Accepted { stream, peer, addr, slot: self.slot(addr).await? })
        };
        let evicted = async {
            let (evict, evicted) = oneshot::channel();
            handshake.on_evict(move || _ = evict.send(()));
            evicted.await
        };
        tokio::select! {
            // What has come is read first: a handshake gives way only when it waits for its peer.
            biased;
            accepted = made => accepted,
            Ok(()) = evicted => Err(HandshakeFailure::Evicted),
        }
    }

    /// A slot for a connection whose handshake is made. It keeps that of the handshake while it waits.
    async fn slot(&self, addr: SocketAddr) -> Result<ConnectionSlot, HandshakeFailure> {
        let slot = match self.connections.try_acquire(addr.ip()) {
            Err(Full::All) => {
                self.at_capacity();
                let waiting = self.connections.acquire(addr.ip());
                let deadline = Instant::now() + self.handshake_timeout;
                timeout_at(deadline, waiting).await.map_err(|_| HandshakeFailure::NoSlot)?
            }
            other => other,
        };
        if slot.is_ok() {
            self.has_room();
        }
        slot.map_err(|_| HandshakeFailure::Address)
    }

    fn at_capacity(&self) {
        self.full.store(true, Relaxed);
        self.events.at_capacity(self.connections_max);
    }

    /// There is a slot, or was right now.
    fn has_room(&self) {
        if self.full.load(Relaxed) && self.full.swap(false, Relaxed) {
            self.events.has_room();
        }
    }

    /// Looks whether all slots are in use now, or one is free again, that nobody asks for.
    async fn watch_capacity(&self) {
        loop {
            sleep(CHECK_EVERY).await;
            if !self.connections.is_full() {
                self.has_room();
            } else if !self.full.load(Relaxed) {
                self.at_capacity();
            }
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        slot: &ConnectionSlot,
    ) -> Result<(TlsStream<Socket>, Peer), HandshakeFailure> {
        let deadline = Instant::now() + self.handshake_timeout;
        let io_failure = |error: io::Error| HandshakeFailure::Tls(TlsFailure::from_io(&error));
        let socket = Socket::accepted(stream).map_err(io_failure)?;
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket);
        let hello = timeout_at(deadline, hello).await.map_err(|_| HandshakeFailure::Timeout)?;
        let hello = hello.map_err(io_failure)?;
        slot.mark_used();
        let current = self.tls.current();
        let config = Arc::clone(current.config_for(hello.client_hello().alpn()));
        let accept = hello.into_stream_with(config, |connection| {
            connection.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        });
        let stream = timeout_at(deadline, accept).await.map_err(|_| HandshakeFailure::Timeout)?;
        let stream = stream.map_err(io_failure)?;
        let certificates = stream.get_ref().1.peer_certificates();
        let leaf = certificates.and_then(<[_]>::first).ok_or(TlsFailure::NoCertificate)?;
        let peer = peer_from_certificate(leaf)?.of_domain(&current.peer.trust_domain)?;
        Ok((stream, peer))
    }
}

/// Whether an accept error is the fault of one connection, so that the next accept may succeed at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
