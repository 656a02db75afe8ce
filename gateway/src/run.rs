//! Wires the gateway together, from its configuration to its ordered shutdown. Nothing is wired elsewhere.
//!
//! Bind first, run second: a [`Gateway`] knows its real addresses and has recovered its state before it accepts.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use actix_rt::{System, SystemRunner};
use catchment_certs::{AcceptEvents, ClientTls, Identity, IdentityFolder, ServerTls, accept_loop};
use catchment_journal::{DataDir, RealDisk, check_folder};
use catchment_proto::GatewayId;
use catchment_settings::{
    http::{Endpoints, HttpServer},
    supervise::Supervisor,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    budget::{Budget, BudgetFile},
    clock::{Clock, SystemClock},
    config::Config,
    folder::{
        FolderWatch,
        shards::{self, SHARDS},
    },
    lineage::{self, Lineage, begin_run},
    listener,
    metrics::Metrics,
    session::protocol::{ALPN_FRAMES, ALPN_MQTT},
    shard::{RecoveryReport, Setup, Shard, ShardFacts, ShardLimits, ShardLog},
    uplink::{self, UplinkConfig},
    worker::{ShardLink, Worker},
};

mod end;
mod failure;
mod observe;
mod serve;

use end::end;
pub use failure::{RunError, StartError};
use observe::observe;
use serve::{serve, watch_over};

/// Kind of the data folder.
pub(crate) const KIND: &str = "gateway";
/// Most shards of a new data folder, unless `shards` asks for more: each costs threads and files.
const SHARDS_DEFAULT_MAX: usize = 8;

/// A gateway that is bound and recovered, but does not accept yet.
pub struct Gateway {
    config: Config,
    id: GatewayId,
    tls: ServerTls,
    client: ClientTls,
    data: DataDir,
    listener: TcpListener,
    http: Option<HttpServer>,
    shards: Vec<Shard>,
    lineage: Lineage,
    budget: BudgetFile,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// An actix system over a multi-thread runtime: accepting and the uplink share it, workers have their own.
///
/// # Panics
/// If the system provides no threads.
pub fn system() -> SystemRunner {
    System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("gateway")
            .enable_all()
            .build()
            .expect("a runtime needs threads and a poller, without which nothing can run")
    })
}

/// Checks identity and data folder without binding, locking or changing anything. A gateway may be using them.
///
/// # Errors
/// The error that a start would report.
pub fn check(config: &Config) -> Result<(), StartError> {
    let (_, tls, _) = identity(config)?;
    if let Some(facts) = check_folder(&config.data, KIND, Some(&tls.peer().uri()))? {
        shards::check(&facts)?;
        lineage::check(&config.data, facts.epoch())?;
    }
    Ok(())
}

/// The identity, checked to be valid now, and its TLS configurations as a server and as a client.
fn identity(config: &Config) -> Result<(GatewayId, ServerTls, ClientTls), StartError> {
    let folder = IdentityFolder::load_in_force(&config.identity)?;
    let Identity::Gateway(id) = folder.peer().identity.clone() else {
        let found = folder.peer().identity.to_string();
        return Err(StartError::Role { folder: config.identity.clone(), found });
    };
    let alpn: Vec<&[u8]> = [ALPN_FRAMES].into_iter().chain(ALPN_MQTT).collect();
    Ok((id, ServerTls::accepting_any_protocol(&folder, &alpn)?, ClientTls::new(&folder, &[b"h2"])?))
}

/// Opens the identity and the data folder, recovers the shards, binds the addresses.
///
/// # Errors
/// See [`StartError`].
pub async fn bind(config: Config) -> Result<Gateway, StartError> {
    bind_with(config, Arc::new(SystemClock::new())).await
}

/// Like [`bind`], with the caller's clock.
///
/// # Errors
/// See [`StartError`].
pub async fn bind_with(config: Config, clock: Arc<dyn Clock>) -> Result<Gateway, StartError> {
    let (id, tls, client) = identity(&config)?;
    let metrics = Metrics::new();
    metrics.show_bounds(&config);
    config.warn_of_expiry();
    let wanted = config.shards.unwrap_or_else(default_shards);
    let now_ms = u64::try_from(clock.wall().as_millis()).unwrap_or(0);
    let owner = tls.peer().uri();
    let mut data = DataDir::open_owned(&config.data, KIND, now_ms, &owner, &[(SHARDS, &wanted.to_string())])?;
    let past = shards::past(&data);
    let mut shard_facts = shards::prepare(&mut data)?;
    if config.shards.is_some_and(|wanted| wanted as usize != shard_facts.len()) {
        tracing::warn!(
            shards = shard_facts.len(),
            "`shards` is ignored: the data folder keeps the number of shards that it was created with"
        );
    }
    let created_ms = i64::try_from(data.created_ms()).unwrap_or(i64::MAX);
    let identity = (data.epoch(), created_ms);
    let mut lineage = Lineage::open(Arc::new(RealDisk), &config.data, identity, past)?;
    shard_facts.iter_mut().for_each(|facts| facts.open_max = lineage.open_max());
    metrics.damage.inc_by(lineage.lost());
    let budget = BudgetFile::open(&config.data);
    budget.budget().bound_devices(config.devices_max as u64);
    metrics
        .series_max
        .set(budget.budget().series_max().map_or(0, |max| i64::try_from(max).unwrap_or(i64::MAX)));
    let mut opened = open_shards(&config, &shard_facts, &clock, &metrics, budget.budget())?;
    shards::opened(&mut data)?;
    begin_run(&mut lineage, &mut opened, clock.wall().as_millis(), ShardLimits::of(&config, 1).open_max)?;
    let bind_error = |addr| move |error| StartError::Bind { addr, error };
    let listener = TcpListener::bind(config.listen).await.map_err(bind_error(config.listen))?;
    let http = match config.http {
        Some(addr) => {
            Some(HttpServer::bind(addr).await.map_err(bind_error(addr))?.within(config.http_bounds))
        }
        None => None,
    };
    Ok(Gateway {
        config,
        id,
        tls,
        client,
        data,
        listener,
        http,
        shards: opened,
        lineage,
        budget,
        clock,
        metrics,
    })
}

fn default_shards() -> u32 {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors.min(SHARDS_DEFAULT_MAX)).unwrap_or(1)
}

/// Recovers all shards in parallel: a start takes as long as its slowest shard.
fn open_shards(
    config: &Config,
    shard_facts: &[ShardFacts],
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    budget: &Arc<Budget>,
) -> Result<Vec<Shard>, StartError> {
    let started = Instant::now();
    let results = thread::scope(|scope| {
        let shards = u32::try_from(shard_facts.len()).unwrap_or(u32::MAX);
        let open = |(index, facts): (u32, ShardFacts)| {
            let folder = shards::shard_folder(&config.data, index);
            let (clock, metrics, budget) = (Arc::clone(clock), Arc::clone(metrics), Arc::clone(budget));
            let limits = ShardLimits::of(config, shards);
            let window = config.window;
            scope.spawn(move || {
                let setup = Setup { folder: &folder, index, facts, window, limits, clock, metrics, budget };
                Shard::open(&setup)
            })
        };
        let threads: Vec<_> = (0..).zip(shard_facts.iter().copied()).map(open).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut opened = Vec::with_capacity(results.len());
    for (index, result) in results.into_iter().enumerate() {
        let (shard, recovered) =
            result.map_err(|_| StartError::Thread(format!("recovery of shard {index} panicked")))??;
        report(index, &recovered, metrics);
        opened.push(shard);
    }
    tracing::info!(shards = shard_facts.len(), took = ?started.elapsed(), "state recovered");
    Ok(opened)
}

fn report(shard: usize, recovered: &RecoveryReport, metrics: &Metrics) {
    if recovered.entries > 0 {
        let RecoveryReport { entries, batches, torn_bytes, unfit, .. } = recovered;
        tracing::info!(shard, entries, batches, torn_bytes, unfit, "journal replayed");
    }
    metrics.damage.inc_by((recovered.damage.len() + recovered.checkpoints_damaged.len()) as u64);
    metrics.messages_lost.inc_by(recovered.messages_lost());
    for (_, count) in &recovered.readings_lost {
        metrics.readings_lost.inc_by(*count);
    }
    for batches in &recovered.batches_lost {
        metrics.batches_lost.inc_by(batches.last.saturating_sub(batches.first).saturating_add(1));
    }
    for line in recovered.lines() {
        tracing::error!(shard, "{line}");
    }
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
        let Self { config, id, tls, client, data, listener, http, shards, lineage, budget, clock, metrics } =
            self;
        let (stop, stopping) = watch::channel(false);
        let supervisor = Arc::new(Supervisor::default());
        let logs: Vec<ShardLog> =
            shards.iter().flat_map(|shard| [shard.journal().clone(), shard.outbox().clone()]).collect();
        let checkpoints = shards.iter().map(Shard::checkpoints).collect();
        let lineage = Arc::new(Mutex::new(lineage));
        let folder = Arc::new(FolderWatch::new(
            data,
            logs.clone(),
            checkpoints,
            Arc::clone(&lineage),
            Arc::clone(&metrics),
        ));
        let watch = folder.watch().map_err(|error| RunError::Failed(error.to_string().into()))?;
        let shared = (&clock, &metrics, &supervisor);
        let (workers, links) = start_workers(shards, &config, shared, &stopping);
        let outboxes: Vec<ShardLink> = links.clone();
        let uplink = UplinkConfig {
            aggregators: config.aggregators.clone(),
            tls: client,
            lineage,
            clock: Arc::clone(&clock),
            in_flight: config.uplink_in_flight,
            ack_timeout: config.uplink_ack_timeout,
            budget: Arc::clone(budget.budget()),
        };
        let uplink = uplink::run(uplink, links, Arc::clone(&metrics));
        let uplink = tokio::spawn(supervisor.task("uplink", |_| (), uplink));
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
        let accepting = accept_loop(listener, tls, accept, events, ended(stopping), move |accepted| {
            let (arrivals, metrics, id) = (Arc::clone(&arrivals), Arc::clone(&counted), id.clone());
            async move { listener::route(accepted, &id, &arrivals, &metrics).await }
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
        [uplink, keeping].iter().for_each(JoinHandle::abort);
        let closed = folder.close(watch).await;
        http.iter().for_each(JoinHandle::abort);
        result.and(closed)
    }
}

/// Starts a worker for each shard.
fn start_workers(
    shards: Vec<Shard>,
    config: &Config,
    (clock, metrics, supervisor): (&Arc<dyn Clock>, &Arc<Metrics>, &Arc<Supervisor>),
    stopping: &watch::Receiver<bool>,
) -> (Vec<Worker>, Vec<ShardLink>) {
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let start = |(shard, index)| {
        let (clock, metrics, supervisor) = (Arc::clone(clock), Arc::clone(metrics), Arc::clone(supervisor));
        Worker::start(shard, (index, count), config, clock, metrics, supervisor, stopping.clone())
    };
    shards.into_iter().zip(0..).map(start).unzip()
}

/// Completes when the gateway stops.
async fn ended(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn endpoints(
    metrics: &Arc<Metrics>,
    logs: &[ShardLog],
    supervisor: &Arc<Supervisor>,
    stopping: watch::Receiver<bool>,
) -> Endpoints {
    let (metrics, supervisor) = (Arc::clone(metrics), Arc::clone(supervisor));
    let logs: Arc<[ShardLog]> = logs.into();
    let check = move || {
        let failed = || logs.iter().find_map(ShardLog::poisoned);
        supervisor.failure().or_else(failed).map_or(Ok(()), |why| Err(why.to_string()))
    };
    let healthy: Arc<dyn Fn() -> Result<(), String> + Send + Sync> = Arc::new(check);
    let (failed, conditions) = (Arc::clone(&healthy), Arc::clone(&metrics.conditions));
    // Names the condition that ends the gateway, not only the failure that follows from it.
    let ready = move || {
        let stopping = if *stopping.borrow() { Err("stopping".to_owned()) } else { Ok(()) };
        let why: Vec<String> =
            [conditions.ready(), failed(), stopping].into_iter().filter_map(Result::err).collect();
        if why.is_empty() { Ok(()) } else { Err(why.join("; ")) }
    };
    let counted = Arc::clone(&metrics);
    let closed = Arc::new(move |reason| counted.close_http(reason));
    Endpoints { metrics: Arc::new(move || metrics.text()), healthy, ready: Arc::new(ready), closed }
}

#[cfg(test)]
mod tests;
