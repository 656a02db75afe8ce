//! The accept loop shared by gateway and aggregator.
//!
//! Each connection is accepted and waits, unread, for its turn (`accept/door.rs`): a token of its address
//! (`accept/rates.rs`) and a handshake slot. Usually both are there at once. Then it has its own task: handshake with a
//! deadline, connection slot, the caller's `serve`. No peer delays another, and no error ends the loop.
//!
//! Handshakes have separate slots ([`AcceptConfig::handshakes_max`]), so an unfinished handshake never holds a
//! connection slot, and three quarters of them are the most for one address. When all handshake slots are in use, a
//! handshake whose client has not sent its complete first message is evicted; if there is none, one that has taken
//! long; otherwise new connections wait. A connection's slot is part of [`Accepted`] and counts until it is dropped.
//! When all connection slots are in use, a connection can be evicted until its owner marks its slot as used.

mod door;
mod rates;
mod turns;

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU32,
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
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use self::turns::{Arrived, Turns};
use crate::{
    certificate::Peer,
    failure::{HandshakeFailure, TlsFailure},
    server::{BUFFER_BYTES_MAX, ServerTls},
    sessions::{SessionGuard, SessionRegistry},
    socket::{self, Socket},
};

/// First and longest pause after an accept error that does not pass by itself (such as no file descriptors left).
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// How often the accept loop checks whether all slots are in use.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Bounds of an accept loop.
#[derive(Clone, Copy, Debug)]
pub struct AcceptConfig {
    /// Maximum number of concurrent connections after their handshake.
    pub connections_max: usize,
    /// Maximum number of these from one address (IPv6: from one /64).
    pub connections_per_address_max: usize,
    /// Maximum number of concurrent handshakes.
    pub handshakes_max: usize,
    /// Deadline of a handshake, of the wait for its turn before it, and of the wait for a connection slot after it.
    pub handshake_timeout: Duration,
    /// Handshakes of one address (IPv6: of one /64) a second, after a burst of four seconds. Beyond it, its connections
    /// wait.
    pub handshake_rate_per_address: NonZeroU32,
}

impl Default for AcceptConfig {
    fn default() -> Self {
        let connections_max = 20_000;
        Self {
            connections_max,
            connections_per_address_max: per_address_default(connections_max),
            handshakes_max: HANDSHAKES_DEFAULT_MAX,
            handshake_timeout: Duration::from_secs(10),
            handshake_rate_per_address: HANDSHAKE_RATE_DEFAULT,
        }
    }
}

/// Default rate of handshakes of one address: as many as one processor makes.
pub const HANDSHAKE_RATE_DEFAULT: NonZeroU32 = match NonZeroU32::new(5_000) {
    Some(rate) => rate,
    None => NonZeroU32::MIN,
};

/// Default maximum of concurrent handshakes: some 20 KiB each, and few enough that a slow processor finishes all of
/// them before the first is late.
pub const HANDSHAKES_DEFAULT_MAX: usize = 1_024;

/// Default maximum of connections from one address. A whole site may share one address, so this is generous, but it
/// leaves some slots to other addresses.
pub const fn per_address_default(connections_max: usize) -> usize {
    const MOST: usize = 16_000;
    if connections_max < MOST { connections_max } else { MOST }
}

/// Events of an accept loop, for metrics and logs.
pub trait AcceptEvents: Send + Sync {
    /// The system returned an error instead of a connection; the loop continues.
    fn accept_error(&self, error: &io::Error);
    /// A connection did not become a peer and was closed.
    fn handshake_failed(&self, addr: SocketAddr, reason: HandshakeFailure);
    /// All `connections_max` slots are in use and no connection can be evicted: the next connection waits for a slot.
    fn at_capacity(&self, _connections_max: usize) {}
    /// A slot became free after [`Self::at_capacity`].
    fn has_room(&self) {}
    /// All handshake slots are in use and no handshake can be evicted: connections wait until a slot is free.
    fn handshakes_full(&self) {}
    /// Reports the current number of handshakes.
    fn handshakes(&self, _count: usize) {}
    /// Reports how many connections wait for their handshake.
    fn handshakes_waiting(&self, _count: usize) {}
}

/// A connection whose peer is authenticated.
#[derive(Debug)]
pub struct Accepted {
    /// The encrypted stream.
    pub stream: TlsStream<Socket>,
    /// The peer, of this server's trust domain. The caller decides what its role may do.
    pub peer: Peer,
    /// The peer's address.
    pub addr: SocketAddr,
    /// The session in the server's registry: drop it when the session ends.
    pub session: SessionGuard,
    /// The connection's slot among [`AcceptConfig::connections_max`]: drop it when the connection ends. The slot may be
    /// evicted until [`ConnectionSlot::mark_used`]; then the connection must end.
    pub slot: ConnectionSlot,
}

impl Accepted {
    /// The negotiated application protocol (ALPN), if the client offered one.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// Moves the connection to the current runtime; see [`Socket::rebind`].
    ///
    /// # Errors
    /// As [`Socket::rebind`].
    pub fn rebind(&mut self) -> io::Result<()> {
        self.stream.get_mut().0.rebind()
    }
}

/// Accepts connections until `shutdown` completes, then returns at once: handshakes in progress are aborted,
/// connections being served continue in their tasks.
///
/// `serve` runs in the connection's own task on the current runtime.
pub async fn accept_loop<F, Fut>(
    listener: TcpListener,
    tls: ServerTls,
    config: AcceptConfig,
    registry: SessionRegistry,
    events: Arc<dyn AcceptEvents>,
    shutdown: impl Future<Output = ()>,
    serve: F,
) where
    F: Fn(Accepted) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let state = Arc::new(AcceptState::new(tls, config, registry, events));
    let serve = Arc::new(serve);
    // Dropping the sender at the end of this function aborts the handshakes.
    let (_running, stopped) = watch::channel(());
    let (mut stop_watching, watched) = (stopped.clone(), Arc::clone(&state));
    tokio::spawn(async move {
        tokio::select! {
            _ = stop_watching.changed() => {}
            () = watched.watch_capacity() => {}
        }
    });
    // Connections inherit these options, which saves calls; a connection without them gets its own.
    let _ = socket::prepare(&listener);
    let mut shutdown = pin!(shutdown);
    let start = |(stream, addr): Arrived, slot: ConnectionSlot| {
        let (mut stopped, state, serve) = (stopped.clone(), Arc::clone(&state), Arc::clone(&serve));
        tokio::spawn(async move {
            let result = tokio::select! {
                _ = stopped.changed() => return,
                result = state.admit(stream, addr, slot) => result,
            };
            state.turns.ended();
            match result {
                Ok(accepted) => serve(accepted).await,
                Err(reason) => state.turns.failed(addr, reason),
            }
        });
    };
    let mut door = state.turns.door();
    let (mut back_off, mut pause) = (BACK_OFF_FIRST, None);
    loop {
        let next_turn = state.turns.start_waiting(&mut door, start);
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = accept_after(&listener, pause) => accepted,
            () = state.turns.until(next_turn) => continue,
        };
        pause = None;
        match accepted {
            Ok((stream, addr)) => {
                back_off = BACK_OFF_FIRST;
                state.turns.arrive(&mut door, (stream, addr));
            }
            Err(error) => {
                state.events.accept_error(&error);
                if !concerns_one_connection(&error) {
                    pause = Some(Instant::now() + back_off);
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }
}

async fn accept_after(listener: &TcpListener, pause: Option<Instant>) -> io::Result<Arrived> {
    if let Some(pause) = pause {
        sleep_until(pause).await;
    }
    listener.accept().await
}

/// State shared by the connections of a listener before they are served.
struct AcceptState {
    tls: ServerTls,
    registry: SessionRegistry,
    events: Arc<dyn AcceptEvents>,
    turns: Turns,
    connections: Arc<ConnectionSlots>,
    connections_max: usize,
    /// All connection slots were in use, and none became free since.
    full: AtomicBool,
    handshake_timeout: Duration,
}

impl AcceptState {
    fn new(
        tls: ServerTls,
        config: AcceptConfig,
        registry: SessionRegistry,
        events: Arc<dyn AcceptEvents>,
    ) -> Self {
        let turns = Turns::new(&config, Arc::clone(&events));
        Self {
            tls,
            registry,
            events,
            turns,
            connections: ConnectionSlots::new(config.connections_max, config.connections_per_address_max),
            connections_max: config.connections_max,
            full: AtomicBool::new(false),
            handshake_timeout: config.handshake_timeout,
        }
    }

    /// Performs the handshake and acquires a connection slot, unless the handshake is evicted.
    async fn admit(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        handshake: ConnectionSlot,
    ) -> Result<Accepted, HandshakeFailure> {
        let made = async {
            let (stream, peer) = self.handshake(stream, &handshake).await?;
            let slot = self.slot(addr).await?;
            Ok(Accepted { session: self.registry.register(&peer, addr), stream, peer, addr, slot })
        };
        let evicted = async {
            let (evict, evicted) = oneshot::channel();
            handshake.on_evict(move || _ = evict.send(()));
            evicted.await
        };
        tokio::select! {
            // The handshake first: it is evicted only while it waits for its peer.
            biased;
            accepted = made => accepted,
            Ok(()) = evicted => Err(HandshakeFailure::Evicted),
        }
    }

    /// Acquires a connection slot after the handshake. Keeps the handshake slot while it waits.
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

    /// Reports that a slot is, or was just now, free.
    fn has_room(&self) {
        if self.full.load(Relaxed) && self.full.swap(false, Relaxed) {
            self.events.has_room();
        }
    }

    /// Periodically checks whether all slots are in use or one is free again, even if no connection arrives.
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
        let chain = stream.get_ref().1.peer_certificates().ok_or(TlsFailure::NoCertificate)?;
        let peer = current.peer_of(chain)?;
        Ok((stream, peer))
    }
}

/// Whether an accept error concerns only one connection, so that the next accept may succeed at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
