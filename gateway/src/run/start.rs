//! From a configuration to a gateway that is bound and recovered, and accepts nothing yet.

use std::{sync::Arc, thread, time::Instant};

use actix_rt::{System, SystemRunner};
use catchment_certs::{
    ClientTls, Identity, ServerTls, SessionRegistry, Trust, kept_revocations::KeptRevocations,
};
use catchment_journal::{DataDir, Disk as _, RealDisk, check_folder};
use catchment_proto::GatewayId;
use catchment_settings::{http::HttpServer, wait_for_space};
use tokio::net::TcpListener;

use super::{failure::StartError, gateway::Gateway};
use crate::{
    budget::{Budget, BudgetFile},
    clock::{Clock, SystemClock},
    config::Config,
    folder::shards::{self, SHARDS},
    lineage::{self, FolderPast, Lineage, begin_run},
    metrics::Metrics,
    session::protocol::{ALPN_FRAMES, ALPN_MQTT},
    shard::{RecoveryReport, Setup, Shard, ShardFacts, ShardLimits},
    uplink::KnownPeer,
};

/// Kind of the data folder.
pub(crate) const KIND: &str = "gateway";
/// Most shards of a new data folder, unless `shards` asks for more: each costs threads and files.
const SHARDS_DEFAULT_MAX: usize = 8;

/// A start needs so many free bytes for the small files that it writes. Far less than what the journal keeps free
/// (`LogConfig::disk_free_min`): a gateway that filled its disk starts, delivers, and so makes room.
const START_FREE_MIN: u64 = 64 << 10;

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
    let Opened { trust, .. } = identity(config)?;
    if let Some(facts) = check_folder(&config.data, KIND, Some(&trust.peer().uri()))? {
        shards::check(&facts)?;
        lineage::check(&config.data, facts.epoch())?;
    }
    Ok(())
}

/// The identity, checked to be valid now, and its TLS configurations as a server and as a client.
struct Opened {
    id: GatewayId,
    trust: Trust,
    tls: ServerTls,
    client: ClientTls,
}

fn identity(config: &Config) -> Result<Opened, StartError> {
    let trust = Trust::load(&config.identity, config.trust)?;
    let Identity::Gateway(id) = trust.peer().identity.clone() else {
        let found = trust.peer().identity.to_string();
        return Err(StartError::Role { folder: config.identity.clone(), found });
    };
    let alpn: Vec<&[u8]> = [ALPN_FRAMES].into_iter().chain(ALPN_MQTT).collect();
    let (tls, client) = (trust.server_of_any_protocol(&alpn)?, trust.client(&[b"h2"])?);
    Ok(Opened { id, trust, tls, client })
}

/// Opens the identity and the data folder, recovers the shards, binds the addresses. On a full file system it first
/// waits for space until the future is dropped.
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
    let Opened { id, trust, tls, client } = identity(&config)?;
    let metrics = Metrics::new();
    metrics.show_bounds(&config);
    metrics.trust.show(&trust);
    config.warn_of_expiry();
    let wanted = config.shards.unwrap_or_else(default_shards);
    wait_for_space(&config.data, START_FREE_MIN, |folder| RealDisk.free_bytes(folder)).await;
    let now_ms = u64::try_from(clock.wall().as_millis()).unwrap_or(0);
    let owner = tls.peer().uri();
    let mut data = DataDir::open_owned(&config.data, KIND, now_ms, &owner, &[(SHARDS, &wanted.to_string())])?;
    let past = shards::past(&data);
    let mut shard_facts = shards::prepare(&mut data)?;
    let revocations = KeptRevocations::open(&config.data, &trust, Arc::clone(&metrics) as _)
        .map_err(StartError::Revocations)?;
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
    let peer = Arc::new(KnownPeer::open(&config.data, past == FolderPast::New));
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
    let sessions = SessionRegistry::new(&trust, config.connection_age_max);
    metrics.watch_sessions(sessions.clone());
    Ok(Gateway {
        id,
        sessions,
        trust,
        config,
        tls,
        client,
        data,
        listener,
        http,
        shards: opened,
        lineage,
        budget,
        peer,
        revocations: Arc::new(revocations),
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
            let (window, metric_parts) = (config.window, Arc::clone(&config.metric_parts));
            scope.spawn(move || {
                let folder = &*folder;
                Shard::open(&Setup {
                    folder,
                    index,
                    facts,
                    window,
                    metric_parts,
                    limits,
                    clock,
                    metrics,
                    budget,
                })
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
