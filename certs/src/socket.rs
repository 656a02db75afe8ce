//! A TCP stream that can move to another runtime.
//!
//! A tokio stream belongs to the event loop on which it was made. A connection is accepted and its handshake
//! made on one runtime, and served by a worker with a runtime of its own: [`Socket::rebind`] takes the stream
//! off the old event loop and registers it with the current one. Bytes that wait in the kernel stay there.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A peer that vanished without a word is noticed after this silence …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// … and so many probes …
const KEEPALIVE_PROBES: u32 = 4;
/// … this far apart.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A TCP stream that can move to another runtime.
#[derive(Debug)]
pub struct Socket {
    /// Empty only after a failed [`Socket::rebind`].
    stream: Option<TcpStream>,
}

impl Socket {
    /// Takes a stream, with small writes sent at once and dead peers noticed.
    ///
    /// # Errors
    /// What the system says to the socket options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        use rustix::net::sockopt;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
        Ok(Self { stream: Some(stream) })
    }

    /// Moves the stream to the runtime on which this is called. No task may be waiting on it meanwhile,
    /// which `&mut` ensures.
    ///
    /// # Errors
    /// What the system says to the registration; the stream is closed then, and every later use of it
    /// returns [`io::ErrorKind::NotConnected`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with input and output enabled.
    pub fn rebind(&mut self) -> io::Result<()> {
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(TcpStream::from_std(stream.into_std()?)?);
        Ok(())
    }

    /// The stream's address at the other end.
    ///
    /// # Errors
    /// The stream is not connected any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?.peer_addr()
    }

    fn pinned(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        Ok(Pin::new(self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pinned()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pinned()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_shutdown(context)
    }
}
