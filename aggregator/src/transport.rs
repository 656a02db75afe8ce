//! From an accepted TLS connection to what tonic serves.
//!
//! The connection carries its [`Caller`] into every request, and keeps its places among all connections and
//! among those of its identity until it ends. One that sends nothing after its handshake is closed.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use catchment_certs::{Accepted, Identity, Socket};
use hashbrown::HashMap;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::{access::Caller, metrics::Metrics};

/// Counts the connections of each identity.
#[derive(Debug)]
pub(crate) struct PeerLimit {
    max: usize,
    open: Mutex<HashMap<Identity, usize>>,
}

/// One of the places that [`PeerLimit`] gives to an identity.
#[derive(Debug)]
pub(crate) struct PeerPlace {
    limit: Arc<PeerLimit>,
    identity: Identity,
}

impl PeerLimit {
    /// At most `max` connections of one identity. The map is bounded by the bound of all connections.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// A place, if there is one left.
    pub(crate) fn take(self: &Arc<Self>, identity: &Identity) -> Option<PeerPlace> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry_ref(identity).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(PeerPlace { limit: Arc::clone(self), identity: identity.clone() })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.identity) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.identity);
            }
        }
    }
}

/// A connection as tonic serves it.
pub(crate) struct Connection {
    stream: TlsStream<Socket>,
    caller: Caller,
    /// Until the first byte comes. HTTP/2's probes begin only after its opening.
    silence: Option<Pin<Box<Sleep>>>,
    /// Resolves when the connection is to be cut.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    metrics: Arc<Metrics>,
    _place: PeerPlace,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Takes over an accepted connection; its first byte must come within `patience`, and it fails when `cut`
    /// resolves.
    pub(crate) fn new(
        accepted: Accepted,
        place: PeerPlace,
        patience: Duration,
        cut: impl Future<Output = ()> + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.connections.inc();
        Self {
            cut: Box::pin(cut),
            caller: Caller { peer: Arc::new(accepted.peer), addr: accepted.addr },
            stream: accepted.stream,
            silence: Some(Box::pin(tokio::time::sleep(patience))),
            metrics,
            _place: place,
            _permit: accepted.permit,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.silence = None;
                Poll::Ready(result)
            }
            Poll::Pending => {
                if this.cut.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                match &mut this.silence {
                    Some(silence) => silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
                    None => Poll::Pending,
                }
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use catchment_proto::{Name, OperatorId};

    #[test]
    fn an_identity_has_its_places_and_gives_them_back() {
        let limit = PeerLimit::new(2);
        let ada = Identity::Operator(OperatorId { name: Name::new("ada").unwrap() });
        let eve = Identity::Operator(OperatorId { name: Name::new("eve").unwrap() });
        let first = limit.take(&ada).unwrap();
        let _second = limit.take(&ada).unwrap();
        assert!(limit.take(&ada).is_none());
        let other = limit.take(&eve).unwrap();
        drop(first);
        assert!(limit.take(&ada).is_some());
        drop(other);
        assert_eq!(limit.open.lock().unwrap().len(), 1);
    }
}
