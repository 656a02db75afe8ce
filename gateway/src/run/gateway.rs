//! What is started to serve, and the order in which it is stopped.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use catchment_certs::{
    AcceptEvents, ClientTls, ServerTls, SessionRegistry, Trust, accept_loop,
    kept_revocations::KeptRevocations,
};
use catchment_journal::DataDir;
use catchment_proto::GatewayId;
use catchment_settings::{http::HttpServer, supervise::Supervisor, when_set};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    end::end,
    failure::RunError,
    observe::observe,
    probes::endpoints,
    serve::{serve, watch_over},
};
use crate::{
    budget::BudgetFile,
    clock::Clock,
    config::Config,
    device_certificates::DeviceCertificates,
    folder::FolderWatch,
    lineage::Lineage,
    listener,
    metrics::Metrics,
    raw::RawSettings,
    shard::{Shard, ShardLimits, ShardLog},
    uplink::{self, KnownPeer, UplinkConfig},
    worker::{ShardLink, Shared, Worker},
};

/// A gateway that is bound and recovered, but does not accept yet.
pub struct Gateway {
    pub(super) config: Config,
    pub(super) id: GatewayId,
    pub(super) trust: Trust,
    pub(super) sessions: SessionRegistry,
    pub(super) tls: ServerTls,
    pub(super) client: ClientTls,
    pub(super) data: DataDir,
    pub(super) listener: TcpListener,
    pub(super) http: Option<HttpServer>,
    pub(super) shards: Vec<Shard>,
    pub(super) lineage: Lineage,
    pub(super) budget: BudgetFile,
    pub(super) peer: Arc<KnownPeer>,
    pub(super) revocations: Arc<KeptRevocations>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

impl Gateway {
    /// The address on which devices connect.
    ///
    /// # Errors
    /// When the system cannot report it.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of the plain HTTP endpoint, if `http` is set.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|http| http.local_addr().ok())
    }

    /// Serves until `shutdown` completes, then stops in order: accepts no more connections, ends sessions after their
    /// last acknowledgement, writes checkpoints, and delivers as much as `stop_timeout` allows. The rest stays durable.
    ///
    /// # Errors
    /// When a journal or outbox fails: nothing is acknowledged from then on.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { config, id, trust, sessions, tls, client, data, listener, http, .. } = self;
        let Self { shards, lineage, budget, peer, revocations, clock, metrics, .. } = self;
        let (stop, stopping) = watch::channel(false);
        let supervisor = Arc::new(Supervisor::default());
        let lineage = Arc::new(Mutex::new(lineage));
        let (logs, folder) = folder_watch(data, &shards, &lineage, &metrics);
        let watch = folder.watch().map_err(|error| RunError::Failed(error.to_string().into()))?;
        let shared = Shared::new(&clock, &metrics, &supervisor, &peer.states);
        let (workers, links) = start_workers(shards, &config, &shared, &stopping);
        let outboxes: Vec<ShardLink> = links.clone();
        let dropped = metrics.revocations.certificates_dropped.clone();
        let certificates = Arc::new(DeviceCertificates::new(config.devices_max, dropped));
        let uplink = UplinkConfig {
            aggregators: config.aggregators.clone(),
            tls: client,
            lineage,
            clock: Arc::clone(&clock),
            in_flight: config.uplink_in_flight,
            raw: RawSettings::of(&config),
            keep: ShardLimits::of(&config, u32::try_from(links.len()).unwrap_or(u32::MAX)).outbox_keep,
            ack_timeout: config.uplink_ack_timeout,
            budget: Arc::clone(budget.budget()),
            peer,
            revocations: Arc::clone(&revocations),
            certificates: Arc::clone(&certificates),
        };
        let delivering = uplink::run(uplink, links, Arc::clone(&metrics));
        let uplink = tokio::spawn(supervisor.task("uplink", |_| (), delivering));
        let places = Arc::clone(budget.budget());
        let keeping = tokio::spawn(supervisor.task("series budget", |_| (), budget.save_changes()));
        let http = http.map(|http| {
            // Serves to the very end, to tell probes why the gateway stops.
            let serving =
                http.run(endpoints(&metrics, &logs, &supervisor, stopping.clone()), std::future::pending());
            tokio::spawn(supervisor.task("http", |_| (), serving))
        });
        let arrivals: Arc<[_]> = workers.iter().map(Worker::arrivals).collect();
        let accept = config.accept;
        let events: Arc<dyn AcceptEvents> = Arc::clone(&metrics) as _;
        let counted = Arc::clone(&metrics);
        let trusting = follow_trust(trust, sessions.clone(), revocations, Arc::clone(&metrics));
        let trusting = tokio::spawn(supervisor.task("trust", |_| (), trusting));
        let accepting =
            accept_loop(listener, tls, accept, sessions, events, when_set(stopping), move |accepted| {
                let (arrivals, metrics, id) = (Arc::clone(&arrivals), Arc::clone(&counted), id.clone());
                let certificates = Arc::clone(&certificates);
                async move { listener::route(accepted, &id, &arrivals, (&certificates, &metrics)).await }
            });
        let accepting = tokio::spawn(supervisor.task("accept", |_| (), accepting));
        let watching = observe(&workers, &logs, &metrics, &places, &*clock);
        let mut result = serve(shutdown, &supervisor, &logs, watching).await;
        if let Err(error) = result {
            let error = folder.explain(error).await;
            tracing::error!(%error, "stopping");
            result = Err(error);
        }
        stop.send_replace(true);
        let _ = accepting.await;
        let ending = end(&workers, &outboxes, &config, &folder, result.is_ok());
        match result {
            Ok(()) => result = watch_over(ending, &supervisor, &logs).await,
            Err(_) => ending.await,
        }
        workers.into_iter().for_each(Worker::stop);
        [uplink, keeping, trusting].iter().for_each(JoinHandle::abort);
        let closed = folder.close(watch).await;
        http.iter().for_each(JoinHandle::abort);
        result.and(closed)
    }
}

/// Watches the identity folder, ends sessions that it no longer trusts, and keeps the revocation lists that count,
/// forever.
async fn follow_trust(
    trust: Trust,
    sessions: SessionRegistry,
    revocations: Arc<KeptRevocations>,
    metrics: Arc<Metrics>,
) {
    let sweeping = sessions.sweep(trust.clone());
    tokio::join!(trust.watch_and_report(&metrics.conditions), sweeping, revocations.keep_changes());
}

/// The logs of all shards, and the watch over the folder that holds them.
fn folder_watch(
    data: DataDir,
    shards: &[Shard],
    lineage: &Arc<Mutex<Lineage>>,
    metrics: &Arc<Metrics>,
) -> (Vec<ShardLog>, Arc<FolderWatch>) {
    let logs: Vec<ShardLog> =
        shards.iter().flat_map(|shard| [shard.journal().clone(), shard.outbox().clone()]).collect();
    let checkpoints = shards.iter().map(Shard::checkpoints).collect();
    let watch = FolderWatch::new(data, logs.clone(), checkpoints, Arc::clone(lineage), Arc::clone(metrics));
    (logs, Arc::new(watch))
}

/// Starts a worker for each shard.
fn start_workers(
    shards: Vec<Shard>,
    config: &Config,
    shared: &Shared,
    stopping: &watch::Receiver<bool>,
) -> (Vec<Worker>, Vec<ShardLink>) {
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let start =
        |(shard, index)| Worker::start(shard, (index, count), config, shared.clone(), stopping.clone());
    shards.into_iter().zip(0..).map(start).unzip()
}
