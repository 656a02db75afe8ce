//! A TCP stream that can move to another runtime.
//!
//! A tokio stream belongs to the event loop on which it was created. Connections are accepted and do their handshake on
//! one runtime, and a worker with its own runtime serves them: [`Socket::rebind`] removes the stream from the old event
//! loop and registers it with the current one. Bytes waiting in the kernel stay there.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::sockopt,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Idle time before the first keepalive probe, to detect vanished peers.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Number of unanswered probes after which the connection is closed.
const KEEPALIVE_PROBES: u32 = 4;
/// Time between probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A TCP stream that can move to another runtime.
#[derive(Debug)]
pub struct Socket {
    /// Empty only after a failed [`Socket::rebind`].
    stream: Option<TcpStream>,
}

impl Socket {
    /// Wraps a stream, with Nagle's algorithm off and keepalive on.
    ///
    /// # Errors
    /// The system refuses a socket option.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        set_options(&stream)?;
        Ok(Self { stream: Some(stream) })
    }

    /// Like [`Self::new`], for a stream that may have inherited its options from a listener passed to [`prepare`].
    pub(crate) fn accepted(stream: TcpStream) -> io::Result<Self> {
        if !sockopt::tcp_nodelay(&stream)? {
            set_options(&stream)?;
        }
        Ok(Self { stream: Some(stream) })
    }

    /// Moves the stream to the current runtime. No task may be waiting on it meanwhile, which `&mut` ensures.
    ///
    /// # Errors
    /// The registration failed; the stream is then closed, and every later use of it returns
    /// [`io::ErrorKind::NotConnected`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with input and output enabled.
    pub fn rebind(&mut self) -> io::Result<()> {
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(TcpStream::from_std(stream.into_std()?)?);
        Ok(())
    }

    /// The peer's address.
    ///
    /// # Errors
    /// The stream is no longer connected.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?.peer_addr()
    }

    /// Whether the peer has reset the connection, or vanished; see [`is_broken`]. Also after a failed [`Self::rebind`].
    pub fn is_broken(&self) -> bool {
        self.stream.as_ref().is_none_or(is_broken)
    }

    fn pinned(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        Ok(Pin::new(self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?))
    }
}

/// Whether a connection is reset or timed out, without reading from it: the bytes that were received before, and the error,
/// are there for the next read. `false` for a peer that has only ended its own direction.
pub fn is_broken(socket: impl AsFd) -> bool {
    let mut asked = [PollFd::new(&socket, PollFlags::empty())];
    let answered = poll(&mut asked, Some(&Default::default()));
    let [asked] = asked;
    answered.is_ok() && asked.revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Sets a listener's options: on Linux, later connections inherit them.
///
/// # Errors
/// The system refuses an option.
pub(crate) fn prepare(listener: &TcpListener) -> io::Result<()> {
    set_options(listener)
}

fn set_options(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    // Set last: a connection that inherited it from its listener has the others too. No system sets it by default.
    Ok(sockopt::set_tcp_nodelay(&socket, true)?)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_reset_is_seen_without_reading_and_an_ended_direction_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut device = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::accepted(listener.accept().await.unwrap().0).unwrap();
        device.write_all(b"line").await.unwrap();
        device.shutdown().await.unwrap();
        let mut read = [0; 4];
        socket.read_exact(&mut read).await.unwrap();
        assert!(!socket.is_broken(), "the device still reads");

        let mut device = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::accepted(listener.accept().await.unwrap().0).unwrap();
        socket.write_all(b"unread").await.unwrap();
        device.readable().await.unwrap();
        assert!(!socket.is_broken());
        device.write_all(b"line").await.unwrap();
        // It closes with unread bytes.
        drop(device);
        while !socket.is_broken() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(socket.is_broken(), "asking changes nothing");
        let error = socket.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    fn has_options(socket: &TcpStream) -> bool {
        sockopt::tcp_nodelay(socket).unwrap()
            && sockopt::socket_keepalive(socket).unwrap()
            && sockopt::tcp_keepidle(socket).unwrap() == KEEPALIVE_IDLE
            && sockopt::tcp_keepintvl(socket).unwrap() == KEEPALIVE_INTERVAL
            && sockopt::tcp_keepcnt(socket).unwrap() == KEEPALIVE_PROBES
    }

    #[tokio::test]
    async fn early_and_late_connections_have_their_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap());
        let _early = connect().await.unwrap();
        prepare(&listener).unwrap();
        let late = connect().await.unwrap();
        // The connection made before `prepare` has no options.
        let (first, _) = listener.accept().await.unwrap();
        assert!(!has_options(&first));
        let first = Socket::accepted(first).unwrap();
        assert!(has_options(first.stream.as_ref().unwrap()));
        let (second, _) = listener.accept().await.unwrap();
        assert_eq!(has_options(&second), cfg!(target_os = "linux"));
        let second = Socket::accepted(second).unwrap();
        assert!(has_options(second.stream.as_ref().unwrap()));
        assert!(has_options(Socket::new(late).unwrap().stream.as_ref().unwrap()));
    }
}
