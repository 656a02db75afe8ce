//! The plain HTTP endpoint for probes and metrics: `/metrics`, `/healthz`, `/readyz`.
//!
//! The number of connections is small and bounded, none keeps its slot unused (`connection`), and when all slots are in
//! use, the connection idle longest is evicted. So no client of this port can hold memory or file descriptors, or keep
//! a probe out. Closures provide the responses, so this file depends on no metrics library.

mod connection;
mod scrape;

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::net::TcpListener;

pub use self::connection::CLOSED_REASONS;
use self::{
    connection::{Connection, CountClosed},
    scrape::Scrapes,
};
use crate::connection_slots::ConnectionSlots;

/// Bounds of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of concurrent connections; one address may have half of them.
    pub connections_max: usize,
    /// Deadline for receiving a request, and again for the client to read the response.
    pub timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        // Enough for a few scrapers and probes; a request is one packet on the operator's own network.
        Self { connections_max: 64, timeout: Duration::from_secs(5) }
    }
}

/// Content type of `/metrics`.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Handler<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// Responses of the endpoint. All closures but `metrics` run on the runtime's threads: they must not block.
#[derive(Clone)]
pub struct Endpoints {
    /// Body of `/metrics`, in the OpenMetrics text format. Runs on a thread that may block, one at a time.
    pub metrics: Handler<String>,
    /// `/healthz`: `Err` with the reason if this process should be restarted.
    pub healthy: Handler<Result<(), String>>,
    /// `/readyz`: `Err` with the reason if this process should get no work now; otherwise what an operator should look
    /// at, empty if nothing.
    pub ready: Handler<Result<String, String>>,
    /// Counts a connection closed by the endpoint, by reason.
    pub closed: CountClosed,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}

/// An endpoint that is bound but does not serve yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    bounds: Bounds,
}

impl HttpServer {
    /// Binds the address; port 0 chooses a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, bounds: Bounds::default() })
    }

    /// Uses these bounds instead of the defaults.
    #[must_use]
    pub fn within(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The bound address.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes; open connections end then.
    pub async fn run(self, endpoints: Endpoints, shutdown: impl Future<Output = ()>) {
        let Endpoints { metrics, healthy, ready, closed } = endpoints;
        let scrapes = Arc::new(Scrapes::new(metrics));
        let router = Router::new()
            .route("/metrics", get(move || scrape(Arc::clone(&scrapes))))
            .route("/healthz", get(move || async move { probe(healthy().map(|()| String::new())) }))
            .route("/readyz", get(move || async move { probe(ready()) }));
        let Self { listener, bounds } = self;
        let max = bounds.connections_max.max(1);
        let slots = ConnectionSlots::new(max, max.div_ceil(2));
        let listener = Bounded { listener, slots, timeout: bounds.timeout, closed };
        tokio::select! {
            _ = axum::serve(listener, router).into_future() => {}
            () = shutdown => {}
        }
    }
}

async fn scrape(scrapes: Arc<Scrapes>) -> Response {
    match scrapes.take().await {
        Some(body) => ([(header::CONTENT_TYPE, METRICS_TYPE)], body).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn probe(state: Result<String, String>) -> (StatusCode, String) {
    match state {
        Ok(notices) if notices.is_empty() => (StatusCode::OK, "ok\n".to_owned()),
        Ok(notices) => (StatusCode::OK, format!("ok\n{notices}\n")),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// A listener that accepts no more connections than there are slots.
struct Bounded {
    listener: TcpListener,
    slots: Arc<ConnectionSlots>,
    timeout: Duration,
    closed: CountClosed,
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Every polled connection can be evicted, so this takes little time.
                    let slot = self.slots.acquire_patiently(address.ip()).await;
                    let closed = Arc::clone(&self.closed);
                    return (Connection::new(stream, slot, self.timeout, closed), address);
                }
                Err(error) => {
                    tracing::warn!(listener = "http", %error, "the HTTP endpoint cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests;
