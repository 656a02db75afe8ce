//! A TCP stream that can move to another runtime.
//!
//! A tokio stream belongs to the event loop on which it was made. A connection is accepted and its handshake
//! made on one runtime, and served by a worker with a runtime of its own: [`Socket::rebind`] takes the stream
//! off the old event loop and registers it with the current one. Bytes that wait in the kernel stay there.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
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
        set_options(&stream)?;
        Ok(Self { stream: Some(stream) })
    }

    /// As [`Self::new`] for a stream whose listener may have been given to [`prepare`] before it connected.
    pub(crate) fn accepted(stream: TcpStream) -> io::Result<Self> {
        if !sockopt::tcp_nodelay(&stream)? {
            set_options(&stream)?;
        }
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

/// Sets a listener's options: on Linux the connections that come to it from then on have them from the start.
///
/// # Errors
/// What the system says to them.
pub(crate) fn prepare(listener: &TcpListener) -> io::Result<()> {
    set_options(listener)
}

fn set_options(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    // The last: a connection that has it from its listener has the others too. No system sets it by default.
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
    use super::*;

    fn has_options(socket: &TcpStream) -> bool {
        sockopt::tcp_nodelay(socket).unwrap()
            && sockopt::socket_keepalive(socket).unwrap()
            && sockopt::tcp_keepidle(socket).unwrap() == KEEPALIVE_IDLE
            && sockopt::tcp_keepintvl(socket).unwrap() == KEEPALIVE_INTERVAL
            && sockopt::tcp_keepcnt(socket).unwrap() == KEEPALIVE_PROBES
    }

    #[tokio::test]
    async fn connections_have_their_options_whenever_they_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap());
        let _early = connect().await.unwrap();
        prepare(&listener).unwrap();
        let late = connect().await.unwrap();
        // What waited from before has none of its own.
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
