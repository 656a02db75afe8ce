//! How many devices the gateway knows, and when it forgets unused ones.

use std::{num::NonZeroU32, time::Duration};

use catchment_settings::{HumanDuration, token_bucket::Rate};

use super::{Config, ConfigError, Settings, future_max, grace, time, value, window, within};

/// The least `device_expiry`. A safe value depends on how long devices are away, which this code cannot know; values
/// below [`SHORT`] get a warning.
const LEAST_MS: u64 = 10_000;
/// Devices commonly lose their network for this long.
const SHORT: Duration = Duration::from_secs(3_600);

/// How long a device may send faster than `readings_per_second_max` before that holds.
const READINGS_BURST: Duration = Duration::from_secs(5);

pub(super) fn readings_rate(given: Option<u32>) -> Result<Option<Rate>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    let given = within("readings_per_second_max", given, 1, 100_000_000)?;
    Ok(NonZeroU32::new(given).map(|per_second| Rate::new(per_second, READINGS_BURST)))
}

impl Settings {
    pub(super) fn devices(&self) -> Result<(usize, Duration), ConfigError> {
        let (day, most) = (86_400, HumanDuration::secs(36_500 * 86_400));
        // Five times the default `connections_max`, for devices that take turns.
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
                    "{} is too short: windows are open for up to {} (future_max + window + grace)",
                    HumanDuration(expiry),
                    HumanDuration(open_max)
                ),
            ));
        }
        Ok((devices_max, expiry))
    }

    /// Open windows of all series, and of one device.
    pub(super) fn open_windows(&self) -> Result<(usize, usize), ConfigError> {
        let all = within("open_windows_max", self.open_windows_max.unwrap_or(1_000_000), 1_000, 1 << 30)?;
        // A day of late windows of a device with one reading a second; they close within seconds.
        let device = self.device_open_windows_max.unwrap_or(100_000);
        Ok((all, within("device_open_windows_max", device, 100, 1 << 30)?))
    }
}

impl Config {
    /// Warns when devices that are away only briefly are forgotten.
    pub(crate) fn warn_of_expiry(&self) {
        if self.device_expiry < SHORT {
            tracing::warn!(
                device_expiry = ?self.device_expiry,
                "a device that is away for longer and resends counts readings twice: set device_expiry to more than \
                 any device is away"
            );
        }
    }
}
