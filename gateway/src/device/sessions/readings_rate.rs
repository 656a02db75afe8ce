//! How many readings a device may send: a token bucket over all of its sessions, and which of them it holds back.

use std::{cell::RefCell, rc::Rc, time::Duration};

use catchment_settings::token_bucket::{Rate, TokenBucket};

use super::registry::DeviceSessions;
use crate::intake::Intake;

/// The bucket of a device, and its sessions that wait for a token.
#[derive(Debug, Default)]
pub(super) struct ReadingsRate {
    rate: Option<Rate>,
    bucket: TokenBucket,
    delayed: usize,
}

impl DeviceSessions {
    /// Limits the readings of the device, over all of its sessions; `None`: no limit.
    pub fn limit_readings(&mut self, rate: Option<Rate>) {
        self.readings_rate.rate = rate;
    }

    /// How long until the device may send more; zero if it may now. `now`: the shard's monotonic clock.
    pub fn readings_wait(&self, now: Duration) -> Duration {
        let ReadingsRate { rate, bucket, .. } = &self.readings_rate;
        rate.map_or(Duration::ZERO, |rate| bucket.wait(&rate, now))
    }

    /// Readings were handed on. Those that were sent before, or refused, cost the same work, so they count too.
    pub(super) fn charge_readings(&mut self, intake: &Intake, now: Duration) {
        if let Some(rate) = self.readings_rate.rate {
            self.readings_rate.bucket.take(&rate, intake.readings.len() as u64, now);
        }
    }
}

/// A session that waits for its device's tokens, until this is dropped.
pub struct DelayGuard<'a>(&'a Rc<RefCell<DeviceSessions>>);

impl<'a> DelayGuard<'a> {
    /// The device counts as delayed while any of its sessions is.
    pub fn new(device_sessions: &'a Rc<RefCell<DeviceSessions>>) -> Self {
        let mut device = device_sessions.borrow_mut();
        device.readings_rate.delayed += 1;
        if device.readings_rate.delayed == 1 {
            device.metrics.devices_delayed.inc();
        }
        drop(device);
        Self(device_sessions)
    }
}

impl Drop for DelayGuard<'_> {
    fn drop(&mut self) {
        // Borrowed only while a panic unwinds.
        let Ok(mut device) = self.0.try_borrow_mut() else { return };
        device.readings_rate.delayed = device.readings_rate.delayed.saturating_sub(1);
        if device.readings_rate.delayed == 0 {
            device.metrics.devices_delayed.dec();
        }
    }
}
