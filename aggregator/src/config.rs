//! Configuration of the aggregator: [`Options`] as given by flags, environment and file, and [`Config`], validated
//! and complete.
//!
//! Every flag has a key of the same name in the file and a variable `CATCHMENT_AGGREGATOR_…`. Flags override
//! variables, variables override the file, the file overrides the defaults below. Nothing is bound or opened here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use catchment_certs::{AcceptConfig, TrustConfig};
use catchment_journal::LogConfig;
use catchment_settings::{ByteSize, HumanDuration, http::Bounds};

use crate::{
    ingest::{BYTES_LEAST, SHARE_LEAST},
    store::{RetentionRule, StoreConfig},
};

mod connections;
mod options;
mod retention;
mod watch;

pub use self::{
    options::Options,
    retention::{KeepFor, KeepForError, RetentionSetting},
    watch::WatchLimits,
};

/// A complete configuration, each value within its range.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the aggregator's identity.
    pub identity: PathBuf,
    /// What is asked of trust.
    pub trust: TrustConfig,
    /// Address for gateways and operators.
    pub listen: SocketAddr,
    /// Folder of the embedded store.
    pub data: PathBuf,
    /// Address of the plain HTTP endpoint.
    pub http: Option<SocketAddr>,
    /// Bounds of the plain HTTP endpoint.
    pub http_bounds: Bounds,
    /// Bounds of connections and handshakes.
    pub accept: AcceptConfig,
    /// Most connections of one identity, at least 1.
    pub connections_per_peer_max: usize,
    /// Longest time from the handshake to the first request.
    pub first_request_timeout: Duration,
    /// Longest time without a request in progress.
    pub idle_timeout: Duration,
    /// Age at which a connection ends, give or take a tenth, 100 ms to a year; `None`: connections may grow old.
    pub connection_age_max: Option<Duration>,
    /// Interval of HTTP/2 pings, and how long an answer may take.
    pub keepalive: Duration,
    /// Longest graceful shutdown.
    pub stop_timeout: Duration,
    /// Most batches in flight on one ingest stream, 1 to 1,024.
    pub ingest_in_flight: usize,
    /// Memory of everything that waits in ingest, bytes, at least 128 MiB.
    pub ingest_bytes_max: usize,
    /// Share of one gateway, bytes, from 32 MiB to the whole.
    pub ingest_bytes_per_gateway_max: usize,
    /// How far ahead of this clock a gateway is believed, 1 ms to a day. Default 10 minutes, like a gateway's
    /// `future_max`.
    pub clock_tolerance: Duration,
    /// Bounds of queries.
    pub query: QueryLimits,
    /// Bounds of watches.
    pub watch: WatchLimits,
    /// Bounds of the embedded store.
    pub store: StoreConfig,
    /// How long partials are kept: the first rule whose selector matches a series counts, and the last one matches all.
    pub retention: Vec<RetentionRule>,
    /// Interval at which outdated partials are removed, 100 ms to a day.
    pub retention_every: Duration,
    /// Most bytes that backups read a second; 0: any number. Default 32 MiB.
    pub backup_bytes_per_second: u64,
}

/// Bounds of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most queries at once, 1 to 1,024. One operator never has more running than are still free.
    pub queries_max: usize,
    /// Most queries of one operator at once, 1 to 1,024.
    pub per_operator_max: usize,
    /// Most queries that wait, 1 to 1,000,000. One operator never has more waiting than are still free.
    pub waiting_max: usize,
    /// Most queries of one operator that wait, 1 to 1,000,000.
    pub waiting_per_operator_max: usize,
    /// Threads on which queries take turns, 1 to 256.
    pub threads: usize,
    /// Memory of all queries, bytes, at least 1 MiB. One operator never has more than is still free.
    pub memory_max: usize,
    /// Longest query.
    pub timeout: Duration,
    /// Longest time in which the client reads nothing of an answer.
    pub read_timeout: Duration,
    /// Most points of one answer, at least 1.
    pub points_max: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            // They take turns: more at once cost memory, not processors.
            queries_max: 64,
            per_operator_max: 16,
            waiting_max: 1_024,
            waiting_per_operator_max: 256,
            // While batches arrive, one of them rests.
            threads: processors.clamp(1, 256),
            // A list of a million series takes 160 MB, and one operator has at most half.
            memory_max: 512 << 20,
            timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(10),
            // Some 20 MB on the wire: more is a bulk export, not a query.
            points_max: 1_000_000,
        }
    }
}

/// Highest limit of points per answer: some 20 GB.
const POINTS_MAX: u64 = 1_000_000_000;

/// Why the settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting without default is missing.
    #[error("{key} is missing: give --{key} {example}, or the key in the configuration file")]
    Missing {
        /// Name of flag and key.
        key: &'static str,
        /// Example of a value.
        example: &'static str,
    },
    /// A value is out of its range.
    #[error("{key} is {value}, it must be {range}")]
    Range {
        /// Name of the key.
        key: &'static str,
        /// The value given.
        value: String,
        /// The allowed range.
        range: String,
    },
    /// A table `[[retention]]` is invalid.
    #[error("[[retention]] table {number}{}: {reason}", .selector.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Retention {
        /// Its number in the file, from 1.
        number: usize,
        /// Its selector, if it has one.
        selector: Option<String>,
        /// What is wrong, with the key.
        reason: String,
    },
    /// Two settings exclude each other.
    #[error("data and store exclude each other: give the embedded store's folder, or a database")]
    TwoStores,
    /// A database was requested.
    #[error(
        "store {0:?} is not available in this version: use the embedded store with --data DIR (postgres:// is planned)"
    )]
    Database(String),
}

impl ConfigError {
    /// The key that is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Missing { key, .. } | Self::Range { key, .. } => key,
            Self::Retention { .. } => "retention",
            Self::TwoStores | Self::Database(_) => "store",
        }
    }
}

fn number(key: &'static str, given: Option<usize>, default: usize, max: usize) -> Result<usize, ConfigError> {
    let value = given.unwrap_or(default);
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::Range { key, value: value.to_string(), range: format!("from 1 to {max}") })
}

/// A limit of series or epochs within the whole; a larger one has no effect.
fn part(key: &'static str, given: Option<usize>) -> Result<Option<usize>, ConfigError> {
    given.map(|given| number(key, Some(given), given, 100_000_000)).transpose()
}

/// A size of at least this many MiB.
fn size(key: &'static str, given: Option<ByteSize>, default: u64, mib_min: u64) -> Result<u64, ConfigError> {
    let value = given.map_or(default, |size| size.0);
    if value >= mib_min << 20 && value <= 1 << 44 {
        return Ok(value);
    }
    let range = format!("from {mib_min}MiB to 16TiB");
    Err(ConfigError::Range { key, value: ByteSize(value).to_string(), range })
}

fn store(options: &Options) -> Result<StoreConfig, ConfigError> {
    let default = StoreConfig::default();
    let memory = |key, given, default: usize| {
        size(key, given, default as u64, 1).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    };
    let mut store = StoreConfig {
        memory_bytes_max: memory("store_memory", options.store_memory, default.memory_bytes_max)?,
        live_bytes_max: memory("store_live_memory", options.store_live_memory, default.live_bytes_max)?,
        cache_bytes: size("store_cache", options.store_cache, default.cache_bytes, 1)?,
        series_max: number("store_series_max", options.store_series_max, default.series_max, 100_000_000)?,
        epochs_max: number("epochs_max", options.epochs_max, default.epochs_max, 1_000_000)?,
        epochs_per_site_max: part("epochs_per_site_max", options.epochs_per_site_max)?,
        epochs_per_gateway_max: part("epochs_per_gateway_max", options.epochs_per_gateway_max)?,
        series_per_site_max: part("series_per_site_max", options.series_per_site_max)?,
        series_per_gateway_max: part("series_per_gateway_max", options.series_per_gateway_max)?,
        // The keys say `pack` where the code says flush and block: they are older and stay.
        flush_every: time("store_pack_every", options.store_pack_every, default.flush_every.as_secs())?,
        flush_journal_bytes: size(
            "store_pack_journal",
            options.store_pack_journal,
            default.flush_journal_bytes,
            1,
        )?,
        set_blocks_aside: options.store_set_packs_aside.unwrap_or(default.set_blocks_aside),
        ..default
    };
    // What the journal refuses when it is opened.
    let least = LogConfig::bytes_max_least(store.journal.record_bytes_max).div_ceil(1 << 20);
    store.journal.bytes_max = size("store_journal", options.store_journal, store.journal.bytes_max, least)?;
    if options.store_pack_journal.is_none() {
        // A small journal would be full, and gateways would wait, before a flush begins.
        store.flush_journal_bytes = store.flush_journal_bytes.min(store.journal.bytes_max / 2);
    }
    Ok(store)
}

fn queries(options: &Options) -> Result<QueryLimits, ConfigError> {
    let default = QueryLimits::default();
    let points_max = options.query_points_max.unwrap_or(default.points_max);
    if !(1..=POINTS_MAX).contains(&points_max) {
        let (value, range) = (points_max.to_string(), format!("from 1 to {POINTS_MAX}"));
        return Err(ConfigError::Range { key: "query_points_max", value, range });
    }
    let memory = size("query_memory", options.query_memory, default.memory_max as u64, 1)?;
    Ok(QueryLimits {
        queries_max: number("queries_max", options.queries_max, default.queries_max, 1_024)?,
        per_operator_max: number(
            "queries_per_operator_max",
            options.queries_per_operator_max,
            default.per_operator_max,
            1_024,
        )?,
        waiting_max: number(
            "queries_waiting_max",
            options.queries_waiting_max,
            default.waiting_max,
            1_000_000,
        )?,
        waiting_per_operator_max: number(
            "queries_waiting_per_operator_max",
            options.queries_waiting_per_operator_max,
            default.waiting_per_operator_max,
            1_000_000,
        )?,
        threads: number("query_threads", options.query_threads, default.threads, 256)?,
        memory_max: usize::try_from(memory).unwrap_or(usize::MAX),
        timeout: time("query_timeout", options.query_timeout, default.timeout.as_secs())?,
        read_timeout: time("query_read_timeout", options.query_read_timeout, default.read_timeout.as_secs())?,
        points_max,
    })
}

/// A duration of at least 100 ms: anything shorter would time out always, or run constantly.
fn time(key: &'static str, given: Option<HumanDuration>, default: u64) -> Result<Duration, ConfigError> {
    let value = given.unwrap_or(HumanDuration::secs(default));
    if value >= HumanDuration(Duration::from_millis(100)) && value <= HumanDuration::secs(86_400) {
        return Ok(value.0);
    }
    Err(ConfigError::Range { key, value: value.to_string(), range: "from 100ms to 1day".to_owned() })
}

/// The ingest budget and a gateway's share of it, by default a quarter.
fn ingest_bytes(options: &Options) -> Result<(usize, usize), ConfigError> {
    let bytes = |key, given, default, least: usize| {
        size(key, given, default, least as u64 >> 20)
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    };
    let max = bytes("ingest_bytes_max", options.ingest_bytes_max, 256 << 20, BYTES_LEAST)?;
    let share = options.ingest_bytes_per_gateway_max;
    let share_default = (max as u64 / 4).max(SHARE_LEAST as u64);
    let share = bytes("ingest_bytes_per_gateway_max", share, share_default, SHARE_LEAST)?;
    Ok((max, share.min(max)))
}

/// The rate of backups: a gigabyte in half a minute, which leaves a slow disk and two processors to ingest.
fn backup_rate(given: Option<ByteSize>) -> Result<u64, ConfigError> {
    match given {
        Some(ByteSize(0)) => Ok(0),
        given => size("backup_bytes_per_second", given, 32 << 20, 1),
    }
}

fn http_bounds(options: &Options) -> Result<Bounds, ConfigError> {
    let default = Bounds::default();
    Ok(Bounds {
        connections_max: number(
            "http_connections_max",
            options.http_connections_max,
            default.connections_max,
            1_024,
        )?,
        timeout: time("http_timeout", options.http_timeout, default.timeout.as_secs())?,
    })
}

/// A database URL without its secrets: user, password, parameters.
fn scheme_only(url: &str) -> String {
    url.split_once("://").map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme}://…"))
}

impl TryFrom<Options> for Config {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        let missing = |key, example| ConfigError::Missing { key, example };
        match (&options.data, &options.store) {
            (Some(_), Some(_)) => return Err(ConfigError::TwoStores),
            (None, Some(url)) => return Err(ConfigError::Database(scheme_only(url))),
            _ => {}
        }
        let (query, watch) = (queries(&options)?, watch::limits(&options)?);
        let clock_tolerance = time("clock_tolerance", options.clock_tolerance, 600)?;
        let store = StoreConfig { clock_tolerance, ..store(&options)? };
        let (ingest_bytes_max, ingest_bytes_per_gateway_max) = ingest_bytes(&options)?;
        let retention = retention::rules(&options)?;
        let (accept, http_bounds) = (connections::accept(&options)?, http_bounds(&options)?);
        Ok(Self {
            store,
            clock_tolerance,
            identity: options.identity.ok_or(missing("identity", "DIR"))?,
            trust: TrustConfig {
                require_revocation_list: options.require_revocation_list.unwrap_or(true),
                ..TrustConfig::default()
            },
            listen: options.listen.ok_or(missing("listen", "ADDR"))?,
            data: options.data.ok_or(missing("data", "DIR"))?,
            http: options.http,
            http_bounds,
            accept,
            connections_per_peer_max: number(
                "connections_per_peer_max",
                options.connections_per_peer_max,
                64,
                1_000_000,
            )?,
            first_request_timeout: time("first_request_timeout", options.first_request_timeout, 10)?,
            idle_timeout: time("idle_timeout", options.idle_timeout, 3_600)?,
            connection_age_max: connections::age_max(options.connection_age_max)?,
            keepalive: time("keepalive", options.keepalive, 20)?,
            stop_timeout: time("stop_timeout", options.stop_timeout, 10)?,
            ingest_bytes_max,
            ingest_bytes_per_gateway_max,
            backup_bytes_per_second: backup_rate(options.backup_bytes_per_second)?,
            ingest_in_flight: number("ingest_in_flight", options.ingest_in_flight, 64, 1_024)?,
            query,
            watch,
            retention,
            retention_every: time("retention_every", options.retention_every, 3_600)?,
        })
    }
}

#[cfg(test)]
mod tests;
