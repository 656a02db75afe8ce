//! Composition of the services, and the order of shutdown.
//!
//! Shutdown: stop accepting, end delivery streams after their last acks and queries after their last message, then
//! close the store. Connections have half of the stop timeout; those still open are then cut. Nothing acknowledged
//! depends on them.

mod hand_over;
mod ready;
mod services;

use std::{future::Future, io, net::SocketAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use catchment_certs::{
    FolderError, IdentityFolder, Role, ServerTls, TlsError, accept_loop, channel::ALPN_GRPC,
};
use catchment_journal::check_folder;
use catchment_settings::{OutageLog, http::HttpServer, supervise::Supervisor};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::{
    config::Config,
    ingest::StreamRegistry,
    metrics::Metrics,
    store::{EmbeddedStore, KIND, OpenError, Store, StoreError},
    transport::{Deadlines, PeerLimit},
};
use hand_over::HandOver;
use services::Services;

/// Accepted connections that wait for tonic.
const CONNECTIONS_WAITING: usize = 16;
/// Interval of checks whether the store has failed.
const POISON_EVERY: Duration = Duration::from_millis(500);
/// Pause before a start that found no disk space tries again.
const SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Why an aggregator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity cannot be loaded.
    #[error("identity: {0}")]
    Identity(#[from] FolderError),
    /// The identity has another role.
    #[error("identity: {} belongs to {found}, but an aggregator needs role aggregator; issue one with catchment-certs", .dir.display())]
    Role {
        /// The folder.
        dir: PathBuf,
        /// The identity found in it.
        found: String,
    },
    /// The TLS configuration cannot be built.
    #[error("identity: {0}")]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error("data: {0}")]
    Store(#[from] OpenError),
    /// The system refused a thread.
    #[error("cannot open the store: {0}")]
    Thread(String),
    /// An address cannot be bound.
    #[error("{key}: cannot bind {address}: {error}")]
    Bind {
        /// Name of the setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Error of the system.
        error: io::Error,
    },
}

impl StartError {
    /// Whether the configuration, or something it names, is wrong rather than the machine: retrying needs a changed
    /// configuration.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Identity(_) | Self::Role { .. } | Self::Tls(_) => true,
            Self::Store(OpenError::Folder(error)) => error.is_configuration(),
            Self::Store(_) | Self::Thread(_) | Self::Bind { .. } => false,
        }
    }
}

/// Why an aggregator stopped by itself, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The disk failed; acknowledged batches are kept and read again at the next start.
    #[error("the store has failed and accepts nothing more: {0}")]
    Poisoned(Arc<str>),
    /// The store was not closed cleanly; nothing acknowledged is lost.
    #[error("the store was not closed cleanly: {0}")]
    Close(StoreError),
    /// The system refused the query threads.
    #[error("cannot start the query threads: {0}; raise the thread limit or lower query_threads")]
    Thread(String),
    /// The gRPC server ended by itself.
    #[error("the gRPC server ended: {0}")]
    Grpc(String),
    /// A task panicked or ended prematurely.
    #[error("{0}; this is a bug, please report it; acknowledged data is kept: restart the aggregator")]
    Defect(Arc<str>),
}

/// A bound aggregator that is not serving yet.
pub struct Aggregator {
    config: Config,
    tls: ServerTls,
    listener: TcpListener,
    addr: SocketAddr,
    http: Option<(HttpServer, SocketAddr)>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

/// Checks identity and data folder without binding, locking or changing anything. A running aggregator may be using
/// them.
///
/// # Errors
/// The error that a start would return.
pub fn check(config: &Config) -> Result<(), StartError> {
    let (_, owner) = identity(config)?;
    check_folder(&config.data, KIND, Some(&owner)).map_err(OpenError::from)?;
    Ok(())
}

/// Loads and checks the identity: the TLS configuration, and the URI that names it.
pub(crate) fn identity(config: &Config) -> Result<(ServerTls, String), StartError> {
    let folder = IdentityFolder::load_in_force(&config.identity)?;
    let identity = &folder.peer().identity;
    if identity.role() != Role::Aggregator {
        return Err(StartError::Role { dir: config.identity.clone(), found: identity.to_string() });
    }
    Ok((ServerTls::new(&folder, &[ALPN_GRPC])?, folder.peer().uri()))
}

/// Opens the store and binds the addresses. On a full file system it waits for space until the future is dropped.
///
/// # Errors
/// The store cannot be opened, or an address cannot be bound; only the store's folder is left behind.
pub async fn bind(mut config: Config) -> Result<Aggregator, StartError> {
    let (tls, owner) = identity(&config)?;
    config.store.owner = Some(owner);
    let metrics = Metrics::new();
    let store = open(&config).await?;
    let counted = Arc::clone(&store);
    metrics.watch_store(Box::new(move || counted.stats()));
    bind_with(config, tls, store, metrics).await
}

/// Opens the store as soon as there is space, and logs the outcome.
async fn open(config: &Config) -> Result<Arc<EmbeddedStore>, StartError> {
    let mut full_disk = OutageLog::default();
    let (store, report) = loop {
        let (dir, bounds) = (config.data.clone(), config.store.clone());
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&dir, bounds));
        match opened.await.map_err(|error| StartError::Thread(error.to_string()))? {
            Ok(opened) => break opened,
            Err(error @ OpenError::Space { .. }) => {
                if full_disk.record_failure(Instant::now().into_std(), "space").is_some() {
                    tracing::warn!(%error, "the store waits for disk space");
                }
                tokio::time::sleep(SPACE_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    tracing::info!(
        data = %config.data.display(),
        series = report.series,
        replayed = report.replayed,
        torn_tail_bytes = report.torn_tail_bytes,
        "the store is open"
    );
    if let Some(aside) = &report.blocks_set_aside {
        tracing::warn!(aside = %aside.display(), "flushed windows could not be opened and were set aside");
    }
    if report.damage > 0 || report.lost_batches > 0 {
        let (damage, lost_batches) = (report.damage, report.lost_batches);
        tracing::error!(damage, lost_batches, lost = ?report.lost, "the journal is damaged");
    }
    Ok(store)
}

/// Binds the addresses for an open store.
pub(crate) async fn bind_with(
    config: Config,
    tls: ServerTls,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
) -> Result<Aggregator, StartError> {
    let failed = |key, address| move |error| StartError::Bind { key, address, error };
    let listener = TcpListener::bind(config.listen).await.map_err(failed("listen", config.listen))?;
    let addr = listener.local_addr().map_err(failed("listen", config.listen))?;
    let http = match config.http {
        Some(address) => {
            let server = HttpServer::bind(address).await.map_err(failed("http", address))?;
            let server = server.within(config.http_bounds);
            let bound = server.local_addr().map_err(failed("http", address))?;
            Some((server, bound))
        }
        None => None,
    };
    Ok(Aggregator { config, tls, listener, addr, http, store, metrics })
}

impl Aggregator {
    /// Address for gateways and operators.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Address of the plain HTTP endpoint, if configured.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(_, addr)| *addr)
    }

    /// Serves until `shutdown` completes or the store fails, then shuts down gracefully.
    ///
    /// # Errors
    /// Something other than `shutdown` ended it, or the store could not be closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { config, tls, listener, addr: _, http, store, metrics } = self;
        let (stop, stopping) = watch::channel(false);
        let (cut, cutting) = watch::channel(false);
        let supervisor = Arc::new(Supervisor::default());
        let streams = Arc::new(StreamRegistry::default());
        metrics.watch(Arc::clone(&store), Arc::clone(&streams));
        let services = Services::new(&config, &store, &streams, &metrics, (&supervisor, &stopping))
            .await
            .map_err(|error| RunError::Thread(error.to_string()))?;

        let (connections, incoming) = mpsc::channel(CONNECTIONS_WAITING);
        let hand_over = HandOver {
            limit: PeerLimit::new(config.connections_per_peer_max),
            deadlines: Deadlines { first_request: config.first_request_timeout, idle: config.idle_timeout },
            metrics: Arc::clone(&metrics),
            cutting,
            connections,
        };
        let accepting = accept_loop(
            listener,
            tls,
            config.accept,
            Arc::clone(&metrics) as Arc<_>,
            when_set(stopping.clone()),
            move |accepted| hand_over.clone().take(accepted),
        );
        let accepting = tokio::spawn(supervisor.task("accept", |_| (), accepting));
        let mut serving = tokio::spawn(services.router.serve_with_incoming_shutdown(
            ReceiverStream::new(incoming).map(Ok::<_, io::Error>),
            when_set(stopping.clone()),
        ));
        let state = ready::State::new(&metrics, &store, &supervisor, stopping);
        // The HTTP endpoint ends last: until then it reports the reason.
        let (close, closing) = watch::channel(false);
        let http = http.map(|(server, _)| {
            tokio::spawn(supervisor.task("http", |_| (), server.run(state.endpoints(), when_set(closing))))
        });

        let watching = state.watch(services.health.clone(), || services.runner.is_full());
        // Must outlive the select: dropped before `begin_shutdown`, it would count as failed.
        let mut watching = pin!(supervisor.task("watch conditions", |_| (), watching));
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            reason = poisoned(&store) => Err(RunError::Poisoned(reason)),
            why = supervisor.failed() => Err(RunError::Defect(why)),
            // The supervisor records the failure before the task completes.
            () = &mut watching => Err(RunError::Defect(supervisor.failed().await)),
            result = &mut serving => Err(RunError::Grpc(format!("{result:?}"))),
        };
        supervisor.begin_shutdown();
        if let Err(error) = &ended {
            tracing::error!(%error, "stopping");
            // The failure may be that the folder is gone: report that too.
            let _ = check_store_folder(&store).await;
        }
        stop.send_replace(true);
        services.health.stop().await;
        let closed = finish(&config, serving, accepting, &cut, &store).await;
        close.send_replace(true);
        if let Some(http) = http {
            // The server holds nothing whose loss matters.
            let _ = http.await;
        }
        ended.and(closed)
    }
}

/// Shuts down in order, after `stopping` was signalled.
async fn finish<T>(
    config: &Config,
    mut serving: JoinHandle<T>,
    accepting: JoinHandle<()>,
    cut: &watch::Sender<bool>,
    store: &Arc<dyn Store>,
) -> Result<(), RunError> {
    let start = Instant::now();
    let deadline = start + config.stop_timeout;
    if !serving.is_finished() && timeout_at(start + config.stop_timeout / 2, &mut serving).await.is_err() {
        tracing::warn!("connections did not end in time and were cut");
    }
    cut.send_replace(true);
    // A server that ended by itself may leave the listener open.
    accepting.abort();
    serving.abort();
    tracing::info!(elapsed = ?start.elapsed(), "connections ended");
    let closing = Instant::now();
    let closed = timeout_at(deadline, store.close()).await;
    tracing::info!(elapsed = ?closing.elapsed(), total = ?start.elapsed(), "store closed");
    check_store_folder(store).await.map_err(RunError::Poisoned)?;
    match closed {
        Ok(result) => result.map_err(RunError::Close),
        Err(_) => {
            tracing::warn!("the store did not close within stop_timeout: the next start replays its journal");
            Ok(())
        }
    }
}

/// Resolves when the flag turns true, or its sender is dropped.
async fn when_set(mut flag: watch::Receiver<bool>) {
    // An error means that the sender was dropped.
    let _ = flag.wait_for(|flag| *flag).await;
}

/// Checks the store's folder, on a thread that may block on the disk.
///
/// # Errors
/// What is gone.
async fn check_store_folder(store: &Arc<dyn Store>) -> Result<(), Arc<str>> {
    let store = Arc::clone(store);
    let looked = tokio::task::spawn_blocking(move || store.check_folder()).await;
    looked.unwrap_or_else(|error| Err(error.to_string().into()))
}

/// Resolves when the store has failed.
async fn poisoned(store: &Arc<dyn Store>) -> Arc<str> {
    loop {
        if let Some(reason) = store.poisoned() {
            return reason;
        }
        tokio::time::sleep(POISON_EVERY).await;
    }
}
