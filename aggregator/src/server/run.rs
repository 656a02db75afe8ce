//! Serves, and the order in which everything ends.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use catchment_certs::{ServerTls, SessionRegistry, Trust, accept_loop, kept_revocations::KeptRevocations};
use catchment_settings::{http::HttpServer, supervise::Supervisor, when_set};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::{failure::RunError, hand_over::HandOver, ready, services::Services};
use crate::{
    certificates::KeptCertificates,
    config::Config,
    ingest::{StreamRegistry, publish_revocations},
    metrics::Metrics,
    retention::Retention,
    store::{BackupSource, MaintenanceStore, Store},
};

/// Accepted connections that wait for tonic.
const CONNECTIONS_WAITING: usize = 16;
/// Interval of checks whether the store has failed.
const FAILURE_EVERY: Duration = Duration::from_millis(500);

/// A bound aggregator that is not serving yet.
pub struct Aggregator {
    pub(super) config: Config,
    pub(super) trust: Trust,
    pub(super) sessions: SessionRegistry,
    pub(super) tls: ServerTls,
    pub(super) listener: TcpListener,
    pub(super) addr: SocketAddr,
    pub(super) http: Option<(HttpServer, SocketAddr)>,
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    /// The revocation lists of the data folder, if there is one.
    pub(super) revocations: Option<Arc<KeptRevocations>>,
    /// The ends of certificates of the data folder, if there is one.
    pub(super) certificates: Option<Arc<KeptCertificates>>,
    /// The store, if it can be backed up here.
    pub(super) backups: Option<Arc<dyn BackupSource>>,
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
        let Self { config, trust, sessions, revocations, tls, listener, http, store, .. } = self;
        let Self { metrics, backups, certificates, .. } = self;
        let (stop, stopping) = watch::channel(false);
        let (cut, cutting) = watch::channel(false);
        let supervisor = Arc::new(Supervisor::default());
        let streams = streams(certificates.as_ref());
        let maintenance: Arc<dyn MaintenanceStore> = Arc::clone(&store) as Arc<_>;
        metrics.watch(&store, Arc::clone(&streams));
        let services = Services::new(&config, &store, &streams, &metrics, backups, (&supervisor, &stopping))
            .await
            .map_err(|error| RunError::Thread(error.to_string()))?;

        let (connections, incoming) = mpsc::channel(CONNECTIONS_WAITING);
        let hand_over = HandOver::new(&config, Arc::clone(&metrics), cutting, connections);
        let accepting = accept_loop(
            listener,
            tls,
            config.accept,
            sessions.clone(),
            Arc::clone(&metrics) as Arc<_>,
            when_set(stopping.clone()),
            move |accepted| hand_over.clone().take(accepted),
        );
        let accepting = tokio::spawn(supervisor.task("accept", |_| (), accepting));
        let shared = (Arc::clone(&streams), Arc::clone(&metrics));
        let trusting = follow_trust(trust, sessions, (revocations, certificates.clone()), shared);
        let trusting = tokio::spawn(supervisor.task("trust", |_| (), trusting));
        let retention = Retention::new(&config, &store, &metrics);
        let retention = retention.spawn(&supervisor, when_set(stopping.clone()));
        let mut serving = tokio::spawn(services.router.serve_with_incoming_shutdown(
            ReceiverStream::new(incoming).map(Ok::<_, io::Error>),
            when_set(stopping.clone()),
        ));
        let state = ready::State::new(&metrics, &maintenance, &supervisor, stopping);
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
            reason = failed(&*maintenance) => Err(RunError::Poisoned(reason)),
            why = supervisor.failed() => Err(RunError::Defect(why)),
            // The supervisor records the failure before the task completes.
            () = &mut watching => Err(RunError::Defect(supervisor.failed().await)),
            result = &mut serving => Err(RunError::Grpc(format!("{result:?}"))),
        };
        supervisor.begin_shutdown();
        if let Err(error) = &ended {
            tracing::error!(%error, "stopping");
            // The failure may be that the folder is gone: report that too.
            let _ = check_store_data(&maintenance).await;
        }
        stop.send_replace(true);
        services.health.stop().await;
        let closed = finish(&config, serving, (accepting, retention), &cut, &maintenance).await;
        end_trust(trusting, certificates).await;
        close.send_replace(true);
        if let Some(http) = http {
            // The server holds nothing whose loss matters.
            let _ = http.await;
        }
        ended.and(closed)
    }
}

/// Watches the identity folder, ends sessions that it no longer trusts, keeps its revocation lists, offers them to the
/// gateways, and keeps when certificates end, forever.
async fn follow_trust(
    trust: Trust,
    sessions: SessionRegistry,
    (revocations, certificates): (Option<Arc<KeptRevocations>>, Option<Arc<KeptCertificates>>),
    (streams, metrics): (Arc<StreamRegistry>, Arc<Metrics>),
) {
    let keeping = async {
        if let Some(revocations) = revocations {
            revocations.keep_changes().await;
        }
    };
    let keeping_ends = async {
        if let Some(certificates) = certificates {
            certificates.keep_changes().await;
        }
    };
    metrics.trust.show(&trust);
    metrics.watch_sessions(sessions.clone());
    let offering = publish_revocations(trust.subscribe(), streams.revocations.clone());
    tokio::join!(
        trust.watch_and_report(&metrics.conditions),
        sessions.sweep(trust.clone()),
        offering,
        keeping,
        keeping_ends
    );
}

/// Without streams; with the ends of certificates that the data folder keeps.
fn streams(certificates: Option<&Arc<KeptCertificates>>) -> Arc<StreamRegistry> {
    let known = certificates.map(|kept| Arc::clone(&kept.certificates)).unwrap_or_default();
    Arc::new(StreamRegistry::new(known))
}

/// Ends [`follow_trust`], and keeps what gateways told last of certificates.
async fn end_trust(trusting: JoinHandle<()>, certificates: Option<Arc<KeptCertificates>>) {
    // It holds the metrics, and these the store, whose folder must be free.
    trusting.abort();
    let _ = trusting.await;
    if let Some(certificates) = certificates {
        certificates.write().await;
    }
}

/// Shuts down in order, after `stopping` was signalled.
async fn finish<T>(
    config: &Config,
    mut serving: JoinHandle<T>,
    (accepting, retention): (JoinHandle<()>, JoinHandle<()>),
    cut: &watch::Sender<bool>,
    store: &Arc<dyn MaintenanceStore>,
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
    // A round ends early once the store is closed; until then it holds the store's folder.
    let _ = timeout_at(deadline, retention).await;
    check_store_data(store).await.map_err(RunError::Poisoned)?;
    match closed {
        Ok(result) => result.map_err(RunError::Close),
        Err(_) => {
            tracing::warn!("the store did not close within stop_timeout: the next start replays its journal");
            Ok(())
        }
    }
}

/// Checks that the store's data is still in its place, on a thread that may block on the disk.
///
/// # Errors
/// What is gone.
async fn check_store_data(store: &Arc<dyn MaintenanceStore>) -> Result<(), Arc<str>> {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || store.health()).await {
        Ok(health) => health.failure.and_then(|failure| failure.data_gone).map_or(Ok(()), Err),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Resolves when the store has failed.
async fn failed(store: &dyn MaintenanceStore) -> Arc<str> {
    loop {
        if let Some(failure) = store.failure() {
            return failure.reason;
        }
        tokio::time::sleep(FAILURE_EVERY).await;
    }
}
