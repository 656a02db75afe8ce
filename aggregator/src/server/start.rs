//! From a configuration to an aggregator that is bound and does not serve yet.

use std::{sync::Arc, time::Duration};

use catchment_certs::{
    Role, ServerTls, SessionRegistry, Trust,
    channel::{ALPN_GRPC, ALPN_HTTP1},
    kept_revocations::KeptRevocations,
};
use catchment_journal::{Disk as _, RealDisk, check_folder};
use catchment_settings::{OutageLog, http::HttpServer, wait_for_space};
use tokio::{net::TcpListener, time::Instant};

use super::{failure::StartError, run::Aggregator};
use crate::{
    certificates::KeptCertificates,
    config::Config,
    metrics::Metrics,
    store::{BackupSource, EmbeddedStore, KIND, OPEN_FREE_MIN, OpenError, OpenReport, Store},
};

/// Pause before a start that found no disk space tries again.
const SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Checks identity and data folder without binding, locking or changing anything. A running aggregator may be using
/// them.
///
/// # Errors
/// The error that a start would return.
pub fn check(config: &Config) -> Result<(), StartError> {
    let (trust, _) = identity(config)?;
    check_folder(&config.data, KIND, Some(&trust.peer().uri())).map_err(OpenError::from)?;
    Ok(())
}

/// Loads and checks the identity, and makes its TLS configuration.
pub(crate) fn identity(config: &Config) -> Result<(Trust, ServerTls), StartError> {
    let trust = Trust::load(&config.identity, config.trust)?;
    let identity = trust.peer().identity.clone();
    if identity.role() != Role::Aggregator {
        return Err(StartError::Role { dir: config.identity.clone(), found: identity.to_string() });
    }
    let tls = trust.server(&[ALPN_GRPC, ALPN_HTTP1])?;
    Ok((trust, tls))
}

/// Opens the store and binds the addresses. On a full file system it waits for space until the future is dropped.
///
/// # Errors
/// The store cannot be opened, or an address cannot be bound; only the store's folder is left behind.
pub async fn bind(mut config: Config) -> Result<Aggregator, StartError> {
    let (trust, tls) = identity(&config)?;
    config.store.owner = Some(trust.peer().uri());
    let metrics = Metrics::new();
    let store = open(&config).await?;
    let counted = Arc::clone(&store);
    metrics.watch_store(Box::new(move || counted.stats()));
    let backups = Arc::clone(&store) as Arc<dyn BackupSource>;
    let revocations = revocations(&config, &trust, &metrics).await?;
    let aggregator = bind_with(config, (trust, tls), store, metrics).await?;
    let data = aggregator.config.data.clone();
    let certificates = tokio::task::spawn_blocking(move || KeptCertificates::open(&data));
    let certificates = certificates.await.map_err(|error| StartError::Thread(error.to_string()))?;
    let (revocations, certificates) = (Some(revocations), Some(Arc::new(certificates)));
    Ok(Aggregator { backups: Some(backups), revocations, certificates, ..aggregator })
}

/// Gives the trust the revocation lists that the data folder keeps.
async fn revocations(
    config: &Config,
    trust: &Trust,
    metrics: &Arc<Metrics>,
) -> Result<Arc<KeptRevocations>, StartError> {
    let (data, trust, metrics) = (config.data.clone(), trust.clone(), Arc::clone(metrics));
    let opened = tokio::task::spawn_blocking(move || KeptRevocations::open(&data, &trust, metrics as _));
    let opened = opened.await.map_err(|error| StartError::Thread(error.to_string()))?;
    Ok(Arc::new(opened.map_err(StartError::Revocations)?))
}

/// Opens the store as soon as there is space, and logs the outcome.
async fn open(config: &Config) -> Result<Arc<EmbeddedStore>, StartError> {
    wait_for_space(&config.data, OPEN_FREE_MIN, |folder| RealDisk.free_bytes(folder)).await;
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
        let OpenReport { damage, damaged_tables, lost_batches, .. } = report;
        tracing::error!(
            damage, damaged_tables, lost_batches, lost = ?report.lost,
            "the store is damaged, see the lines before: stop the aggregator; `store verify` lists everything, \
             `store repair` keeps what can be read"
        );
    }
    Ok(store)
}

/// Binds the addresses for an open store.
pub(crate) async fn bind_with(
    config: Config,
    (trust, tls): (Trust, ServerTls),
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
    let sessions = SessionRegistry::new(&trust, config.connection_age_max);
    Ok(Aggregator {
        config,
        trust,
        sessions,
        tls,
        listener,
        addr,
        http,
        store,
        metrics,
        backups: None,
        revocations: None,
        certificates: None,
    })
}
