//! Counts what became of one device's messages.

use std::time::Duration;

use catchment_partial::{Partial, Timestamp};

use crate::device::{Event, Values};

/// Outcome of one device's messages.
#[derive(Debug, Default)]
pub(super) struct DeviceCounts {
    pub(super) sent_messages: u64,
    pub(super) acknowledged_messages: u64,
    pub(super) acknowledged_readings: u64,
    pub(super) refusals: u64,
    pub(super) reconnects: u64,
    /// Seconds from accepting a message to its ack; the timestamps in the partial are meaningless.
    pub(super) latency: Partial,
    pub(super) latency_max: Duration,
    pub(super) failure: Option<String>,
}

impl DeviceCounts {
    pub(super) fn observe(&mut self, event: &Event<'_, Values>) {
        match event {
            Event::Settled { message, refused, durable, waited } => {
                self.refusals = self.refusals.saturating_add(u64::from(*refused));
                if *durable {
                    let readings = (message.body.readings.len() as u64).saturating_sub(u64::from(*refused));
                    self.acknowledged_messages = self.acknowledged_messages.saturating_add(1);
                    self.acknowledged_readings = self.acknowledged_readings.saturating_add(readings);
                    self.latency_max = self.latency_max.max(*waited);
                    self.latency.push(Timestamp::MIN, waited.as_secs_f64());
                }
            }
            Event::Disconnected { .. } => self.reconnects = self.reconnects.saturating_add(1),
            Event::Refused(refusal, _) if self.failure.is_none() => {
                self.failure = Some(format!("refused: {} ({})", refusal.message, refusal.code));
            }
            Event::Welcomed(_) | Event::Refused(..) | Event::AlreadyDurable(_) => {}
        }
    }
}
