//! A trouble that lasts: its first line in the log, then one at growing intervals, and one when it is over. Pure: the time
//! comes in as an argument.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

/// First interval between two lines of one trouble.
const INTERVAL_FIRST: Duration = Duration::from_secs(60);
/// Longest interval.
const INTERVAL_MAX: Duration = Duration::from_secs(600);
/// Reasons that are known of a trouble: a new one is written at once, as long as it is one of the first.
const REASONS_MAX: usize = 8;
/// A trouble that comes back within this time has not been over.
const RELAPSE: Duration = Duration::from_secs(60);

/// How a trouble stands, for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Since when.
    pub lasts: Duration,
    /// How often it was met, since it began.
    pub times: u64,
}

/// One trouble of a program, for example that an uplink fails.
#[derive(Debug, Default)]
pub struct Lasting(Option<Trouble>);

#[derive(Debug)]
struct Trouble {
    began: Instant,
    times: u64,
    next: Instant,
    interval: Duration,
    reasons: Vec<u64>,
    /// Since when it seems over.
    over: Option<Instant>,
    /// That was written.
    told_over: bool,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Lasting {
    /// It is met, for this reason. Answers how it stands when that is worth a line.
    pub fn met(&mut self, now: Instant, reason: &str) -> Option<Stand> {
        let relapsed =
            |trouble: &Trouble| trouble.over.is_none_or(|over| now.saturating_duration_since(over) < RELAPSE);
        let reason = hash(reason);
        let Some(trouble) = self.0.as_mut().filter(|trouble| relapsed(trouble)) else {
            self.0 = Some(Trouble {
                began: now,
                times: 1,
                next: now + INTERVAL_FIRST,
                interval: INTERVAL_FIRST,
                reasons: vec![reason],
                over: None,
                told_over: false,
            });
            return Some(Stand { lasts: Duration::ZERO, times: 1 });
        };
        trouble.times = trouble.times.saturating_add(1);
        trouble.over = None;
        let is_new = trouble.reasons.len() < REASONS_MAX && !trouble.reasons.contains(&reason);
        if is_new {
            trouble.reasons.push(reason);
        }
        let due = trouble.next <= now;
        if due {
            trouble.interval = (trouble.interval * 2).min(INTERVAL_MAX);
            trouble.next = now + trouble.interval;
            trouble.told_over = false;
        }
        (due || is_new).then(|| trouble.stand(now))
    }

    /// It seems to be over. Answers how it stood when that is worth a line: the first time, and once after each line that
    /// says that it came back.
    pub fn over(&mut self, now: Instant) -> Option<Stand> {
        let trouble = self.0.as_mut().filter(|trouble| trouble.over.is_none())?;
        trouble.over = Some(now);
        let told = std::mem::replace(&mut trouble.told_over, true);
        (!told).then(|| trouble.stand(now))
    }
}

impl Trouble {
    fn stand(&self, now: Instant) -> Stand {
        Stand { lasts: now.saturating_duration_since(self.began), times: self.times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_an_outage_take_few_lines_and_its_end_takes_one() {
        let start = Instant::now();
        let mut outage = Lasting::default();
        let at = |second: u64| start + Duration::from_secs(second);
        assert_eq!(outage.over(start), None, "nothing was wrong");
        let lines: Vec<u64> =
            (0..6 * 3_600).step_by(10).filter(|s| outage.met(at(*s), "refused").is_some()).collect();
        assert_eq!(lines.get(..5), Some(&[0, 60, 180, 420, 900][..]));
        assert!(lines.len() < 45, "{lines:?}");
        let stand = Stand { lasts: Duration::from_secs(21_600), times: 2_160 };
        assert_eq!(outage.over(at(21_600)), Some(stand));
        assert_eq!(outage.over(at(21_601)), None);
        let first = Stand { lasts: Duration::ZERO, times: 1 };
        assert_eq!(outage.met(at(30_000), "refused"), Some(first), "another one");
    }

    #[test]
    fn one_that_comes_and_goes_takes_no_more() {
        let start = Instant::now();
        let mut outage = Lasting::default();
        let mut lines = 0;
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            lines += usize::from(outage.met(now, "superseded").is_some());
            lines += usize::from(outage.over(now).is_some());
        }
        assert!((10..25).contains(&lines), "{lines}");
    }

    #[test]
    fn a_new_reason_is_written_at_once_but_not_any_number_of_them() {
        let start = Instant::now();
        let mut outage = Lasting::default();
        let written = (0..100).filter(|n| outage.met(start, &format!("reason {n}")).is_some()).count();
        assert_eq!(written, REASONS_MAX);
    }
}
