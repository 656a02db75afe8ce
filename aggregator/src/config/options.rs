//! The aggregator's settings as given: flags, variables, file.

use std::{net::SocketAddr, path::PathBuf};

use catchment_settings::{ByteSize, HumanDuration, logging::LogFormat};
use serde::{Deserialize, Serialize};

/// Settings as given; each may be missing.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Identity folder of role aggregator: cert.pem, key.pem, ca.pem and, optionally, crl.pem
    #[arg(long, value_name = "DIR", env = "CATCHMENT_AGGREGATOR_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Address for gateways and operators, for example 0.0.0.0:7700; port 0 picks a free port
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_AGGREGATOR_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Folder of the embedded store; created if missing
    #[arg(long, value_name = "DIR", env = "CATCHMENT_AGGREGATOR_DATA")]
    pub data: Option<PathBuf>,
    /// Database instead of the embedded store, postgres://… (not available in this version)
    #[arg(long, value_name = "URL", env = "CATCHMENT_AGGREGATOR_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// Address for /metrics, /healthz and /readyz over plain HTTP; off unless given
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_AGGREGATOR_HTTP")]
    pub http: Option<SocketAddr>,
    /// Most connections at once [default: 4096]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,
    /// Most connections at once with the same certificate identity [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_PER_PEER_MAX")]
    pub connections_per_peer_max: Option<usize>,
    /// Most connections at once from one address, or one IPv6 /64 [default: 3072, or connections_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_PER_ADDRESS_MAX")]
    pub connections_per_address_max: Option<usize>,
    /// Most TLS handshakes at once, besides open connections; beyond that the slowest is dropped [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HANDSHAKES_MAX")]
    pub handshakes_max: Option<usize>,
    /// Longest TLS handshake [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_HANDSHAKE_TIMEOUT")]
    pub handshake_timeout: Option<HumanDuration>,
    /// Longest time from the handshake to the first request [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_FIRST_REQUEST_TIMEOUT")]
    pub first_request_timeout: Option<HumanDuration>,
    /// Longest time without a request in progress; then the connection is closed [default: 1h]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_IDLE_TIMEOUT")]
    pub idle_timeout: Option<HumanDuration>,
    /// Most plain HTTP connections at once; beyond that the longest idle one is closed [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HTTP_CONNECTIONS_MAX")]
    pub http_connections_max: Option<usize>,
    /// Longest time to receive a plain HTTP request, and to have its answer read [default: 5s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_HTTP_TIMEOUT")]
    pub http_timeout: Option<HumanDuration>,
    /// Ping interval; a connection that does not answer for twice this long is closed [default: 20s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_KEEPALIVE")]
    pub keepalive: Option<HumanDuration>,
    /// Longest graceful shutdown [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_STOP_TIMEOUT")]
    pub stop_timeout: Option<HumanDuration>,
    /// Most batches of one gateway that wait for the disk at once [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_INGEST_IN_FLIGHT")]
    pub ingest_in_flight: Option<usize>,
    /// Memory of everything that waits in ingest, at least 128MiB; when full, gateways wait [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_INGEST_BYTES_MAX")]
    pub ingest_bytes_max: Option<ByteSize>,
    /// Share of one gateway, at least 32MiB; beyond it that gateway waits [default: a quarter of ingest_bytes_max]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_INGEST_BYTES_PER_GATEWAY_MAX")]
    pub ingest_bytes_per_gateway_max: Option<ByteSize>,
    /// How far ahead of this clock a gateway's watermarks and folder creation times are believed [default: 10m]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_CLOCK_TOLERANCE")]
    pub clock_tolerance: Option<HumanDuration>,
    /// Most queries at once, one operator alone at most half; further ones wait [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_MAX")]
    pub queries_max: Option<usize>,
    /// Most queries of one operator at once; further ones wait [default: 16]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_PER_OPERATOR_MAX")]
    pub queries_per_operator_max: Option<usize>,
    /// Most waiting queries, one operator at most half; further ones are refused [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_WAITING_MAX")]
    pub queries_waiting_max: Option<usize>,
    /// Most waiting queries of one operator; further ones are refused [default: 256]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_WAITING_PER_OPERATOR_MAX")]
    pub queries_waiting_per_operator_max: Option<usize>,
    /// Threads shared by all queries [default: half of the processors]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERY_THREADS")]
    pub query_threads: Option<usize>,
    /// Memory of all queries, one operator alone at most half; beyond it queries are refused [default: 512MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_QUERY_MEMORY")]
    pub query_memory: Option<ByteSize>,
    /// Longest query, including waiting and a slow reader [default: 1m]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_QUERY_TIMEOUT")]
    pub query_timeout: Option<HumanDuration>,
    /// Longest pause in reading an answer; then the query ends [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_QUERY_READ_TIMEOUT")]
    pub query_read_timeout: Option<HumanDuration>,
    /// Most points of one answer, over all its series [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERY_POINTS_MAX")]
    pub query_points_max: Option<u64>,
    /// Memory for windows that are not flushed yet; when full, gateways wait [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_MEMORY")]
    pub store_memory: Option<ByteSize>,
    /// Memory for the live state of open windows; beyond it live state is dropped and counted [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_LIVE_MEMORY")]
    pub store_live_memory: Option<ByteSize>,
    /// Memory for the cache of flushed windows [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_CACHE")]
    pub store_cache: Option<ByteSize>,
    /// Most series; gateways refuse readings of further ones before acknowledging them [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_STORE_SERIES_MAX")]
    pub store_series_max: Option<usize>,
    /// Most series of the gateways of one site together [default: half of store_series_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_SERIES_PER_SITE_MAX")]
    pub series_per_site_max: Option<usize>,
    /// Most series of one gateway [default: a quarter of store_series_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_SERIES_PER_GATEWAY_MAX")]
    pub series_per_gateway_max: Option<usize>,
    /// Most epochs (gateway data folders that ever delivered); batches of others wait at the gateway [default: 65536]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_MAX")]
    pub epochs_max: Option<usize>,
    /// Most epochs of the gateways of one site together [default: half of epochs_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_PER_SITE_MAX")]
    pub epochs_per_site_max: Option<usize>,
    /// Most epochs of one gateway [default: 512, or epochs_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_PER_GATEWAY_MAX")]
    pub epochs_per_gateway_max: Option<usize>,
    /// Longest time between flushes [default: 5m]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_STORE_PACK_EVERY")]
    pub store_pack_every: Option<HumanDuration>,
    /// Journal growth that triggers a flush; a start replays about this much [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_PACK_JOURNAL")]
    pub store_pack_journal: Option<ByteSize>,
    /// Disk space of the journal; when full, gateways are refused until a flush frees some [default: 1GiB]
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
    /// Log filter in tracing's syntax, for example info or warn,catchment_aggregator=debug
    #[arg(long, value_name = "FILTER", env = "CATCHMENT_LOG")]
    pub log: Option<String>,
    /// Log format [default: text]
    #[arg(long, value_enum, env = "CATCHMENT_AGGREGATOR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}
