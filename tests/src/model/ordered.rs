//! The naive truth of aggregates that depend on the order of readings: of each series alone, then summed.

use std::ops::Range;

/// Aggregates that depend on the order of readings; only of windows with few readings, where they are always known.
pub const ORDERED: [&str; 8] = [
    "increase",
    "rate",
    "resets",
    "changes",
    "integral",
    "integral_linear",
    "time_weighted_mean",
    "time_above(1)",
];

/// One aggregate of series with readings (Unix milliseconds and value) in a range; `None`: undefined.
pub(super) fn ordered_value(name: &str, series: &[Vec<(i64, f64)>], range: &Range<i64>) -> Option<f64> {
    let sorted = series.iter().map(|readings| {
        let mut readings = readings.clone();
        readings.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        readings
    });
    if name == "time_weighted_mean" {
        let [integral, covered] = sorted.fold([0.0, 0.0], |[integral, covered], readings| {
            let time = seconds(readings[0].0, readings[readings.len() - 1].0);
            [integral + steps(&readings, |from, seconds, _| from * seconds), covered + time]
        });
        return (covered > 0.0).then(|| integral / covered);
    }
    let values: Vec<f64> = sorted.filter_map(|readings| of_series(name, &readings, range)).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn of_series(name: &str, readings: &[(i64, f64)], range: &Range<i64>) -> Option<f64> {
    let flag = |is: bool| if is { 1.0 } else { 0.0 };
    Some(match name {
        "resets" => steps(readings, |from, _, to| flag(to < from)),
        "changes" => steps(readings, |from, _, to| flag(to != from)),
        "integral" => steps(readings, |from, seconds, _| from * seconds),
        "integral_linear" => steps(readings, |from, seconds, to| (from + to) / 2.0 * seconds),
        "time_above(1)" => steps(readings, |from, seconds, _| flag(from > 1.0) * seconds),
        "increase" => increase(readings, range)?,
        "rate" => increase(readings, range)? / seconds(range.start, range.end),
        other => panic!("the model does not know {other}"),
    })
}

fn seconds(from_ms: i64, to_ms: i64) -> f64 {
    (to_ms - from_ms) as f64 / 1000.0
}

/// The sum over neighbours: value, seconds to the next reading, its value.
fn steps(readings: &[(i64, f64)], of: impl Fn(f64, f64, f64) -> f64) -> f64 {
    readings.windows(2).map(|pair| of(pair[0].1, seconds(pair[0].0, pair[1].0), pair[1].1)).sum()
}

/// Prometheus' `increase`.
fn increase(readings: &[(i64, f64)], range: &Range<i64>) -> Option<f64> {
    let ((first_ms, first), (last_ms, last)) = (readings[0], readings[readings.len() - 1]);
    if first_ms == last_ms {
        return None;
    }
    let increase = last - first + steps(readings, |from, _, to| if to < from { from } else { 0.0 });
    let sampled = seconds(first_ms, last_ms);
    let distance = sampled / (readings.len() - 1) as f64;
    let mut start = seconds(range.start, first_ms);
    if increase > 0.0 && first >= 0.0 {
        start = start.min(sampled * first / increase);
    }
    let extended = [start, seconds(last_ms, range.end)]
        .map(|gap| if gap < distance * 1.1 { gap } else { distance / 2.0 })
        .iter()
        .sum::<f64>();
    Some(increase * (sampled + extended) / sampled)
}
