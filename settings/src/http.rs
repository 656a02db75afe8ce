//! The plain HTTP endpoint for probes and metrics: `/metrics`, `/healthz`, `/readyz`.
//!
//! Few connections are served at a time and an idle one ends by itself: whoever reaches this port cannot hold
//! memory or file descriptors. The answers come from closures, so this file knows no metrics library.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, http::StatusCode, http::header, routing::get};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};

/// Connections served at a time; further ones wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 64;
/// A connection on which nothing arrives for this long is closed.
pub const IDLE: Duration = Duration::from_secs(60);

type Answer<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// What the endpoint answers. The closures run on the runtime's threads: they must not block.
#[derive(Clone)]
pub struct Endpoints {
    /// Body of `/metrics`, in the OpenMetrics text format.
    pub metrics: Answer<String>,
    /// `/healthz`: `Err` with the reason when this process should be restarted.
    pub healthy: Answer<Result<(), String>>,
    /// `/readyz`: `Err` with the reason when no work should be sent here now.
    pub ready: Answer<Result<(), String>>,
}

/// A bound endpoint that does not answer yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
}

impl HttpServer {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown` ends; connections that are open then end with it.
    pub async fn run(self, endpoints: Endpoints, shutdown: impl Future<Output = ()>) {
        let Endpoints { metrics, healthy, ready } = endpoints;
        let text = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
        let router = Router::new()
            .route("/metrics", get(move || async move { (text, metrics()) }))
            .route("/healthz", get(move || async move { probe(healthy()) }))
            .route("/readyz", get(move || async move { probe(ready()) }));
        let listener =
            Bounded { listener: self.listener, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
        tokio::select! {
            _ = axum::serve(listener, router).into_future() => {}
            () = shutdown => {}
        }
    }
}

fn probe(state: Result<(), String>) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// Accepts no more connections than there are permits.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // The semaphore is never closed; waiting for ever is what no connection means.
                std::future::pending().await
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let idle = Box::pin(tokio::time::sleep(IDLE));
                    return (Connection { stream, idle, _permit: permit }, address);
                }
                Err(error) => {
                    tracing::warn!(%error, "the HTTP endpoint cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing arrives for [`IDLE`].
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.idle.as_mut().reset(Instant::now() + IDLE);
                Poll::Ready(result)
            }
            Poll::Pending => this.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_and_probes_answer() {
        let server = HttpServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.local_addr().unwrap();
        let endpoints = Endpoints {
            metrics: Arc::new(|| "catchment_up 1\n# EOF\n".to_owned()),
            healthy: Arc::new(|| Ok(())),
            ready: Arc::new(|| Err("still reading the journal".to_owned())),
        };
        let running = tokio::spawn(server.run(endpoints, std::future::pending()));
        let metrics = ask(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("catchment_up 1"), "{metrics}");
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let ready = ask(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("journal"), "{ready}");
        assert!(ask(address, "/else").await.starts_with("HTTP/1.1 404"));
        running.abort();
    }
}
