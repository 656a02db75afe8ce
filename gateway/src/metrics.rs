//! The gateway's metrics. Handles are resolved once; no label names a device.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use catchment_certs::{AcceptEvents, HandshakeFailure, SessionRegistry, TrustMetrics};
use catchment_settings::{Conditions, logging::lines_suppressed, supervise::panics};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

pub use self::register::{ProtocolLabel, ReasonLabel};
use self::{
    connections::ConnectionMetrics, forgotten::ForgottenMetrics, kept::KeptMetrics, pace::PaceMetrics,
    register::add, revocations::RevocationMetrics, sessions::SessionsCollector,
};
use crate::{budget::Budget, conditions, config::Config, intake::Reason, lineage::Cause};

mod connections;
mod forgotten;
mod kept;
mod pace;
mod register;
mod revocations;
mod sessions;

/// The gateway's counters and gauges. Cheap to share.
#[derive(Debug)]
#[allow(missing_docs)] // each has its help text below
pub struct Metrics {
    registry: Registry,
    /// The conditions that hold now.
    pub conditions: Arc<Conditions>,
    pub trust: TrustMetrics,
    pub readings: Counter,
    pub messages: Counter,
    pub duplicates: Counter,
    pub late: Counter,
    pub answers_dropped: Counter,
    pub name_collisions: Counter,
    pub epochs_shared: Counter,
    pub pace: PaceMetrics,
    pub connections: Family<ProtocolLabel, Gauge>,
    pub devices: Gauge,
    pub series: Gauge,
    pub series_max: Gauge,
    pub open_windows: Gauge,
    pub partials: Counter,
    pub batches: Counter,
    pub batches_acknowledged: Counter,
    pub batches_refused: Counter,
    pub uplink_connected: Gauge,
    pub uplink_failures: Counter,
    pub uplink_ack_timeouts: Counter,
    pub uplink_parts_left_out: Counter,
    pub outbox_bytes: Gauge,
    pub kept: KeptMetrics,
    pub revocations: RevocationMetrics,
    pub journal_bytes: Gauge,
    pub watermark_lag_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    pub damage: Counter,
    pub messages_lost: Counter,
    pub readings_lost: Counter,
    pub batches_lost: Counter,
    pub clock_steps: Counter,
    pub clock_offset: Gauge<f64, std::sync::atomic::AtomicU64>,
    pub ack_seconds: Histogram,
    pub sessions_panicked: Counter,
    panics: Counter,
    log_lines_suppressed: Counter,
    epochs_begun: Family<ReasonLabel, Counter>,
    pub unfinished_bytes: Gauge,
    pub waiting_bytes: Gauge,
    connection_metrics: ConnectionMetrics,
    sessions: SessionsCollector,
    forgotten: ForgottenMetrics,
    refused: Family<ReasonLabel, Counter>,
}

/// Buckets of the acknowledgement histogram, seconds.
const ACK_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// New epochs, with every reason from the start.
fn epochs_begun(r: &mut Registry) -> Family<ReasonLabel, Counter> {
    let help = "Gateway epochs begun because the data folder went back or exists twice, by reason";
    let epochs: Family<ReasonLabel, Counter> = add(r, "epochs_begun", help);
    for cause in [Cause::WentBack, Cause::Doubled] {
        let _ = epochs.get_or_create(&ReasonLabel { reason: cause.code() });
    }
    epochs
}

/// Refusals. Every reason is there from the start, so that a rate over it is defined.
fn refused(r: &mut Registry) -> Family<ReasonLabel, Counter> {
    let refused: Family<ReasonLabel, Counter> =
        add(r, "readings_refused", "Readings and messages refused, by reason");
    for reason in Reason::ALL {
        let _ = refused.get_or_create(&ReasonLabel { reason: reason.code() });
    }
    refused
}

/// The sessions by role.
fn sessions(r: &mut Registry) -> SessionsCollector {
    let sessions = SessionsCollector::default();
    r.register_collector(Box::new(sessions.clone()));
    sessions
}

/// A registry with the conditions, the trust and the histogram of acknowledgements.
fn registry(conditions: &Arc<Conditions>, trust: &TrustMetrics) -> (Registry, Histogram) {
    let mut registry = Registry::with_prefix("catchment_gateway");
    registry.register_collector(Box::new(ConditionsCollector(Arc::clone(conditions))));
    registry.register_collector(Box::new(trust.clone()));
    let ack_seconds = Histogram::new(ACK_SECONDS);
    let help = "Time from reading a message to its durable acknowledgement, in seconds";
    registry.register("ack_seconds", help, ack_seconds.clone());
    (registry, ack_seconds)
}

/// Losses by damage, found at the start: damaged ranges, messages, readings without numbers, batches.
fn losses(r: &mut Registry) -> [Counter; 4] {
    [
        add(r, "journal_damage", "Damaged ranges found in journals and outboxes"),
        add(r, "messages_lost", "Messages with sequence numbers lost to damage, as far as other entries say"),
        add(r, "readings_lost", "Readings without a sequence number lost to damage"),
        add(r, "batches_lost", "Batches of the outbox lost to damage and not rebuilt from the journal"),
    ]
}

/// What ends a stream, and what cannot leave on one.
fn uplink(r: &mut Registry) -> [Counter; 3] {
    let silent = "Streams abandoned because the aggregator acknowledged nothing for uplink_ack_timeout";
    let left_out =
        "Partials sent without their optional parts, because the aggregator is of an earlier version";
    [
        add(r, "uplink_failures", "Streams that failed or could not be opened"),
        add(r, "uplink_ack_timeouts", silent),
        add(r, "uplink_parts_left_out", left_out),
    ]
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Arc<Self> {
        let conditions = Arc::new(Conditions::of(&conditions::KNOWN));
        let trust = TrustMetrics::default();
        let (mut registry, ack_seconds) = registry(&conditions, &trust);
        let r = &mut registry;
        let [damage, messages_lost, readings_lost, batches_lost] = losses(r);
        let [uplink_failures, uplink_ack_timeouts, uplink_parts_left_out] = uplink(r);
        let metrics = Self {
            conditions,
            trust,
            readings: add(r, "readings", "Readings accepted"),
            messages: add(r, "messages", "Messages accepted"),
            duplicates: add(r, "duplicates", "Messages that were sent again although already accepted"),
            late: add(r, "late_windows", "Windows opened for late readings"),
            answers_dropped: add(r, "answers_dropped", "Refusals not sent because the device does not read"),
            name_collisions: add(r, "name_collisions", "Times that two names of a device mapped to one"),
            epochs_shared: add(r, "epochs_shared", "Times that two programs of a device shared an epoch"),
            pace: PaceMetrics::new(r),
            connections: add(r, "connections", "Open device connections"),
            devices: add(r, "devices", "Known devices"),
            series: add(r, "series", "Known series"),
            series_max: add(r, "series_max", "Maximum series, as reported by the aggregator; 0: not yet"),
            open_windows: add(r, "open_windows", "Open windows"),
            partials: add(r, "partials", "Partials of closed windows"),
            batches: add(r, "batches", "Batches appended to the outbox"),
            batches_acknowledged: add(r, "batches_acknowledged", "Batches acknowledged by the aggregator"),
            batches_refused: add(r, "batches_refused", "Batch refusals by the aggregator for lack of room"),
            uplink_connected: add(r, "uplink_connected", "1 while a stream to an aggregator is open, else 0"),
            uplink_failures,
            uplink_ack_timeouts,
            uplink_parts_left_out,
            outbox_bytes: add(r, "outbox_bytes", "Bytes of all outboxes, waiting for the aggregator"),
            kept: KeptMetrics::new(r),
            revocations: RevocationMetrics::new(r),
            journal_bytes: add(r, "journal_bytes", "Bytes of all journals"),
            watermark_lag_seconds: add(
                r,
                "watermark_lag_seconds",
                "How far the watermark lags behind the wall clock, in seconds",
            ),
            damage,
            messages_lost,
            readings_lost,
            batches_lost,
            clock_steps: add(r, "clock_steps", "Times that the wall clock was stepped forward or back"),
            clock_offset: add(
                r,
                "clock_offset_seconds",
                "Forward step of the wall clock that does not move the watermark yet, in seconds; 0 if none",
            ),
            ack_seconds,
            sessions_panicked: add(r, "sessions_panicked", "Device connections closed by a panic"),
            panics: add(r, "panics", "Panics in this process, each a defect: the log says where"),
            log_lines_suppressed: add(
                r,
                "log_lines_suppressed",
                "Log lines suppressed because there were too many like them",
            ),
            unfinished_bytes: add(r, "unfinished_bytes", "Bytes of messages received in part"),
            waiting_bytes: add(r, "waiting_bytes", "Bytes that sessions hold while they wait"),
            connection_metrics: ConnectionMetrics::new(r),
            sessions: sessions(r),
            forgotten: ForgottenMetrics::new(r),
            epochs_begun: epochs_begun(r),
            refused: refused(r),
            registry,
        };
        Arc::new(metrics)
    }

    /// Counts a new gateway epoch.
    pub fn epoch_begun(&self, cause: Cause) {
        self.epochs_begun.get_or_create(&ReasonLabel { reason: cause.code() }).inc();
    }

    /// Sets the gauges that show bounds.
    pub fn show_bounds(&self, config: &Config) {
        let bounded = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.connection_metrics.unfinished_bytes_max.set(bounded(config.unfinished_bytes_max));
        self.connection_metrics.connections_max.set(bounded(config.accept.connections_max));
        self.connection_metrics.handshakes_max.set(bounded(config.accept.handshakes_max));
        self.forgotten.show_bound(config.devices_max);
    }

    /// Counts a session's end.
    pub fn end_session(&self, reason: &'static str) {
        self.connection_metrics.sessions_ended.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Shows the sessions of this registry; the first one counts.
    pub fn watch_sessions(&self, registry: SessionRegistry) {
        let _ = self.sessions.0.set(registry);
    }

    /// Counts a displaced session whose program is alive.
    pub fn displaced_alive(&self) {
        self.connection_metrics.displaced_alive.inc();
    }

    /// Counts a connection of the HTTP endpoint that the gateway closed.
    pub fn close_http(&self, reason: &'static str) {
        self.connection_metrics.http_closed.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts devices, series (including those of the devices) and single clients that a shard has forgotten.
    pub fn forget(&self, devices: u64, series: u64, clients: u64) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.devices.dec_by(gauge(devices));
        self.series.dec_by(gauge(series));
        self.forgotten.count(devices, series, clients);
    }

    /// Devices that were forgotten.
    pub fn devices_forgotten(&self) -> u64 {
        self.forgotten.devices()
    }

    /// Shows how many series places are taken, and whether all places for devices are.
    pub fn show_budget(&self, budget: &Budget) {
        self.forgotten.show_series_places(budget.series());
        let text = budget.devices_full().map(|max| {
            format!(
                "the gateway knows devices_max ({max}) devices and refuses new ones: raise it, or lower device_expiry"
            )
        });
        self.conditions.report(conditions::DEVICES_FULL, text);
    }

    /// Counts refused readings or messages.
    pub fn refuse(&self, reason: Reason, count: u64) {
        self.refused.get_or_create(&ReasonLabel { reason: reason.code() }).inc_by(count);
    }

    /// Counts a connection that was closed before it became a session.
    pub fn refuse_connection(&self, reason: &'static str) {
        self.connection_metrics.handshakes_failed.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The gauge of open connections of a protocol.
    pub fn open_connections(&self, protocol: &'static str) -> Gauge {
        self.connections.get_or_create(&ProtocolLabel { protocol }).clone()
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        self.panics.inner().store(panics(), Ordering::Relaxed);
        self.log_lines_suppressed.inner().store(lines_suppressed(), Ordering::Relaxed);
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n"),
        }
    }
}

impl AcceptEvents for Metrics {
    fn accept_error(&self, error: &std::io::Error) {
        self.connection_metrics.accept_errors.inc();
        tracing::warn!(listener = "devices", %error, "cannot accept connections; trying again");
    }

    fn handshake_failed(&self, addr: std::net::SocketAddr, reason: HandshakeFailure) {
        self.refuse_connection(reason.reason());
        tracing::debug!(%addr, %reason, "handshake failed");
    }

    fn at_capacity(&self, connections_max: usize) {
        self.connection_metrics.at_capacity.inc();
        let text = format!(
            "all {connections_max} places for connections are taken: further devices wait until one ends; raise \
             connections_max"
        );
        self.conditions.report(conditions::CONNECTIONS_FULL, Some(text));
    }

    fn has_room(&self) {
        self.conditions.report(conditions::CONNECTIONS_FULL, None);
    }

    fn handshakes_full(&self) {
        self.connection_metrics.at_capacity.inc();
    }

    fn handshakes(&self, count: usize) {
        self.connection_metrics.handshakes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn handshakes_waiting(&self, count: usize) {
        self.connection_metrics.handshakes_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Reads the conditions at each scrape.
#[derive(Debug)]
struct ConditionsCollector(Arc<Conditions>);

impl Collector for ConditionsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while the condition holds, else 0; /readyz or the log gives the reason";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("condition", help, None, kind)?;
        for (name, holds) in self.0.states() {
            ConstGauge::new(i64::from(holds)).encode(family.encode_family(&[("name", name)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_its_metric_from_the_start() {
        let metrics = Metrics::new();
        for known in conditions::KNOWN {
            let line = format!("catchment_gateway_condition{{name=\"{}\"}} 0\n", known.name);
            assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
        }
        for reason in
            ["handshakes_failed_total{reason=\"revoked\"}", "http_connections_closed_total{reason=\"idle\"}"]
        {
            let line = format!("catchment_gateway_{reason} 0\n");
            assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
        }
        metrics.at_capacity(5);
        assert!(metrics.text().contains("catchment_gateway_condition{name=\"connections_full\"} 1\n"));
        assert!(metrics.conditions.ready().unwrap_err().contains("all 5 places"));
        metrics.has_room();
        assert!(metrics.text().contains("catchment_gateway_condition{name=\"connections_full\"} 0\n"));
        assert_eq!(metrics.conditions.ready(), Ok(()));
    }
}
