//! The aggregator's settings as given: flags, variables, file.

use std::{net::SocketAddr, path::PathBuf};

use catchment_settings::{ByteSize, HumanDuration, logging::LogFormat};
use serde::{Deserialize, Serialize};

use super::retention::{KeepFor, RetentionSetting};

/// Settings as given; each may be missing.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Folder with the aggregator's identity: cert.pem, key.pem, ca.pem, crl.pem; watched, a change counts at once
    #[arg(long, value_name = "DIR", env = "CATCHMENT_AGGREGATOR_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Accept nobody without a revocation list of a root that is up to date [default: true]
    #[arg(
        long,
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL",
        env = "CATCHMENT_AGGREGATOR_REQUIRE_REVOCATION_LIST"
    )]
    pub require_revocation_list: Option<bool>,
    /// Address that gateways and operators connect to, for example 0.0.0.0:7700; port 0 picks a free one
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_AGGREGATOR_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Data folder, for the embedded store; created if missing
    #[arg(long, value_name = "DIR", env = "CATCHMENT_AGGREGATOR_DATA")]
    pub data: Option<PathBuf>,
    /// Database instead of the embedded store, postgres://… (not available in this version)
    #[arg(long, value_name = "URL", env = "CATCHMENT_AGGREGATOR_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// Address for /metrics, /healthz and /readyz in plain HTTP; off unless given
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_AGGREGATOR_HTTP")]
    pub http: Option<SocketAddr>,
    /// Maximum connections [default: 4096]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,
    /// Maximum connections with the same certificate identity [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_PER_PEER_MAX")]
    pub connections_per_peer_max: Option<usize>,
    /// Maximum connections from one address, or one IPv6 /64 [default: 3072, or connections_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_PER_ADDRESS_MAX")]
    pub connections_per_address_max: Option<usize>,
    /// Maximum TLS handshakes at once, in addition to connections; beyond it, the slowest give way [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HANDSHAKES_MAX")]
    pub handshakes_max: Option<usize>,
    /// Maximum time for a TLS handshake, and for the wait before it [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_HANDSHAKE_TIMEOUT")]
    pub handshake_timeout: Option<HumanDuration>,
    /// Handshakes a second of one address, or one IPv6 /64, after a burst of 4s; beyond it, they wait [default: 5000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HANDSHAKE_RATE_PER_ADDRESS")]
    pub handshake_rate_per_address: Option<usize>,
    /// Maximum time from the handshake to the first request, and for a body of the HTTP API [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_FIRST_REQUEST_TIMEOUT")]
    pub first_request_timeout: Option<HumanDuration>,
    /// Time after which a connection without a request in progress ends [default: 1h]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_IDLE_TIMEOUT")]
    pub idle_timeout: Option<HumanDuration>,
    /// Time after which a connection ends, give or take a tenth, so that its peer is checked anew; off unless given
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_CONNECTION_AGE_MAX")]
    pub connection_age_max: Option<HumanDuration>,
    /// Maximum connections of the plain HTTP endpoint; beyond it, the one idle longest ends [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HTTP_CONNECTIONS_MAX")]
    pub http_connections_max: Option<usize>,
    /// Maximum time for a plain HTTP request to arrive, and again for its response to be read [default: 5s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_HTTP_TIMEOUT")]
    pub http_timeout: Option<HumanDuration>,
    /// Ping interval; a connection that does not answer for twice this long ends [default: 20s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_KEEPALIVE")]
    pub keepalive: Option<HumanDuration>,
    /// Maximum time for an ordered stop [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_STOP_TIMEOUT")]
    pub stop_timeout: Option<HumanDuration>,
    /// Maximum batches of one gateway that wait for the disk [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_INGEST_IN_FLIGHT")]
    pub ingest_in_flight: Option<usize>,
    /// Maximum memory of everything that waits in ingest, at least 128MiB; when full, gateways wait [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_INGEST_BYTES_MAX")]
    pub ingest_bytes_max: Option<ByteSize>,
    /// Maximum ingest memory of a gateway, at least 32MiB; beyond it, it waits [default: a quarter of ingest_bytes_max]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_INGEST_BYTES_PER_GATEWAY_MAX")]
    pub ingest_bytes_per_gateway_max: Option<ByteSize>,
    /// How far ahead of this clock a gateway's watermarks and folder creation times are believed [default: 10m]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_CLOCK_TOLERANCE")]
    pub clock_tolerance: Option<HumanDuration>,
    /// Maximum queries at once, one operator alone at most half; further ones wait [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_MAX")]
    pub queries_max: Option<usize>,
    /// Maximum queries of one operator at once; further ones wait [default: 16]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_PER_OPERATOR_MAX")]
    pub queries_per_operator_max: Option<usize>,
    /// Maximum waiting queries, one operator at most half; more are refused [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_WAITING_MAX")]
    pub queries_waiting_max: Option<usize>,
    /// Maximum waiting queries of one operator; further ones are refused [default: 256]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_WAITING_PER_OPERATOR_MAX")]
    pub queries_waiting_per_operator_max: Option<usize>,
    /// Threads shared by all queries; one processor is left to arriving batches [default: processors]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERY_THREADS")]
    pub query_threads: Option<usize>,
    /// Maximum memory of all queries, one operator alone at most half; beyond it, they are refused [default: 512MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_QUERY_MEMORY")]
    pub query_memory: Option<ByteSize>,
    /// Maximum time for a query, including waiting and a slow reader [default: 1m]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_QUERY_TIMEOUT")]
    pub query_timeout: Option<HumanDuration>,
    /// Maximum pause in reading a result; then the query ends [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_QUERY_READ_TIMEOUT")]
    pub query_read_timeout: Option<HumanDuration>,
    /// Maximum points of one result, over all its series [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERY_POINTS_MAX")]
    pub query_points_max: Option<u64>,
    /// Maximum watches at once, one operator at most half; more are refused [default: 4096]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_WATCHES_MAX")]
    pub watches_max: Option<usize>,
    /// Maximum watches of one operator at once; more are refused [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_WATCHES_PER_OPERATOR_MAX")]
    pub watches_per_operator_max: Option<usize>,
    /// Maximum series of one watch; a watch that selects more ends [default: 100000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_WATCH_SERIES_MAX")]
    pub watch_series_max: Option<usize>,
    /// Maximum memory of all watches, one operator at most half; beyond, they wait or end [default: 128MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_WATCH_MEMORY")]
    pub watch_memory: Option<ByteSize>,
    /// Memory of the latest changes: a watch continues where it was cut as long as they hold what came since [default: 32MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_WATCH_CHANGES")]
    pub watch_changes: Option<ByteSize>,
    /// Maximum memory for windows not flushed yet; when full, gateways wait [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_MEMORY")]
    pub store_memory: Option<ByteSize>,
    /// Maximum memory for the state of open windows, a quarter for one gateway; beyond, it is dropped and counted [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_LIVE_MEMORY")]
    pub store_live_memory: Option<ByteSize>,
    /// Maximum memory for the cache of flushed windows [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_CACHE")]
    pub store_cache: Option<ByteSize>,
    /// Maximum series; gateways refuse readings of further ones before acknowledging them [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_STORE_SERIES_MAX")]
    pub store_series_max: Option<usize>,
    /// Maximum series of all gateways of one site [default: half of store_series_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_SERIES_PER_SITE_MAX")]
    pub series_per_site_max: Option<usize>,
    /// Maximum series of one gateway [default: a quarter of store_series_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_SERIES_PER_GATEWAY_MAX")]
    pub series_per_gateway_max: Option<usize>,
    /// Maximum epochs (gateway folders that ever delivered); batches of others wait at the gateway [default: 65536]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_MAX")]
    pub epochs_max: Option<usize>,
    /// Maximum epochs of all gateways of one site [default: half of epochs_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_PER_SITE_MAX")]
    pub epochs_per_site_max: Option<usize>,
    /// Maximum epochs of one gateway [default: 512, or epochs_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_PER_GATEWAY_MAX")]
    pub epochs_per_gateway_max: Option<usize>,
    /// Maximum time between flushes [default: 5m]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_STORE_PACK_EVERY")]
    pub store_pack_every: Option<HumanDuration>,
    /// Journal growth that triggers a flush; a start replays it [default: 64MiB, or half of store_journal if less]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_PACK_JOURNAL")]
    pub store_pack_journal: Option<ByteSize>,
    /// Maximum bytes of the journal, at least 17MiB; when full, gateways wait until a flush frees some [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_JOURNAL")]
    pub store_journal: Option<ByteSize>,
    /// Set flushed windows aside if they cannot be opened, and start with the journal's content [default: false]
    #[arg(
        long,
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL",
        env = "CATCHMENT_AGGREGATOR_STORE_SET_PACKS_ASIDE"
    )]
    pub store_set_packs_aside: Option<bool>,
    /// How long windows are kept, from 1h, or forever, as the next three too [default: 30d]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_RETENTION_WINDOWS")]
    pub retention_windows: Option<KeepFor>,
    /// How long rows of a minute are kept, never shorter than windows [default: 90d]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_RETENTION_MINUTE")]
    pub retention_minute: Option<KeepFor>,
    /// How long rows of an hour are kept, never shorter than those of a minute [default: 2y]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_RETENTION_HOUR")]
    pub retention_hour: Option<KeepFor>,
    /// How long rows of a day are kept, never shorter than those of an hour [default: forever]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_RETENTION_DAY")]
    pub retention_day: Option<KeepFor>,
    /// Interval at which outdated rows are removed; the first time after at most 10 minutes [default: 1h]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_AGGREGATOR_RETENTION_EVERY")]
    pub retention_every: Option<HumanDuration>,
    /// Maximum bytes per second of a backup; 0: no bound [default: 32MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_BACKUP_BYTES_PER_SECOND")]
    pub backup_bytes_per_second: Option<ByteSize>,
    /// Log filter, in the syntax of `tracing`, for example warn,catchment_aggregator=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "CATCHMENT_LOG")]
    pub log: Option<String>,
    /// Log format [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, env = "CATCHMENT_AGGREGATOR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// How long partials of some series are kept. Only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Vec<RetentionSetting>>,
}
