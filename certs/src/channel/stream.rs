//! A client's stream: its errors in words of our own, and its end when the client no longer trusts the server.
//!
//! The libraries above (HTTP/2) keep only kind and text of an error, so the words are put in here, and [`LastFailure`] keeps
//! what they lose: whether a retry is useless. In TLS 1.3 a client learns only from a later read that its certificate was
//! refused.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{failure::StreamFailure, sessions::EndReason};

/// Resolves when the client no longer trusts the server.
pub(super) type Distrusted = Pin<Box<dyn Future<Output = EndReason> + Send>>;

/// Why the newest connection of a [`crate::GrpcConnector`] failed after its handshake. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastFailure(Arc<Mutex<Option<StreamFailure>>>);

impl LastFailure {
    /// The failure; `None`: the newest connection has not failed.
    pub fn get(&self) -> Option<StreamFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, failure: Option<StreamFailure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// A client's TLS stream.
pub struct ClientStream {
    inner: TlsStream<TcpStream>,
    distrusted: Option<Distrusted>,
    /// Why it ended by the client's own will.
    ended: Option<StreamFailure>,
    failure: LastFailure,
}

impl ClientStream {
    pub(super) fn new(
        inner: TlsStream<TcpStream>,
        distrusted: Option<Distrusted>,
        failure: LastFailure,
    ) -> Self {
        Self { inner, distrusted, ended: None, failure }
    }

    /// Fails once the client no longer trusts the server, and from then on.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(distrusted) = &mut self.distrusted {
            let Poll::Ready(reason) = distrusted.as_mut().poll(context) else { return Ok(()) };
            self.distrusted = None;
            let why = match reason {
                EndReason::Revoked => {
                    "crl.pem of this side names the server's certificate or that of its issuer"
                }
                EndReason::Expired => "the server's certificate, or that of its issuer, has expired",
                _ => "the root of the server's certificate is no longer in ca.pem of this side",
            };
            let reason = format!("this side no longer trusts the server: {why}");
            // The next connection shows whether the server has another certificate by now.
            let ended = StreamFailure { reason, is_lasting: false, kind: io::ErrorKind::ConnectionAborted };
            self.failure.set(Some(ended.clone()));
            self.ended = Some(ended);
        }
        self.ended.clone().map_or(Ok(()), |ended| Err(ended.into()))
    }

    /// The error in our words, which are kept.
    fn failed(&self, error: &io::Error) -> io::Error {
        let failure = StreamFailure::from_io(error);
        self.failure.set(Some(failure.clone()));
        failure.into()
    }

    /// As [`Self::failed`], of a write: what the server said before it closed tells more.
    fn write_failed(&mut self, context: &mut Context<'_>, error: &io::Error) -> io::Error {
        let mut byte = [0];
        match Pin::new(&mut self.inner).poll_read(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Err(said)) if StreamFailure::from_io(&said).is_lasting => self.failed(&said),
            _ => self.failed(error),
        }
    }

    fn write_result<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        result.map_err(|error| self.write_failed(context, &error))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.inner).poll_read(context, into).map_err(|error| this.failed(&error))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        let result = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.write_result(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        let result = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        this.write_result(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(context);
        this.write_result(context, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("inner", &self.inner).finish_non_exhaustive()
    }
}
