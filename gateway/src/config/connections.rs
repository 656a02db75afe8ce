//! Bounds of connections: slots, deadlines, and the same for the HTTP endpoint.

use std::{num::NonZeroU32, time::Duration};

use catchment_certs::{
    AcceptConfig,
    accept::{HANDSHAKE_RATE_DEFAULT, HANDSHAKES_DEFAULT_MAX, per_address_default},
};
use catchment_settings::{HumanDuration, http::Bounds};

use super::{ConfigError, DAY, Deadlines, Settings, time, within};

impl Settings {
    pub(super) fn accept(&self) -> Result<AcceptConfig, ConfigError> {
        const MOST: usize = 1_000_000;
        let connections_max = within("connections_max", self.connections_max.unwrap_or(20_000), 1, MOST)?;
        let per_address = self.connections_per_address_max.unwrap_or(per_address_default(connections_max));
        let handshakes_max = self.handshakes_max.unwrap_or(HANDSHAKES_DEFAULT_MAX);
        let rate = self.handshake_rate_per_address.unwrap_or(HANDSHAKE_RATE_DEFAULT.get());
        let rate = within("handshake_rate_per_address", rate, 1, 1_000_000)?;
        Ok(AcceptConfig {
            connections_max,
            connections_per_address_max: within("connections_per_address_max", per_address, 1, MOST)?,
            handshakes_max: within("handshakes_max", handshakes_max, 1, MOST)?,
            handshake_timeout: time(
                "handshake_timeout",
                self.handshake_timeout,
                HumanDuration::secs(10),
                100,
                DAY,
            )?,
            handshake_rate_per_address: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
        })
    }

    pub(super) fn http_bounds(&self) -> Result<Bounds, ConfigError> {
        let default = Bounds::default();
        let connections_max = self.http_connections_max.unwrap_or(default.connections_max);
        Ok(Bounds {
            connections_max: within("http_connections_max", connections_max, 2, 10_000)?,
            timeout: time("http_timeout", self.http_timeout, HumanDuration(default.timeout), 100, DAY)?,
        })
    }

    pub(super) fn connection_age_max(&self) -> Result<Option<Duration>, ConfigError> {
        let year = HumanDuration::secs(365 * 86_400);
        let given = self.connection_age_max;
        given.map(|given| time("connection_age_max", Some(given), given, 100, year)).transpose()
    }

    pub(super) fn deadlines(&self) -> Result<Deadlines, ConfigError> {
        let (seconds, year) = (HumanDuration::secs, HumanDuration::secs(365 * 86_400));
        Ok(Deadlines {
            first_byte: time("first_byte_timeout", self.first_byte_timeout, seconds(10), 100, year)?,
            message: time("message_timeout", self.message_timeout, seconds(30), 100, year)?,
            // A device that reports once a day keeps its connection.
            idle: time("idle_timeout", self.idle_timeout, seconds(25 * 3_600), 100, year)?,
        })
    }
}
