//! Bounds of connections.

use std::time::Duration;

use catchment_settings::HumanDuration;

use super::ConfigError;

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
