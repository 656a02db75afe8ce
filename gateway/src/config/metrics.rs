//! The configuration of single metrics: which optional parts their windows carry.

use catchment_partial::Parts;
use catchment_proto::MetricName;
use serde::{Deserialize, Serialize};

use super::{ConfigError, value};
use crate::fold::MetricParts;

/// Most tables `[[metric]]`: one entry of the journal holds them all.
const METRICS_MAX: usize = 1_000;

/// A table `[[metric]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSetting {
    /// The metric's name, or the beginning of several names and `*`.
    pub name: String,
    /// Names of the optional parts that its windows carry.
    pub parts: Vec<String>,
}

/// Checks the tables `[[metric]]`.
pub(super) fn metric_parts(given: &[MetricSetting]) -> Result<MetricParts, ConfigError> {
    if given.len() > METRICS_MAX {
        return Err(value("metric", format!("{} tables, at most {METRICS_MAX} are allowed", given.len())));
    }
    let mut rules = MetricParts::default();
    for MetricSetting { name, parts } in given {
        let error = |cause: String| value("metric", format!("{name:?}: {cause}"));
        let prefix = name.strip_suffix('*');
        // A star alone stands for all metrics.
        if prefix != Some("") {
            MetricName::new(prefix.unwrap_or(name))
                .map_err(|e| error(format!("{e}; name a metric, or give the beginning of its name and *")))?;
        }
        let mut all = Parts::NONE;
        for part in parts {
            all = all.with(part.parse().map_err(|e: catchment_partial::PartsError| error(e.to_string()))?);
        }
        if !rules.insert(name, all) {
            return Err(error("is given twice: put all of its parts into one table".to_owned()));
        }
    }
    Ok(rules)
}
