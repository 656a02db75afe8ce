//! A naive model of the figures over time: one loop over all readings in order.

use std::collections::BTreeMap;

use catchment_partial::{OTHER_STATE, STATES_MAX, Timestamp};

use crate::build::window;
use crate::data::Reading;

/// What the readings of one series amount to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Naive {
    pub(crate) count: usize,
    pub(crate) increase: Option<f64>,
    pub(crate) delta: Option<f64>,
    pub(crate) resets: u64,
    pub(crate) changes: u64,
    /// Seconds from the first to the last reading.
    pub(crate) covered: f64,
    pub(crate) integral: f64,
    pub(crate) integral_linear: f64,
    /// Seconds above and below the bound.
    pub(crate) above: f64,
    pub(crate) below: f64,
    pub(crate) state_times: BTreeMap<String, f64>,
    pub(crate) transitions: u64,
    pub(crate) last_state: Option<String>,
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.saturating_nanos_since(from) as f64 / 1e9
}

/// Prometheus' `extrapolatedRate`, with `delta` for gauges.
fn extrapolated(
    points: &[(Timestamp, f64)],
    measured: f64,
    is_counter: bool,
    ends: [Timestamp; 2],
) -> Option<f64> {
    let [(first, value), .., (last, _)] = points else { return None };
    let sampled = seconds(*first, *last);
    if sampled <= 0.0 {
        return None;
    }
    let mean = sampled / (points.len() - 1) as f64;
    let (mut to_start, to_end) = (seconds(ends[0], *first), seconds(*last, ends[1]));
    if is_counter && measured > 0.0 && *value >= 0.0 {
        to_start = to_start.min(sampled * (value / measured));
    }
    let extended = [to_start, to_end].map(|end| if end < mean * 1.1 { end } else { mean / 2.0 });
    Some(measured * ((sampled + extended[0] + extended[1]) / sampled))
}

impl Naive {
    /// That of readings in any order, in a range.
    pub(crate) fn of(readings: &[Reading], bound: f64, ends: [Timestamp; 2]) -> Self {
        let mut naive = Self::default();
        naive.numbers(readings, bound, ends);
        naive.states(readings);
        naive
    }

    fn numbers(&mut self, readings: &[Reading], bound: f64, ends: [Timestamp; 2]) {
        let number = |(time, value): &Reading| Some((*time, value.number()? + 0.0));
        let mut points: Vec<_> = readings.iter().filter_map(number).collect();
        points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        self.count = points.len();
        let mut correction = 0.0;
        for pair in points.windows(2) {
            let [(from, a), (to, b)] = *pair else { continue };
            let nanos = seconds(from, to);
            self.changes += u64::from(a != b);
            if b < a {
                self.resets += 1;
                correction += a;
            }
            self.covered += nanos;
            self.integral += a * nanos;
            self.integral_linear += (a / 2.0 + b / 2.0) * nanos;
            self.above += if a > bound { nanos } else { 0.0 };
            self.below += if a < bound { nanos } else { 0.0 };
        }
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            self.delta = extrapolated(&points, last.1 - first.1, false, ends);
            self.increase = extrapolated(&points, last.1 - first.1 + correction, true, ends);
        }
    }

    fn states(&mut self, readings: &[Reading]) {
        let state = |(time, value): &Reading| Some((*time, value.state()?.to_owned()));
        let mut states: Vec<_> = readings.iter().filter_map(state).collect();
        states.sort();
        // In each window the least states are told apart.
        for group in states.chunk_by_mut(|a, b| window(a.0) == window(b.0)) {
            let mut texts: Vec<_> =
                group.iter().map(|(_, text)| text.clone()).filter(|text| text != OTHER_STATE).collect();
            texts.sort();
            texts.dedup();
            texts.truncate(STATES_MAX);
            for (_, text) in group {
                if !texts.contains(text) {
                    OTHER_STATE.clone_into(text);
                }
            }
        }
        states.sort();
        for pair in states.windows(2) {
            let [(from, a), (to, b)] = pair else { continue };
            *self.state_times.entry(a.clone()).or_default() += seconds(*from, *to);
            self.transitions += u64::from(a != b);
        }
        if let Some((_, last)) = states.last() {
            self.state_times.entry(last.clone()).or_default();
            self.last_state = Some(last.clone());
        }
    }
}
