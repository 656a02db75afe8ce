//! A connection of the HTTP endpoint that ends when its peer takes too long, sends too much, or is evicted.
//!
//! A request has a deadline from the start of the connection, or from its first byte, to its response, however slowly
//! its bytes trickle in; reading the response has the same deadline. Between requests, a connection may be idle longer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use crate::connection_slots::ConnectionSlot;

/// Idle timeout: a scraper may keep its connection between scrapes.
const IDLE: Duration = Duration::from_secs(60);
/// Maximum size of a request with its head; a probe's has some hundred bytes.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Counts a connection that is closed from here, by reason.
pub(super) type CountClosed = Arc<dyn Fn(&'static str) + Send + Sync>;

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first request, or the rest of one.
    Request,
    /// The peer to read the response.
    Response,
    /// The next request.
    Idle,
}

impl Phase {
    /// The reason for closing a connection that takes too long.
    const fn reason(self) -> &'static str {
        match self {
            Self::Request => "request_timeout",
            Self::Response => "answer_timeout",
            Self::Idle => "idle",
        }
    }
}

/// Why connections are closed: all labels for counters.
pub const CLOSED_REASONS: [&str; 5] =
    ["request_timeout", "answer_timeout", "idle", "gave_way", "request_too_long"];

/// A connection with its slot.
pub(super) struct Connection {
    stream: TcpStream,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    timeout: Duration,
    /// Bytes read since the last response.
    request_bytes: usize,
    /// Signals eviction; kept here until the connection first waits for its peer.
    evict: Option<oneshot::Sender<()>>,
    evicted: oneshot::Receiver<()>,
    slot: ConnectionSlot,
    closed: CountClosed,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        slot: ConnectionSlot,
        timeout: Duration,
        closed: CountClosed,
    ) -> Self {
        let (evict, evicted) = oneshot::channel();
        let timer = Box::pin(sleep(timeout));
        let (phase, evict) = (Phase::Request, Some(evict));
        Self { stream, phase, timer, timeout, request_bytes: 0, evict, evicted, slot, closed }
    }

    fn enter(&mut self, phase: Phase) {
        let most = if phase == Phase::Idle { IDLE } else { self.timeout };
        self.phase = phase;
        self.timer.as_mut().reset(Instant::now() + most);
    }

    fn close<T>(&self, reason: &'static str) -> Poll<io::Result<T>> {
        (self.closed)(reason);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Returns an error when the connection must end. Polled whenever the connection waits for its peer.
    fn poll_end<T>(&mut self, task: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Some(evict) = self.evict.take() {
            self.slot.on_evict(move || _ = evict.send(()));
        }
        if matches!(Pin::new(&mut self.evicted).poll(task), Poll::Ready(Ok(()))) {
            return self.close("gave_way");
        }
        ready!(self.timer.as_mut().poll(task));
        self.close(self.phase.reason())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(task, buf) else {
            return this.poll_end(task);
        };
        let read = buf.filled().len() - before;
        if read > 0 && this.phase == Phase::Idle {
            this.enter(Phase::Request);
        }
        this.request_bytes += read;
        if this.request_bytes > REQUEST_BYTES_MAX {
            return this.close("request_too_long");
        }
        // With trickling bytes the connection may never wait, so check the deadline at each read.
        if this.phase == Phase::Request && this.timer.deadline() <= Instant::now() {
            return this.close(this.phase.reason());
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.phase != Phase::Response {
            this.enter(Phase::Response);
        }
        match Pin::new(&mut this.stream).poll_write(task, bytes) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => this.poll_end(task),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(task))?;
        if this.phase == Phase::Response {
            this.request_bytes = 0;
            this.enter(Phase::Idle);
            this.slot.touch();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(task)
    }
}
