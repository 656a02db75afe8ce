//! The settings of an aggregator as given: flags, variables, file.

use std::{net::SocketAddr, path::PathBuf};

use catchment_settings::{ByteSize, HumanDuration, logging::LogFormat};
use serde::{Deserialize, Serialize};

/// Settings as they are given; everything may be missing.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Folder with cert.pem, key.pem, ca.pem and, where there is one, crl.pem, of role aggregator
    #[arg(long, value_name = "DIR", env = "CATCHMENT_AGGREGATOR_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Address for gateways and operators, for example 0.0.0.0:7700; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_AGGREGATOR_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Folder of the embedded store; it is made when it does not exist
    #[arg(long, value_name = "DIR", env = "CATCHMENT_AGGREGATOR_DATA")]
    pub data: Option<PathBuf>,
    /// Database instead of the embedded store, postgres://… (not available in this version)
    #[arg(long, value_name = "URL", env = "CATCHMENT_AGGREGATOR_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// Address for /metrics, /healthz and /readyz in plain HTTP; off unless given
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_AGGREGATOR_HTTP")]
    pub http: Option<SocketAddr>,
    /// Most connections at once [default: 4096]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,
    /// Most connections at once under one certificate's identity [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_PER_PEER_MAX")]
    pub connections_per_peer_max: Option<usize>,
    /// Most connections from one address, or one /64 of IPv6, at once [default: 3072, or connections_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_CONNECTIONS_PER_ADDRESS_MAX")]
    pub connections_per_address_max: Option<usize>,
    /// Most TLS handshakes at once, beside the connections; beyond, the slowest give way [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HANDSHAKES_MAX")]
    pub handshakes_max: Option<usize>,
    /// Longest TLS handshake [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_HANDSHAKE_TIMEOUT")]
    pub handshake_timeout: Option<HumanDuration>,
    /// Longest time from the handshake to the first request [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_FIRST_REQUEST_TIMEOUT")]
    pub first_request_timeout: Option<HumanDuration>,
    /// A connection without a request under way for so long ends [default: 1h]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_IDLE_TIMEOUT")]
    pub idle_timeout: Option<HumanDuration>,
    /// Most connections of the plain HTTP endpoint at once; beyond, the one idle longest ends [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_HTTP_CONNECTIONS_MAX")]
    pub http_connections_max: Option<usize>,
    /// Longest time for a request of the plain HTTP endpoint to come, and for its answer to be read [default: 5s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_HTTP_TIMEOUT")]
    pub http_timeout: Option<HumanDuration>,
    /// A connection without an answer to a probe for twice this long is closed [default: 20s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_KEEPALIVE")]
    pub keepalive: Option<HumanDuration>,
    /// Longest ordered stop [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_STOP_TIMEOUT")]
    pub stop_timeout: Option<HumanDuration>,
    /// Most batches of one gateway that wait for the disk at once [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_INGEST_IN_FLIGHT")]
    pub ingest_in_flight: Option<usize>,
    /// Memory of all that waits in ingest, at least 128MiB; when it is full gateways wait for their turn [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_INGEST_BYTES_MAX")]
    pub ingest_bytes_max: Option<ByteSize>,
    /// Of that for one gateway, at least 32MiB; beyond it that gateway waits [default: a quarter of ingest_bytes_max]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_INGEST_BYTES_PER_GATEWAY_MAX")]
    pub ingest_bytes_per_gateway_max: Option<ByteSize>,
    /// A watermark of a gateway further ahead of this clock is not believed, nor that a data folder was created then [default: 10m]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_CLOCK_TOLERANCE")]
    pub clock_tolerance: Option<HumanDuration>,
    /// Most queries at once, of which one operator alone has at most half; further ones wait [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_MAX")]
    pub queries_max: Option<usize>,
    /// Most queries of one operator at once; further ones wait [default: 16]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_PER_OPERATOR_MAX")]
    pub queries_per_operator_max: Option<usize>,
    /// Most queries that wait, of which one operator's are at most half; further ones are refused [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_WAITING_MAX")]
    pub queries_waiting_max: Option<usize>,
    /// Most queries of one operator that wait; further ones are refused [default: 256]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERIES_WAITING_PER_OPERATOR_MAX")]
    pub queries_waiting_per_operator_max: Option<usize>,
    /// Threads on which queries take turns [default: half of the processors]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERY_THREADS")]
    pub query_threads: Option<usize>,
    /// Memory of all queries, of which one operator alone has at most half; beyond it they are refused [default: 512MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_QUERY_MEMORY")]
    pub query_memory: Option<ByteSize>,
    /// Longest query, its waiting and a slow reader included [default: 1m]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_QUERY_TIMEOUT")]
    pub query_timeout: Option<HumanDuration>,
    /// A query whose answer is not read for so long ends [default: 10s]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_QUERY_READ_TIMEOUT")]
    pub query_read_timeout: Option<HumanDuration>,
    /// Most points of one answer, over all of its series [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_QUERY_POINTS_MAX")]
    pub query_points_max: Option<u64>,
    /// Memory for windows that are not flushed yet; when it is full gateways wait [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_MEMORY")]
    pub store_memory: Option<ByteSize>,
    /// Memory for the live state of open windows; beyond it live state is dropped and counted [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_LIVE_MEMORY")]
    pub store_live_memory: Option<ByteSize>,
    /// Memory for flushed windows that were read lately [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_CACHE")]
    pub store_cache: Option<ByteSize>,
    /// Most series; further ones are refused at the gateways, before their readings are acknowledged [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_STORE_SERIES_MAX")]
    pub store_series_max: Option<usize>,
    /// Most series of the gateways of one site together [default: half of store_series_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_SERIES_PER_SITE_MAX")]
    pub series_per_site_max: Option<usize>,
    /// Most series of one gateway [default: a quarter of store_series_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_SERIES_PER_GATEWAY_MAX")]
    pub series_per_gateway_max: Option<usize>,
    /// Most epochs, data folders of gateways that ever delivered; batches of further ones wait at their gateway [default: 65536]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_MAX")]
    pub epochs_max: Option<usize>,
    /// Most epochs of the gateways of one site together [default: half of epochs_max]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_PER_SITE_MAX")]
    pub epochs_per_site_max: Option<usize>,
    /// Most epochs of one gateway [default: 512, or epochs_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_AGGREGATOR_EPOCHS_PER_GATEWAY_MAX")]
    pub epochs_per_gateway_max: Option<usize>,
    /// Recent windows are flushed at least this often [default: 5m]
    #[arg(long, value_name = "TIME", env = "CATCHMENT_AGGREGATOR_STORE_PACK_EVERY")]
    pub store_pack_every: Option<HumanDuration>,
    /// Recent windows are flushed when the journal has grown by this, which a start reads again [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_PACK_JOURNAL")]
    pub store_pack_journal: Option<ByteSize>,
    /// Disk space of the journal; when it is full gateways are refused until a flush releases some [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_AGGREGATOR_STORE_JOURNAL")]
    pub store_journal: Option<ByteSize>,
    /// When flushed windows cannot be opened: set them aside and start with what the journal holds [default: false]
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
    /// Shape of log lines [default: text]
    #[arg(long, value_enum, env = "CATCHMENT_AGGREGATOR_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}
