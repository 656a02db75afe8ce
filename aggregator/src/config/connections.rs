//! Bounds of connections.

use std::{num::NonZeroU32, time::Duration};

use catchment_certs::{AcceptConfig, accept::HANDSHAKE_RATE_DEFAULT};
use catchment_settings::HumanDuration;

use super::{ConfigError, Options, number, time};

/// The maximum age of a connection; shorter ones would end before a request does.
pub(super) fn age_max(given: Option<HumanDuration>) -> Result<Option<Duration>, ConfigError> {
    let (least, most) = (HumanDuration(Duration::from_millis(100)), HumanDuration::secs(365 * 86_400));
    let range = || format!("from {least} to {most}");
    match given {
        Some(age) if age < least || age > most => {
            Err(ConfigError::Range { key: "connection_age_max", value: age.to_string(), range: range() })
        }
        age => Ok(age.map(|age| age.0)),
    }
}

pub(super) fn accept(options: &Options) -> Result<AcceptConfig, ConfigError> {
    // Leaves a quarter of the slots to addresses other than the busiest.
    const PER_ADDRESS: usize = 3_072;
    const MOST: usize = 1_000_000;
    let connections_max = number("connections_max", options.connections_max, 4_096, MOST)?;
    let rate = handshake_rate(options.handshake_rate_per_address)?;
    let per_address = options.connections_per_address_max;
    let per_address_default = PER_ADDRESS.min(connections_max);
    Ok(AcceptConfig {
        connections_max,
        connections_per_address_max: number(
            "connections_per_address_max",
            per_address,
            per_address_default,
            MOST,
        )?,
        handshakes_max: number("handshakes_max", options.handshakes_max, 1_024, MOST)?,
        handshake_timeout: time("handshake_timeout", options.handshake_timeout, 10)?,
        handshake_rate_per_address: rate,
    })
}

fn handshake_rate(given: Option<usize>) -> Result<NonZeroU32, ConfigError> {
    let Some(given) = given else { return Ok(HANDSHAKE_RATE_DEFAULT) };
    let rate = number("handshake_rate_per_address", Some(given), given, 1_000_000)?;
    Ok(u32::try_from(rate).ok().and_then(NonZeroU32::new).unwrap_or(HANDSHAKE_RATE_DEFAULT))
}
