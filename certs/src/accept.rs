//! The accept loop that gateway and aggregator share.
//!
//! Permit, accept, then one task per connection: handshake under a deadline, then the caller's `serve`. No
//! peer delays another, and no error ends the loop. When all permits are taken, new connections wait in the
//! kernel's backlog. A connection's permit travels in [`Accepted`] and counts until it is dropped.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    certificate::{Peer, peer_from_certificate},
    failure::{HandshakeFailure, TlsFailure},
    server::{BUFFER_BYTES_MAX, ServerTls},
    socket::{self, Socket},
};

/// First and longest pause after an accept error that will not go away by itself (no file descriptors left).
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Bounds of an accept loop.
#[derive(Clone, Copy, Debug)]
pub struct AcceptConfig {
    /// Most connections at once, those in their handshake included.
    pub connections_max: usize,
    /// Longest handshake.
    pub handshake_timeout: Duration,
}

/// What an accept loop tells besides connections, to be counted.
pub trait AcceptEvents: Send + Sync {
    /// The system returned an error instead of a connection; the loop goes on.
    fn accept_error(&self, error: &io::Error);
    /// A connection did not become a peer and was closed.
    fn handshake_failed(&self, addr: SocketAddr, reason: HandshakeFailure);
    /// All `connections_max` permits are taken; the loop waits for one before it accepts again.
    fn at_capacity(&self, _connections_max: usize) {}
    /// A permit came free after [`Self::at_capacity`]; the loop accepts again.
    fn has_room(&self) {}
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
    /// The connection's place among [`AcceptConfig::connections_max`]: drop it when the connection ends.
    pub permit: OwnedSemaphorePermit,
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
    let permits = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
    let serve = Arc::new(serve);
    // Dropping the sender at the end of this function tells the handshakes to give up.
    let (_running, stopped) = watch::channel(());
    // Saves each connection the calls; one that has nothing from its listener is given its options alone.
    let _ = socket::prepare(&listener);
    let mut shutdown = pin!(shutdown);
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = accept(&listener, &permits, config.connections_max, &*events) => accepted,
        };
        match accepted {
            Ok((stream, addr, permit)) => {
                back_off = BACK_OFF_FIRST;
                let handshake = handshake(stream, tls.clone(), config.handshake_timeout);
                let (mut stopped, events, serve) = (stopped.clone(), Arc::clone(&events), Arc::clone(&serve));
                tokio::spawn(async move {
                    let result = tokio::select! {
                        _ = stopped.changed() => return,
                        result = handshake => result,
                    };
                    match result {
                        Ok((stream, peer)) => serve(Accepted { stream, peer, addr, permit }).await,
                        Err(reason) => events.handshake_failed(addr, reason),
                    }
                });
            }
            Err(error) => {
                events.accept_error(&error);
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

/// A permit first, then a connection.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    connections_max: usize,
    events: &dyn AcceptEvents,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = match Arc::clone(permits).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            events.at_capacity(connections_max);
            let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
            events.has_room();
            permit
        }
    };
    let (stream, addr) = listener.accept().await?;
    Ok((stream, addr, permit))
}

/// Whether an accept error is the fault of one connection, so that the next accept may succeed at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn handshake(
    stream: TcpStream,
    tls: ServerTls,
    deadline: Duration,
) -> Result<(TlsStream<Socket>, Peer), HandshakeFailure> {
    let io_failure = |error: io::Error| HandshakeFailure::Tls(TlsFailure::from_io(&error));
    let socket = Socket::accepted(stream).map_err(io_failure)?;
    let current = tls.current();
    let accept = TlsAcceptor::from(Arc::clone(&current.config))
        .accept_with(socket, |connection| connection.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
    let stream =
        timeout(deadline, accept).await.map_err(|_| HandshakeFailure::Timeout)?.map_err(io_failure)?;
    let certificates = stream.get_ref().1.peer_certificates();
    let leaf = certificates.and_then(<[_]>::first).ok_or(TlsFailure::NoCertificate)?;
    let peer = peer_from_certificate(leaf)?.of_domain(&current.peer.trust_domain)?;
    Ok((stream, peer))
}
