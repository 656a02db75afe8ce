//! Metrics of the aggregator, in the OpenMetrics text format.
//!
//! Labels are reasons and gateways only, both bounded; never devices or series. The store's own counters are read at
//! each scrape.

mod backup;
mod gateways;
mod ingest;
mod prometheus;
mod queries;
mod reasons;
mod retention;
mod revocations;
mod sessions;
mod stats;
mod watch;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use catchment_certs::{AcceptEvents, HandshakeFailure, SessionRegistry, TrustMetrics};
use catchment_settings::{Conditions, logging::lines_suppressed, supervise::panics};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use self::{
    backup::BackupMetrics, gateways::Gateways, prometheus::PrometheusMetrics, reasons::Families,
    retention::RetentionMetrics, revocations::RevocationMetrics, watch::WatchMetrics,
};
use crate::{
    conditions,
    config::QueryLimits,
    ingest::{IngestBytes, StreamRegistry},
    query::QueryCounts,
    store::{Store, StoreStats},
};

/// Reads the store's own counters.
pub(crate) type StatsSource = Box<dyn Fn() -> StoreStats + Send + Sync>;

/// Why something was refused, ended or failed; a fixed text of this program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

/// Counters and gauges of this process.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    /// Conditions that keep the aggregator from working now.
    pub(crate) conditions: Arc<Conditions>,
    pub(crate) trust: TrustMetrics,
    revocations: RevocationMetrics,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Family<Reason, Counter>,
    pub(crate) connections_ended: Family<Reason, Counter>,
    requests_refused: Family<Reason, Counter>,
    pub(crate) handshakes: Gauge,
    pub(crate) handshakes_waiting: Gauge,
    pub(crate) http_closed: Family<Reason, Counter>,
    pub(crate) connections_cut: Family<Reason, Counter>,
    pub(crate) accept_errors: Counter,
    pub(crate) batches: Counter,
    pub(crate) live_batches: Counter,
    pub(crate) partials: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) gaps: Counter,
    pub(crate) watermarks_refused: Counter,
    pub(crate) contended: Counter,
    pub(crate) ingest_ended: Family<Reason, Counter>,
    pub(crate) ingest_refused: Family<Reason, Counter>,
    ingest_dropped: Family<Reason, Counter>,
    pub(crate) live_dropped: Counter,
    pub(crate) queries: Counter,
    pub(crate) queries_refused: Family<Reason, Counter>,
    pub(crate) query_seconds: Histogram,
    pub(crate) query_points: Counter,
    pub(crate) retention: RetentionMetrics,
    pub(crate) backup: BackupMetrics,
    pub(crate) watch: WatchMetrics,
    pub(crate) prometheus: PrometheusMetrics,
    panics: Counter,
    log_lines_suppressed: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Arc<Self> {
        let Families {
            connections_refused,
            connections_ended,
            requests_refused,
            connections_cut,
            http_closed,
            ingest_ended,
            ingest_refused,
            ingest_dropped,
            queries_refused,
        } = Families::new();
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("catchment_aggregator")),
            conditions: Arc::new(Conditions::of(&conditions::KNOWN)),
            trust: TrustMetrics::default(),
            revocations: RevocationMetrics::default(),
            connections: Gauge::default(),
            connections_refused,
            connections_ended,
            requests_refused,
            handshakes: Gauge::default(),
            handshakes_waiting: Gauge::default(),
            http_closed,
            connections_cut,
            accept_errors: Counter::default(),
            batches: Counter::default(),
            live_batches: Counter::default(),
            partials: Counter::default(),
            duplicates: Counter::default(),
            gaps: Counter::default(),
            watermarks_refused: Counter::default(),
            contended: Counter::default(),
            ingest_ended,
            ingest_refused,
            ingest_dropped,
            live_dropped: Counter::default(),
            queries: Counter::default(),
            queries_refused,
            // 1 ms to about 65 s.
            query_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 9)),
            query_points: Counter::default(),
            retention: RetentionMetrics::default(),
            backup: BackupMetrics::new(),
            watch: WatchMetrics::new(),
            prometheus: PrometheusMetrics::new(),
            panics: Counter::default(),
            log_lines_suppressed: Counter::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register_collector(Box::new(stats::ConditionsCollector(Arc::clone(&self.conditions))));
        r.register_collector(Box::new(self.trust.clone()));
        r.register("connections", "Connections now", self.connections.clone());
        r.register(
            "connections_refused",
            "Connections refused before they became a peer, by reason",
            self.connections_refused.clone(),
        );
        r.register(
            "connections_ended",
            "Connections closed by the aggregator, by reason",
            self.connections_ended.clone(),
        );
        let refused = "Requests refused, by reason: wrong_role, of a certificate that may not send them";
        r.register("requests_refused", refused, self.requests_refused.clone());
        r.register("handshakes", "Handshakes in progress", self.handshakes.clone());
        let waiting = "Connections that wait for their handshake";
        r.register("handshakes_waiting", waiting, self.handshakes_waiting.clone());
        r.register(
            "http_connections_closed",
            "Connections of --http closed by the aggregator, by reason",
            self.http_closed.clone(),
        );
        r.register("connections_cut", "Connections cut, by reason", self.connections_cut.clone());
        r.register("accept_errors", "Errors of the listening socket", self.accept_errors.clone());
        r.register("ingest_batches", "Batches made durable", self.batches.clone());
        r.register("ingest_live_batches", "Batches of open windows", self.live_batches.clone());
        r.register("ingest_partials", "Partials of durable batches", self.partials.clone());
        r.register("ingest_duplicates", "Batches that were durable already", self.duplicates.clone());
        r.register("ingest_gaps", "Batch numbers that this store never saw", self.gaps.clone());
        let refused = "Watermarks refused for being too far ahead of this clock";
        r.register("ingest_watermarks_refused", refused, self.watermarks_refused.clone());
        let contended = "Gateways found to deliver from two data folders";
        r.register("ingest_contended", contended, self.contended.clone());
        r.register("ingest_streams_ended", "Delivery streams ended, by reason", self.ingest_ended.clone());
        r.register(
            "ingest_refused_batches",
            "Batches refused before any part was stored, by reason; their gateways send them again",
            self.ingest_refused.clone(),
        );
        let dropped = "Partials of batches that were taken without them, by reason";
        r.register("ingest_dropped_partials", dropped, self.ingest_dropped.clone());
        r.register("ingest_live_dropped", "Live batches dropped for want of room", self.live_dropped.clone());
        r.register("queries", "Queries started", self.queries.clone());
        let refused = "Queries without a complete answer, by reason";
        r.register("queries_refused", refused, self.queries_refused.clone());
        r.register("query_seconds", "Duration of queries", self.query_seconds.clone());
        r.register("query_points", "Points in answers", self.query_points.clone());
        self.revocations.register(r);
        self.retention.register(r);
        self.backup.register(r);
        self.watch.register(r);
        self.prometheus.register(r);
        let help = "Panics in this process, each a defect: the log says where";
        r.register("panics", help, self.panics.clone());
        r.register(
            "log_lines_suppressed",
            "Log lines suppressed because there were too many like them",
            self.log_lines_suppressed.clone(),
        );
    }

    /// Adds the gateways' metrics, read from the store at each scrape.
    pub(crate) fn watch(&self, store: &Arc<dyn Store>, streams: Arc<StreamRegistry>) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let gateways = Arc::clone(store) as Arc<_>;
        registry.register_collector(Box::new(Gateways {
            gateways,
            store: Arc::clone(store) as Arc<_>,
            streams,
        }));
    }

    /// Adds the sessions by role, read at each scrape.
    pub(crate) fn watch_sessions(&self, registry: SessionRegistry) {
        let mut metrics = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.register_collector(Box::new(sessions::SessionsCollector(registry)));
    }

    /// Adds the use of ingest memory, read at each scrape.
    pub(crate) fn watch_ingest(&self, bytes: Arc<IngestBytes>) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(ingest::IngestCollector(bytes)));
    }

    /// Adds the embedded store's own counters, read at each scrape.
    pub(crate) fn watch_store(&self, stats: StatsSource) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(stats::StoreCollector(stats)));
    }

    /// Adds the number of queries and their limits, read at each scrape.
    pub(crate) fn watch_queries(
        &self,
        limits: QueryLimits,
        counts: Box<dyn Fn() -> QueryCounts + Send + Sync>,
    ) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(queries::QueriesCollector { limits, counts }));
    }

    /// The whole registry as text.
    pub(crate) fn encode(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        self.panics.inner().store(panics(), Ordering::Relaxed);
        self.log_lines_suppressed.inner().store(lines_suppressed(), Ordering::Relaxed);
        // Writing to a String does not fail.
        let _ = text::encode(&mut text, &registry);
        text
    }

    /// Increments one counter of a family.
    pub(crate) fn count(family: &Family<Reason, Counter>, reason: &'static str) {
        let label = Reason { reason };
        debug_assert!(family.get(&label).is_some(), "{reason} is not in the list of reasons");
        family.get_or_create(&label).inc();
    }
}

impl AcceptEvents for Metrics {
    fn accept_error(&self, error: &std::io::Error) {
        self.accept_errors.inc();
        tracing::warn!(listener = "gateways and operators", %error, "cannot accept a connection");
    }

    fn handshake_failed(&self, addr: SocketAddr, reason: HandshakeFailure) {
        Self::count(&self.connections_refused, reason.reason());
        tracing::info!(%addr, %reason, "handshake failed");
    }

    fn at_capacity(&self, connections_max: usize) {
        Self::count(&self.connections_refused, "at_capacity");
        let text = format!(
            "all {connections_max} connection slots are taken: further gateways and operators wait until one \
             ends, or raise connections_max"
        );
        self.conditions.report(conditions::CONNECTIONS_FULL, Some(text));
    }

    fn has_room(&self) {
        self.conditions.report(conditions::CONNECTIONS_FULL, None);
    }

    fn handshakes(&self, count: usize) {
        self.handshakes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn handshakes_waiting(&self, count: usize) {
        self.handshakes_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
