//! An HTTP/1.1 server on loopback with bounds.
//!
//! Any program and any web page of the machine can connect. Connections that ask nothing must not keep out those that do, so
//! when all are taken, the one that has been silent longest is closed (`silent`), and a refused peer is not kept.

mod silent;
mod stall;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    silent::{Silence, Silent},
    stall::Stalling,
};
use super::{answer::Body, report};

/// Connections at once. A further one takes the place of the one that has been silent longest; if none is, it waits.
const CONNECTIONS_MAX: usize = 256;
/// How long the head of a request may take, and a connection be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest head of a request with its URL.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long requests in progress may take when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// A server that is bound and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    head_timeout: Duration,
    stall_timeout: Option<Duration>,
}

impl Server {
    /// A server on this listener.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, head_timeout: HEAD_TIMEOUT, stall_timeout: None }
    }

    /// Ends connections that take nothing of an answer for so long.
    #[must_use]
    pub fn with_stall_timeout(self, limit: Duration) -> Self {
        Self { stall_timeout: Some(limit), ..self }
    }

    /// Serves until `shutdown` completes. Requests in progress then have a few seconds.
    pub async fn run(self, handler: Arc<impl Handler>, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let silent = Arc::new(Silent::default());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let stream = tokio::select! {
                () = &mut shutdown => break,
                stream = self.accept() => stream,
                Some(_) = connections.join_next() => continue,
            };
            if slots.available_permits() == 0 {
                silent.close_oldest();
            }
            // Not part of the wait above, which would drop the connection when another one ends.
            let slot = tokio::select! {
                () = &mut shutdown => break,
                // The semaphore is never closed.
                slot = Arc::clone(&slots).acquire_owned() => slot.ok(),
            };
            let (head_timeout, stall_timeout) = (self.head_timeout, self.stall_timeout);
            let connection = Connection { stream, head_timeout, stall_timeout, _slot: slot };
            let silence = Silent::enter(&silent);
            connections.spawn(connection.serve(silence, Arc::clone(&handler), stopping.clone()));
        }
        stop.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        // What does not end in time is cut when the set is dropped.
        let _ = timeout(STOP_TIMEOUT, ended).await;
    }

    /// The next connection.
    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    report(&format!("cannot accept a connection: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection and its place.
struct Connection {
    stream: TcpStream,
    head_timeout: Duration,
    stall_timeout: Option<Duration>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Serves it until it ends.
    async fn serve(
        self,
        (silence, mut closed): (Silence, oneshot::Receiver<()>),
        handler: Arc<impl Handler>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let _ = self.stream.set_nodelay(true);
        let answer = service_fn(|request| {
            silence.end();
            let handler = Arc::clone(&handler);
            async move {
                let mut answer = handler.answer(request).await;
                if answer.status() == StatusCode::FORBIDDEN {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.head_timeout).max_buf_size(HEAD_BYTES_MAX);
        let stream = TokioIo::new(Stalling::new(self.stream, self.stall_timeout));
        let mut connection = pin!(http.serve_connection(stream, answer));
        // Errors are those of the peer: it sent no HTTP, was too slow, or is gone.
        tokio::select! {
            _ = connection.as_mut() => return,
            Ok(()) = &mut closed => return,
            _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HOST;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::proxy::answer::whole;

    struct Echo;

    impl Handler for Echo {
        async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
            let mut answer = Response::new(whole("here"));
            if !request.headers().contains_key(HOST) {
                *answer.status_mut() = StatusCode::FORBIDDEN;
            }
            answer
        }
    }

    #[tokio::test]
    async fn silent_and_refused_connections_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // No timeout frees a place here.
        let server = Server { head_timeout: Duration::from_secs(86_400), ..Server::new(listener) };
        let serving = tokio::spawn(server.run(Arc::new(Echo), std::future::pending()));
        let mut kept = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut bytes = [0; 1 << 10];
        kept.write_all(request).await.unwrap();
        assert!(kept.read(&mut bytes).await.unwrap() > 0);

        let mut silent = Vec::new();
        for number in 0..CONNECTIONS_MAX + 20 {
            silent.push(TcpStream::connect(address).await.unwrap());
            // Half of them begin a head.
            let begun: &[u8] = if number % 2 == 0 { b"GET / HTTP/1.1\r\nHost: " } else { b"" };
            silent.last_mut().unwrap().write_all(begun).await.unwrap();
        }
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(request).await.unwrap();
        let length = other.read(&mut bytes).await.unwrap();
        assert!(bytes[..length].starts_with(b"HTTP/1.1 200"));
        // The first silent one had to go, the last one stayed, and so did those that have asked.
        assert!(matches!(silent[0].read(&mut bytes).await, Ok(0) | Err(_)));
        assert!(
            silent
                .last()
                .unwrap()
                .try_read(&mut bytes)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        );
        for asker in [&mut kept, &mut other] {
            asker.write_all(request).await.unwrap();
            assert!(asker.read(&mut bytes).await.unwrap() > 0);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        refused.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut text = String::new();
        refused.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 403") && text.contains("connection: close"), "{text}");
        serving.abort();
    }
}
