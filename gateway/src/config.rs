//! The gateway's settings: as given (flags, variables, file) and as checked.
//!
//! Every bound of the gateway has its key here, with its default and the reason for it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use catchment_certs::{AcceptConfig, TrustConfig};
use catchment_partial::{Width, WidthError};
use catchment_proto::batch::SHARDS_MAX;
use catchment_settings::{ByteSize, HumanDuration, http::Bounds, logging::LogFormat, token_bucket::Rate};
use serde::{Deserialize, Serialize};

use crate::{
    decode::{
        json::{JsonSettings, Options},
        line_protocol::Precision,
    },
    fold::MetricParts,
    kept::KeepLimits,
    mqtt::topics::Topics,
};

use self::{
    devices::readings_rate,
    metrics::metric_parts,
    outbox::{GIB, aggregators},
    protocols::json_key,
};
pub use self::{
    error::ConfigError,
    metrics::MetricSetting,
    protocols::{LineProtocolSettings, MqttSettings},
};

/// Settings as given. Every flag has its key in the file and its variable `CATCHMENT_GATEWAY_…`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder with the gateway's identity: cert.pem, key.pem, ca.pem, crl.pem; watched, a change counts at once
    #[arg(long, value_name = "DIR", env = "CATCHMENT_GATEWAY_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Accept nobody without a revocation list of a root that is up to date [default: true]
    #[arg(
        long,
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL",
        env = "CATCHMENT_GATEWAY_REQUIRE_REVOCATION_LIST"
    )]
    pub require_revocation_list: Option<bool>,
    /// Address that devices connect to; port 0 picks a free one
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_GATEWAY_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Aggregator URL, https://HOST:PORT; repeat it for failover, all to one store
    #[arg(long, value_name = "URL", num_args = 1.., value_delimiter = ',', env = "CATCHMENT_GATEWAY_AGGREGATOR")]
    pub aggregator: Option<Vec<String>>,
    /// Data folder, for the journal and the outbox
    #[arg(long, value_name = "DIR", env = "CATCHMENT_GATEWAY_DATA")]
    pub data: Option<PathBuf>,
    /// Width of the windows [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_WINDOW")]
    pub window: Option<HumanDuration>,
    /// How long a window stays open after its end [default: 2s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_GRACE")]
    pub grace: Option<HumanDuration>,
    /// Interval at which the state of open windows is sent too; off unless given
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_LIVE")]
    pub live: Option<HumanDuration>,
    /// Address for /metrics, /healthz and /readyz in plain HTTP; off unless given
    #[arg(long, value_name = "ADDR", env = "CATCHMENT_GATEWAY_HTTP")]
    pub http: Option<SocketAddr>,
    /// Worker threads, each with its own journal; fixed once the data folder exists [default: processors, at most 8]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_SHARDS")]
    pub shards: Option<u32>,
    /// Maximum device connections; beyond it, those that sent nothing give way, then new ones wait [default: 20000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,
    /// Maximum connections of one device; one more is refused while all are alive [default: 4]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_SESSIONS_MAX")]
    pub sessions_max: Option<usize>,
    /// How long a connection without a message counts as alive; after that it gives way to a new one [default: 2m]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_SESSIONS_SILENT_AFTER")]
    pub sessions_silent_after: Option<HumanDuration>,
    /// Maximum connections from one address, or one IPv6 /64 [default: 16000, or connections_max if less]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_CONNECTIONS_PER_ADDRESS_MAX")]
    pub connections_per_address_max: Option<usize>,
    /// Maximum TLS handshakes at once, in addition to connections; beyond it, the slowest give way [default: 1024]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_HANDSHAKES_MAX")]
    pub handshakes_max: Option<usize>,
    /// Maximum time for a TLS handshake, and for the wait before it [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_HANDSHAKE_TIMEOUT")]
    pub handshake_timeout: Option<HumanDuration>,
    /// Handshakes a second of one address, or one IPv6 /64, after a burst of 4s; beyond it, they wait [default: 5000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_HANDSHAKE_RATE_PER_ADDRESS")]
    pub handshake_rate_per_address: Option<u32>,
    /// Maximum time from the handshake to a device's first byte, or an MQTT client's whole CONNECT [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_FIRST_BYTE_TIMEOUT")]
    pub first_byte_timeout: Option<HumanDuration>,
    /// Maximum time from the first byte of a line, frame or packet to its last [default: 30s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_MESSAGE_TIMEOUT")]
    pub message_timeout: Option<HumanDuration>,
    /// Time after which a connection without a message ends [default: 25h]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_IDLE_TIMEOUT")]
    pub idle_timeout: Option<HumanDuration>,
    /// Time after which a connection ends, give or take a tenth, so that its device is checked anew; off unless given
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_CONNECTION_AGE_MAX")]
    pub connection_age_max: Option<HumanDuration>,
    /// Maximum bytes of unfinished messages in total (beyond it, the oldest end), and of sessions that wait [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_UNFINISHED_BYTES_MAX")]
    pub unfinished_bytes_max: Option<ByteSize>,
    /// Maximum connections of the plain HTTP endpoint; beyond it, the one idle longest ends [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_HTTP_CONNECTIONS_MAX")]
    pub http_connections_max: Option<usize>,
    /// Maximum time for a plain HTTP request to arrive, and again for its response to be read [default: 5s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_HTTP_TIMEOUT")]
    pub http_timeout: Option<HumanDuration>,
    /// Maximum length of a message: a line, a frame or an MQTT payload [default: 256KiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_MESSAGE_BYTES_MAX")]
    pub message_bytes_max: Option<ByteSize>,
    /// Maximum readings in one message [default: 10000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_READINGS_MAX")]
    pub readings_max: Option<usize>,
    /// Readings a second of one device, after a burst of 5s; beyond it, the device waits; off unless given
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_READINGS_PER_SECOND_MAX")]
    pub readings_per_second_max: Option<u32>,
    /// Maximum series of one device; readings of further series are refused [default: 1000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_SERIES_MAX")]
    pub series_max: Option<usize>,
    /// Maximum devices known; beyond it, new ones are refused [default: 100000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_DEVICES_MAX")]
    pub devices_max: Option<usize>,
    /// Time after which unused devices, series and MQTT sessions are forgotten [default: 400d]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_DEVICE_EXPIRY")]
    pub device_expiry: Option<HumanDuration>,
    /// Maximum age of a reading's time; older readings are refused [default: 3650d]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_PAST_MAX")]
    pub past_max: Option<HumanDuration>,
    /// How far a reading's time may be ahead of the gateway's clock [default: 10m]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_FUTURE_MAX")]
    pub future_max: Option<HumanDuration>,
    /// Maximum open windows of all series; beyond it, the oldest late ones are closed early [default: 1000000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_OPEN_WINDOWS_MAX")]
    pub open_windows_max: Option<usize>,
    /// Maximum open windows of one device (raised to 4 × series_max); it waits until some close [default: 100000]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_DEVICE_OPEN_WINDOWS_MAX")]
    pub device_open_windows_max: Option<usize>,
    /// Maximum bytes of all journals; beyond it, devices wait [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_JOURNAL_BYTES_MAX")]
    pub journal_bytes_max: Option<ByteSize>,
    /// Bytes of a journal after which a checkpoint is written at the latest [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_CHECKPOINT_BYTES")]
    pub checkpoint_bytes: Option<ByteSize>,
    /// Maximum bytes of partials that wait for the aggregator; beyond it, devices wait [default: 8GiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_OUTBOX_BYTES_MAX")]
    pub outbox_bytes_max: Option<ByteSize>,
    /// How long delivered batches stay in the outbox, to refill an aggregator that lost them; 0s: not [default: 1d]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_OUTBOX_KEEP")]
    pub outbox_keep: Option<HumanDuration>,
    /// Maximum bytes of delivered batches that stay; new batches displace them [default: outbox_bytes_max]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_OUTBOX_KEEP_BYTES")]
    pub outbox_keep_bytes: Option<ByteSize>,
    /// How long raw readings stay in the journals, for `catchment raw` [default: 0s: they do not]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_RAW_KEEP")]
    pub raw_keep: Option<HumanDuration>,
    /// Maximum bytes of raw readings that stay, in addition to journal_bytes_max [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_RAW_KEEP_BYTES")]
    pub raw_keep_bytes: Option<ByteSize>,
    /// Maximum bytes of raw readings sent per second, in all [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "CATCHMENT_GATEWAY_RAW_RATE")]
    pub raw_rate: Option<ByteSize>,
    /// Maximum batches in flight per shard: sent to the aggregator, not acknowledged yet [default: 64]
    #[arg(long, value_name = "N", env = "CATCHMENT_GATEWAY_UPLINK_IN_FLIGHT")]
    pub uplink_in_flight: Option<usize>,
    /// How long batches may be in flight without any acknowledgement before the next aggregator is tried [default: 30s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_UPLINK_ACK_TIMEOUT")]
    pub uplink_ack_timeout: Option<HumanDuration>,
    /// Maximum time for an ordered stop [default: 10s]
    #[arg(long, value_name = "DURATION", env = "CATCHMENT_GATEWAY_STOP_TIMEOUT")]
    pub stop_timeout: Option<HumanDuration>,
    /// Log filter, in the syntax of `tracing` [default: info]
    #[arg(long, value_name = "FILTER", env = "CATCHMENT_LOG")]
    pub log: Option<String>,
    /// Log format [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, env = "CATCHMENT_GATEWAY_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs)]
    pub mqtt: Option<MqttSettings>,
    /// Rules for JSON of other forms, in JSON lines and MQTT. Only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonSettings>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs)]
    pub line_protocol: Option<LineProtocolSettings>,
    /// Optional parts of single metrics. Only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Vec<MetricSetting>>,
}

/// Checked settings, with defaults in place. [`Settings`] says what each means.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Config {
    pub identity: PathBuf,
    pub trust: TrustConfig,
    pub listen: SocketAddr,
    pub aggregators: Vec<String>,
    pub data: PathBuf,
    pub window: Width,
    pub grace: Duration,
    pub live: Option<Duration>,
    pub http: Option<SocketAddr>,
    /// `None`: as many as the data folder has; for a new one, by the number of processors.
    pub shards: Option<u32>,
    pub accept: AcceptConfig,
    pub http_bounds: Bounds,
    pub sessions_max: usize,
    pub sessions_silent_after: Duration,
    pub deadlines: Deadlines,
    pub connection_age_max: Option<Duration>,
    pub unfinished_bytes_max: usize,
    pub message_bytes_max: usize,
    pub readings_max: usize,
    pub readings_rate: Option<Rate>,
    pub series_max: usize,
    pub devices_max: usize,
    pub device_expiry: Duration,
    pub past_max: Duration,
    pub future_max: Duration,
    pub open_windows_max: usize,
    pub device_open_windows_max: usize,
    pub journal_bytes_max: u64,
    pub checkpoint_bytes: u64,
    pub outbox_bytes_max: u64,
    pub outbox_keep: KeepLimits,
    pub raw_keep: KeepLimits,
    pub raw_rate: u64,
    pub uplink_in_flight: usize,
    pub uplink_ack_timeout: Duration,
    pub stop_timeout: Duration,
    pub mqtt_receive_max: u16,
    pub topics: Arc<Topics>,
    pub line_protocol_precision: Precision,
    pub json: Arc<Options>,
    pub metric_parts: Arc<MetricParts>,
}

/// Deadlines of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the handshake to the first byte; of MQTT, to the whole CONNECT.
    pub first_byte: Duration,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// From one message to the next.
    pub idle: Duration,
}

fn value(key: &'static str, reason: impl ToString) -> ConfigError {
    ConfigError::Value { key, reason: reason.to_string() }
}

fn within<T: PartialOrd + std::fmt::Display>(
    key: &'static str,
    given: T,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    if given < least || given > most {
        return Err(value(key, format!("{given} is out of range, allowed: {least} to {most}")));
    }
    Ok(given)
}

/// Checks a duration; `least` is in milliseconds.
fn time(
    key: &'static str,
    given: Option<HumanDuration>,
    default: HumanDuration,
    least: u64,
    most: HumanDuration,
) -> Result<Duration, ConfigError> {
    let least = HumanDuration(Duration::from_millis(least));
    within(key, given.unwrap_or(default), least, most).map(|duration| duration.0)
}

fn window(given: Option<HumanDuration>) -> Result<Width, ConfigError> {
    let given = given.unwrap_or(HumanDuration::secs(10));
    let exact = given.0.as_nanos().is_multiple_of(1_000_000);
    let millis = u32::try_from(given.0.as_millis()).ok().filter(|_| exact);
    let millis = millis.ok_or_else(|| value("window", "must be whole milliseconds, at most a day"))?;
    Width::from_millis(millis).map_err(|e: WidthError| value("window", e))
}

fn grace(given: Option<HumanDuration>) -> Result<Duration, ConfigError> {
    time("grace", given, HumanDuration::secs(2), 0, DAY)
}

fn future_max(given: Option<HumanDuration>) -> Result<Duration, ConfigError> {
    // Ten minutes: a clock that nobody set exactly is off by less, but a wrong year is caught.
    time("future_max", given, HumanDuration::secs(600), 1_000, HumanDuration::secs(365 * 86_400))
}

/// The upper bound of most durations.
const DAY: HumanDuration = HumanDuration::secs(86_400);

impl Settings {
    /// Checks everything that can be checked without touching the network or the data folder.
    ///
    /// # Errors
    /// The first setting that is missing or out of range.
    pub fn check(self) -> Result<Config, ConfigError> {
        let (accept, http_bounds, deadlines) = (self.accept()?, self.http_bounds()?, self.deadlines()?);
        let ((devices_max, device_expiry), outbox) = (self.devices()?, self.outbox()?);
        let ((raw_keep, raw_rate), connection_age_max) = (self.raw()?, self.connection_age_max()?);
        let (open_windows_max, device_open_windows_max) = self.open_windows()?;
        let aggregators = aggregators(self.aggregator)?;
        let seconds = HumanDuration::secs;
        // By then the kernel has given up a peer that is gone; one silent for longer rarely reports.
        let silent = time("sessions_silent_after", self.sessions_silent_after, seconds(120), 100, DAY);
        let days = |days: u64| seconds(days * 86_400);
        let bytes = |given: Option<ByteSize>, default: u64| given.map_or(default, |size| size.0);
        let size = |key, given, default, least, most| within(key, bytes(given, default), least, most);
        let message_bytes_max = bytes(self.message_bytes_max, 256 << 10);
        let unfinished = bytes(self.unfinished_bytes_max, 64 << 20);
        let unfinished_bytes_max = within("unfinished_bytes_max", unfinished, 1 << 20, 1 << 40)? as usize;
        let mqtt = self.mqtt.unwrap_or_default();
        let precision = self.line_protocol.and_then(|given| given.precision).unwrap_or_default();
        let json = self.json.unwrap_or_default();
        let options = json.check().map_err(|e| value(json_key(e.key), e.cause))?;
        let topics = Topics::new(&mqtt.topics.unwrap_or_default(), precision, &json);
        let live = self.live.map(|given| time("live", Some(given), given, 100, DAY)).transpose()?;
        Ok(Config {
            identity: self.identity.ok_or(ConfigError::Missing("identity"))?,
            trust: TrustConfig {
                require_revocation_list: self.require_revocation_list.unwrap_or(true),
                ..TrustConfig::default()
            },
            listen: self.listen.ok_or(ConfigError::Missing("listen"))?,
            aggregators,
            data: self.data.ok_or(ConfigError::Missing("data"))?,
            window: window(self.window)?,
            grace: grace(self.grace)?,
            live,
            http: self.http,
            shards: self.shards.map(|n| within("shards", n, 1, SHARDS_MAX)).transpose()?,
            accept,
            http_bounds,
            deadlines,
            connection_age_max,
            unfinished_bytes_max,
            sessions_max: within("sessions_max", self.sessions_max.unwrap_or(4), 1, 1_000)?,
            sessions_silent_after: silent?,
            message_bytes_max: within("message_bytes_max", message_bytes_max, 1 << 10, 16 << 20)? as usize,
            readings_max: within("readings_max", self.readings_max.unwrap_or(10_000), 1, 20_000)?,
            readings_rate: readings_rate(self.readings_per_second_max)?,
            series_max: within("series_max", self.series_max.unwrap_or(1_000), 1, 1_000_000)?,
            devices_max,
            device_expiry,
            // Ten years: a device may return with a long history, but a clock at 1970 is caught.
            past_max: time("past_max", self.past_max, days(3_650), 1_000, days(36_500))?,
            future_max: future_max(self.future_max)?,
            open_windows_max,
            device_open_windows_max,
            journal_bytes_max: size("journal_bytes_max", self.journal_bytes_max, GIB, 64 << 20, 1 << 40)?,
            checkpoint_bytes: size("checkpoint_bytes", self.checkpoint_bytes, 64 << 20, 64 << 10, GIB)?,
            outbox_bytes_max: outbox.bytes_max,
            outbox_keep: outbox.keep,
            raw_keep,
            raw_rate,
            uplink_in_flight: within("uplink_in_flight", self.uplink_in_flight.unwrap_or(64), 1, 10_000)?,
            // Longer than a commit on a slow disk, and than a flush round of the aggregator.
            uplink_ack_timeout: time("uplink_ack_timeout", self.uplink_ack_timeout, seconds(30), 100, DAY)?,
            stop_timeout: time("stop_timeout", self.stop_timeout, seconds(10), 100, DAY)?,
            mqtt_receive_max: within("mqtt.receive_max", mqtt.receive_max.unwrap_or(1024), 1, u16::MAX)?,
            topics: Arc::new(topics.map_err(|e| value("mqtt.topics", e))?),
            line_protocol_precision: precision,
            json: Arc::new(options),
            metric_parts: Arc::new(metric_parts(self.metric.as_deref().unwrap_or_default())?),
        })
    }
}

mod connections;
mod devices;
mod error;
mod metrics;
mod outbox;
mod protocols;
mod raw;
#[cfg(test)]
pub(crate) mod tests;
