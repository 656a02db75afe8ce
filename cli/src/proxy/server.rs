//! An HTTP/1.1 server on loopback with bounds.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{answer::Body, report};

/// Connections at once; further ones wait.
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
}

impl Server {
    /// A server on this listener.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener }
    }

    /// Serves until `shutdown` completes. Requests in progress then have a few seconds.
    pub async fn run(self, handler: Arc<impl Handler>, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                (stream, slot) = self.accept(&slots) => {
                    connections.spawn(serve(stream, slot, Arc::clone(&handler), stopping.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        stop.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        // What does not end in time is cut when the set is dropped.
        let _ = timeout(STOP_TIMEOUT, ended).await;
    }

    /// The next connection, when there is a slot for it.
    async fn accept(&self, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        // The semaphore is never closed.
        let slot = Arc::clone(slots).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, slot),
                Err(error) => {
                    report(&format!("cannot accept a connection: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves a connection until it ends.
async fn serve(
    stream: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
    handler: Arc<impl Handler>,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    // Errors are those of the peer: it sent no HTTP, was too slow, or is gone.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
