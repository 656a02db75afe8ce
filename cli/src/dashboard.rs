//! `dashboard`: a page of the fleet on loopback, with the operator's identity behind it.
//!
//! Path of a request: `proxy::Server` (connections and their bounds) → `access` (which page or program may be behind it) →
//! `service` (routes, headers of every answer) → `files` (the page itself), `data` (lists and charts as JSON, over gRPC) or
//! `proxy::Forward` (`/api/v1`).

mod access;
mod data;
mod files;
mod service;

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use catchment_settings::shutdown_signal;
use tokio::net::TcpListener;

use self::{access::Access, data::Data, service::Service};
use crate::{
    args::DashboardArgs,
    failure::Failure,
    print::print,
    proxy::{Forward, Server},
};

/// How long an answer may wait for its reader: as long as a request may wait for its answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until a signal stops it.
///
/// # Errors
/// Wrong usage, or the address cannot be bound.
pub async fn dashboard(args: &DashboardArgs) -> Result<(), Failure> {
    let connection = &args.connection;
    let dashboard = Dashboard::bind(args.listen, &connection.aggregator, &connection.identity).await?;
    let signal =
        shutdown_signal().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    print(&format!("dashboard {}\n", dashboard.url()))?;
    let stop = async {
        signal.await;
    };
    dashboard.run(stop).await;
    Ok(())
}

/// A dashboard that is bound and does not serve yet.
pub struct Dashboard {
    server: Server,
    service: Arc<Service>,
    url: String,
}

impl fmt::Debug for Dashboard {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Dashboard {
    /// Binds a loopback address, for an aggregator at `https://HOST:PORT` and the identity in a folder. It connects when the
    /// first request comes.
    ///
    /// # Errors
    /// A bad address, an identity that is none of an operator, or the address cannot be bound.
    pub async fn bind(listen: SocketAddr, aggregator: &str, identity: &Path) -> Result<Self, Failure> {
        let forward = Forward::new(aggregator, identity)?;
        let cannot = |error| Failure::failed(format!("--listen: cannot bind {listen}: {error}"));
        let listener = TcpListener::bind(listen).await.map_err(cannot)?;
        let bound = listener.local_addr().map_err(cannot)?;
        let access = Access::random(bound.port());
        let url = format!("http://{bound}/?token={}", access.token());
        let service = Service::new(access, Data::new(aggregator, identity), forward);
        let server = Server::new(listener).with_stall_timeout(STALL_TIMEOUT);
        Ok(Self { server, service: Arc::new(service), url })
    }

    /// The link to open, with the token.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `shutdown` completes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let service = Arc::clone(&self.service);
        let stop = async move {
            shutdown.await;
            service.stop();
        };
        self.server.run(self.service, stop).await;
    }
}
