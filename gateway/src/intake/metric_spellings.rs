//! How metrics are written within a connection of JSON, where two names must not be mapped to one.

use hashbrown::HashMap;

/// How the names were written that differ from their metric's name: at most one a metric.
#[derive(Debug, Default)]
pub(super) struct MetricSpellings(Option<Box<HashMap<Box<str>, Box<str>>>>);

impl MetricSpellings {
    /// Whether this spelling may be used for the metric; an error if another spelling came first. `is_used`: a series
    /// of the metric is known.
    ///
    /// # Errors
    /// The message for the device.
    pub(super) fn check(
        &self,
        written: &str,
        metric: &str,
        is_used: impl FnOnce() -> bool,
    ) -> Result<(), String> {
        let spellings = self.0.as_deref();
        if written == metric && spellings.is_none() {
            return Ok(());
        }
        let first = match spellings.and_then(|spellings| spellings.get(metric)) {
            Some(first) if **first == *written => return Ok(()),
            Some(first) => first,
            None if written == metric || !is_used() => return Ok(()),
            None => metric,
        };
        let short = |text: &str| text.chars().take(60).collect::<String>();
        Err(format!(
            "{:?} and {:?} are both metric {metric}, which the first of a connection has: rename one",
            short(written),
            short(first)
        ))
    }

    /// Notes how the name of a metric that is known is written.
    pub(super) fn note(&mut self, written: &str, metric: &str) {
        if written != metric {
            let spellings = self.0.get_or_insert_default();
            if !spellings.contains_key(metric) {
                spellings.insert(metric.into(), written.into());
            }
        }
    }

    /// Whether nothing was noted.
    #[cfg(test)]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
