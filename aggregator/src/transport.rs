//! From an accepted TLS connection to the one that tonic serves.
//!
//! The connection adds its [`Caller`] to every request, and holds a slot among all connections and a session in the
//! registry until it ends. It is closed when the registry ends its session, after the last words of its requests
//! ([`crate::session_end`]). A connection without requests is closed whatever bytes it sends: soon after its
//! handshake, later if it was idle for long, and at once if another connection needs its slot.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use catchment_certs::{Accepted, SessionGuard, Socket, channel::ALPN_GRPC};
use catchment_settings::connection_slots::ConnectionSlot;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::{
    access::{Caller, Disconnect},
    metrics::Metrics,
    session_end::SessionEnd,
    usage::Usage,
};

/// Why connections are closed: all labels for metrics.
pub(crate) const CLOSED_REASONS: [&str; 4] =
    ["gave_way", "idle_timeout", "first_request_timeout", "request_too_long"];

/// Most bytes from the head of one HTTP/1.1 request to that of the next: a body, and a head with its URL. HTTP/2 has
/// windows and bounds of its own.
const HTTP1_REQUEST_BYTES_MAX: usize = 160 << 10;
/// The first bytes of HTTP/2.
const HTTP2_PREFACE: &[u8] = b"PRI";

/// How long a peer may stay without a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// From the handshake to the first request.
    pub(crate) first_request: Duration,
    /// From the end of the last request to the next.
    pub(crate) idle: Duration,
}

/// A connection as tonic serves it.
pub(crate) struct Connection {
    stream: TlsStream<Socket>,
    caller: Caller,
    deadlines: Deadlines,
    /// Time of the next check for requests. HTTP/2 pings start only after its preface, and are not requests.
    timer: Pin<Box<Sleep>>,
    /// Resolves when the connection must be cut, with a reason to be counted if the session has ended.
    cut: Pin<Box<dyn Future<Output = Option<&'static str>> + Send>>,
    /// Resolves when the slot is taken away.
    evicted: oneshot::Receiver<()>,
    metrics: Arc<Metrics>,
    slot: ConnectionSlot,
    /// Bounds requests of HTTP/1.1; `None` for HTTP/2.
    http1: Option<Http1>,
    /// The peer has sent a request: the slot cannot be taken away any more.
    kept: bool,
    _session: SessionGuard,
}

impl Connection {
    /// Takes over an accepted connection; it fails when `cut` resolves.
    pub(crate) fn new(
        accepted: Accepted,
        deadlines: Deadlines,
        cut: impl Future<Output = ()> + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.connections.inc();
        let disconnect = Disconnect::default();
        let disconnect_requested = disconnect.clone();
        let is_http2 = accepted.alpn() == Some(ALPN_GRPC);
        let Accepted { stream, peer, addr, slot, session: guard } = accepted;
        let session = SessionEnd::of(&guard);
        let session_end = session.clone();
        let cut = async move {
            tokio::select! {
                () = cut => None,
                () = disconnect_requested.triggered() => None,
                reason = session_end.connection_ends() => Some(reason.reason()),
            }
        };
        let (evict, evicted) = oneshot::channel();
        slot.on_evict(move || _ = evict.send(()));
        Self {
            cut: Box::pin(cut),
            caller: Caller {
                peer: Arc::new(peer),
                addr,
                usage: Usage::new(),
                disconnect,
                session,
                wrong_role: metrics.wrong_role(),
            },
            stream,
            deadlines,
            timer: Box::pin(sleep(deadlines.first_request)),
            evicted,
            metrics,
            slot,
            http1: (!is_http2).then(Http1::default),
            kept: false,
            _session: guard,
        }
    }

    /// Fails when the connection is cut; polled before each read, so that no peer delays it by sending without a pause.
    fn poll_cut(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.cut.as_mut().poll(task) {
            Poll::Ready(Some(reason)) => self.close(reason),
            Poll::Ready(None) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Fails when the connection must end; polled whenever it waits for its peer.
    fn poll_end(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.kept && matches!(Pin::new(&mut self.evicted).poll(task), Poll::Ready(Ok(()))) {
            return self.close("gave_way");
        }
        while self.timer.as_mut().poll(task).is_ready() {
            let usage = &self.caller.usage;
            let (reason, most) = if usage.has_requested() {
                ("idle_timeout", self.deadlines.idle)
            } else {
                ("first_request_timeout", self.deadlines.first_request)
            };
            let idle = usage.idle();
            if idle >= most {
                return self.close(reason);
            }
            self.timer.as_mut().reset(Instant::now() + (most - idle));
        }
        Poll::Pending
    }

    /// Fails if the peer sends more than a request of HTTP/1.1 may have.
    fn count_http1(&mut self, read: &[u8]) -> Poll<io::Result<()>> {
        let Some(http1) = &mut self.http1 else { return Poll::Ready(Ok(())) };
        let begun = self.caller.usage.begun();
        if http1.bytes == 0 && begun == 0 && read.starts_with(HTTP2_PREFACE) {
            // A client that did not say which protocol it speaks.
            self.http1 = None;
        } else if !http1.count(read.len(), begun) {
            return self.close("request_too_long");
        }
        Poll::Ready(Ok(()))
    }

    /// `reason`: one of [`CLOSED_REASONS`], or why the session ended.
    fn close(&self, reason: &'static str) -> Poll<io::Result<()>> {
        Metrics::count(&self.metrics.connections_ended, reason);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// What an HTTP/1.1 connection has sent since its last request arrived.
#[derive(Debug, Default)]
struct Http1 {
    bytes: usize,
    begun: u64,
}

impl Http1 {
    /// Counts bytes, of which `begun` requests were read so far; returns whether it is still within its bound.
    fn count(&mut self, bytes: usize, begun: u64) -> bool {
        if self.begun != begun {
            (self.begun, self.bytes) = (begun, 0);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes <= HTTP1_REQUEST_BYTES_MAX
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
        if let Poll::Ready(cut) = this.poll_cut(cx) {
            return Poll::Ready(cut);
        }
        if !this.kept && this.caller.usage.has_requested() {
            this.kept = true;
            this.slot.mark_used();
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => this.count_http1(buf.filled().get(before..).unwrap_or_default()),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_end(cx),
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

    #[test]
    fn requests_of_http1_are_bounded_each() {
        let mut http1 = Http1::default();
        for begun in 0..10 {
            assert!(http1.count(HTTP1_REQUEST_BYTES_MAX - 1, begun));
            assert!(http1.count(1, begun));
        }
        assert!(!http1.count(1, 9));
    }
}
