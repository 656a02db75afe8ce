//! Log lines for an outage: one at its start, further ones at growing intervals, and one at its end. Pure: the time is
//! an argument.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

/// First interval between two lines of the same outage.
const INTERVAL_FIRST: Duration = Duration::from_secs(60);
/// Longest interval.
const INTERVAL_MAX: Duration = Duration::from_secs(600);
/// Number of distinct reasons per outage that are logged at once.
const REASONS_MAX: usize = 8;
/// A failure within this time after a recovery continues the same outage.
const RELAPSE_WITHIN: Duration = Duration::from_secs(60);

/// Summary of an outage for a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageSummary {
    /// How long it has lasted.
    pub lasted: Duration,
    /// Failures since it began.
    pub failures: u64,
}

/// Tracks one kind of outage, such as a failing uplink.
#[derive(Debug, Default)]
pub struct OutageLog(Option<Outage>);

#[derive(Debug)]
struct Outage {
    began: Instant,
    failures: u64,
    next: Instant,
    interval: Duration,
    reasons: Vec<u64>,
    /// When it seemed to end.
    over: Option<Instant>,
    /// The recovery was reported.
    recovery_reported: bool,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl OutageLog {
    /// Records a failure with its reason; returns a summary when a line should be logged.
    pub fn record_failure(&mut self, now: Instant, reason: &str) -> Option<OutageSummary> {
        let relapsed = |outage: &Outage| {
            outage.over.is_none_or(|over| now.saturating_duration_since(over) < RELAPSE_WITHIN)
        };
        let reason = hash(reason);
        let Some(outage) = self.0.as_mut().filter(|outage| relapsed(outage)) else {
            self.0 = Some(Outage {
                began: now,
                failures: 1,
                next: now + INTERVAL_FIRST,
                interval: INTERVAL_FIRST,
                reasons: vec![reason],
                over: None,
                recovery_reported: false,
            });
            return Some(OutageSummary { lasted: Duration::ZERO, failures: 1 });
        };
        outage.failures = outage.failures.saturating_add(1);
        outage.over = None;
        let is_new = outage.reasons.len() < REASONS_MAX && !outage.reasons.contains(&reason);
        if is_new {
            outage.reasons.push(reason);
        }
        let due = outage.next <= now;
        if due {
            outage.interval = (outage.interval * 2).min(INTERVAL_MAX);
            outage.next = now + outage.interval;
            outage.recovery_reported = false;
        }
        (due || is_new).then(|| outage.summary(now))
    }

    /// Records a recovery; returns a summary when a line should be logged: the first time, and once after each line
    /// that reports a relapse.
    pub fn record_recovery(&mut self, now: Instant) -> Option<OutageSummary> {
        let outage = self.0.as_mut().filter(|outage| outage.over.is_none())?;
        outage.over = Some(now);
        let reported = std::mem::replace(&mut outage.recovery_reported, true);
        (!reported).then(|| outage.summary(now))
    }
}

impl Outage {
    fn summary(&self, now: Instant) -> OutageSummary {
        OutageSummary { lasted: now.saturating_duration_since(self.began), failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_outage_takes_few_lines_and_its_end_takes_one() {
        let start = Instant::now();
        let mut outage = OutageLog::default();
        let at = |second: u64| start + Duration::from_secs(second);
        assert_eq!(outage.record_recovery(start), None, "nothing was wrong");
        let lines: Vec<u64> = (0..6 * 3_600)
            .step_by(10)
            .filter(|s| outage.record_failure(at(*s), "refused").is_some())
            .collect();
        assert_eq!(lines.get(..5), Some(&[0, 60, 180, 420, 900][..]));
        assert!(lines.len() < 45, "{lines:?}");
        let summary = OutageSummary { lasted: Duration::from_secs(21_600), failures: 2_160 };
        assert_eq!(outage.record_recovery(at(21_600)), Some(summary));
        assert_eq!(outage.record_recovery(at(21_601)), None);
        let first = OutageSummary { lasted: Duration::ZERO, failures: 1 };
        assert_eq!(outage.record_failure(at(30_000), "refused"), Some(first), "another one");
    }

    #[test]
    fn an_intermittent_outage_takes_no_more_lines() {
        let start = Instant::now();
        let mut outage = OutageLog::default();
        let mut lines = 0;
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            lines += usize::from(outage.record_failure(now, "superseded").is_some());
            lines += usize::from(outage.record_recovery(now).is_some());
        }
        assert!((10..25).contains(&lines), "{lines}");
    }

    #[test]
    fn new_reasons_are_logged_at_once_up_to_a_bound() {
        let start = Instant::now();
        let mut outage = OutageLog::default();
        let written =
            (0..100).filter(|n| outage.record_failure(start, &format!("reason {n}")).is_some()).count();
        assert_eq!(written, REASONS_MAX);
    }
}
