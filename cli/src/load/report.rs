//! The report of a load run, for people and for programs. Pure.

use std::{fmt, time::Duration};

use catchment_partial::Partial;
use serde::Serialize;

use super::DeviceCounts;
use crate::{
    device::Protocol,
    failure::{Failure, one_line},
    render::json_line,
};

/// The result of all devices together.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    devices: usize,
    protocol: String,
    seconds: f64,
    sent_messages: u64,
    acknowledged_messages: u64,
    acknowledged_readings: u64,
    refusals: u64,
    reconnects: u64,
    messages_per_second: f64,
    readings_per_second: f64,
    ack_seconds_p50: Option<f64>,
    ack_seconds_p99: Option<f64>,
    ack_seconds_max: Option<f64>,
    failed_devices: u64,
    /// The first failure, as an example.
    failure: Option<String>,
    #[serde(skip)]
    latency: Partial,
}

impl Report {
    pub(super) fn new(devices: usize, protocol: Protocol) -> Self {
        Self {
            devices,
            protocol: protocol.to_string(),
            seconds: 0.0,
            sent_messages: 0,
            acknowledged_messages: 0,
            acknowledged_readings: 0,
            refusals: 0,
            reconnects: 0,
            messages_per_second: 0.0,
            readings_per_second: 0.0,
            ack_seconds_p50: None,
            ack_seconds_p99: None,
            ack_seconds_max: None,
            failed_devices: 0,
            failure: None,
            latency: Partial::default(),
        }
    }

    /// Adds one device's result.
    pub(super) fn add(&mut self, counts: &DeviceCounts) {
        self.sent_messages += counts.sent_messages;
        self.acknowledged_messages += counts.acknowledged_messages;
        self.acknowledged_readings += counts.acknowledged_readings;
        self.refusals += counts.refusals;
        self.reconnects += counts.reconnects;
        self.latency.merge(&counts.latency);
        let max = counts.latency_max.as_secs_f64();
        if counts.acknowledged_messages > 0 {
            self.ack_seconds_max = Some(self.ack_seconds_max.map_or(max, |before| before.max(max)));
        }
        if let Some(failure) = &counts.failure {
            self.fail(failure.clone());
        }
    }

    /// Records a failed device.
    pub(super) fn fail(&mut self, failure: String) {
        self.failed_devices += 1;
        self.failure.get_or_insert(one_line(&failure));
    }

    /// Computes rates and quantiles.
    pub(super) fn finish(&mut self, elapsed: Duration) {
        self.seconds = elapsed.as_secs_f64();
        if self.seconds > 0.0 {
            self.messages_per_second = self.acknowledged_messages as f64 / self.seconds;
            self.readings_per_second = self.acknowledged_readings as f64 / self.seconds;
        }
        self.ack_seconds_p50 = self.latency.quantile(0.5);
        self.ack_seconds_p99 = self.latency.quantile(0.99);
    }

    pub(super) fn to_json(&self) -> String {
        json_line(self)
    }

    /// Fails if a device failed or a message was not acknowledged.
    pub(super) fn outcome(&self) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(Failure::failed(format!(
                "{} of {} devices failed: {failure}",
                self.failed_devices, self.devices
            )));
        }
        match self.sent_messages.saturating_sub(self.acknowledged_messages) {
            0 => Ok(()),
            missing => Err(Failure::failed(format!("{missing} messages were not acknowledged"))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |value: Option<f64>| match value {
            Some(value) => format!("{:.1} ms", value * 1000.0),
            None => "-".to_owned(),
        };
        writeln!(f, "devices       {} ({}), {:.1} s", self.devices, self.protocol, self.seconds)?;
        writeln!(f, "sent          {} messages", self.sent_messages)?;
        writeln!(
            f,
            "acknowledged  {} messages, {} readings",
            self.acknowledged_messages, self.acknowledged_readings
        )?;
        writeln!(
            f,
            "rate          {:.0} messages/s, {:.0} readings/s",
            self.messages_per_second, self.readings_per_second
        )?;
        writeln!(f, "refusals      {}", self.refusals)?;
        writeln!(f, "reconnects    {}", self.reconnects)?;
        let [p50, p99, max] = [self.ack_seconds_p50, self.ack_seconds_p99, self.ack_seconds_max].map(seconds);
        writeln!(f, "ack latency   p50 {p50}, p99 {p99}, max {max}")
    }
}
