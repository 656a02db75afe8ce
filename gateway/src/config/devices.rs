//! How many devices are known, and for how long without a message.

use std::time::Duration;

use catchment_settings::HumanDuration;

use super::{Config, ConfigError, Settings, future_max, grace, time, value, window, within};

/// The least `device_expiry`. What is safe depends on how long devices are away, which nobody knows here: less than
/// [`SHORT`] is warned of.
const LEAST_MS: u64 = 10_000;
/// A device that lost its network for so long is nothing unusual.
const SHORT: Duration = Duration::from_secs(3_600);

impl Settings {
    pub(super) fn devices(&self) -> Result<(usize, Duration), ConfigError> {
        let (day, most) = (86_400, HumanDuration::secs(36_500 * 86_400));
        // More than twice what a gateway can serve at once by default: devices that take turns.
        let devices_max = within("devices_max", self.devices_max.unwrap_or(100_000), 1, 1 << 24)?;
        // A device that reports once a year keeps its numbers.
        let expiry =
            time("device_expiry", self.device_expiry, HumanDuration::secs(400 * day), LEAST_MS, most)?;
        let width = Duration::from_millis(window(self.window)?.as_millis().into());
        let open_max = future_max(self.future_max)? + width + grace(self.grace)?;
        if expiry <= open_max {
            return Err(value(
                "device_expiry",
                format!(
                    "{} is not longer than windows are open: future_max, a window and the grace are {}",
                    HumanDuration(expiry),
                    HumanDuration(open_max)
                ),
            ));
        }
        Ok((devices_max, expiry))
    }
}

impl Config {
    /// Says so when devices are forgotten that are away for a short time only.
    pub(crate) fn warn_of_expiry(&self) {
        if self.device_expiry < SHORT {
            tracing::warn!(
                device_expiry = ?self.device_expiry,
                "a device that is away for longer and sends again what was taken counts it twice: device_expiry is to be longer \
                 than any device is away"
            );
        }
    }
}
