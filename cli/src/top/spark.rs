//! The last minutes of a row as a line of characters.

use std::collections::HashMap;

use super::rows::Key;
use crate::{
    args::View,
    query_result::{QueryRequest, QueryResult},
};

/// Number of points.
pub(super) const POINTS: usize = 15;
/// Width of a point.
const STEP_MS: i64 = 60_000;
/// Windows of the last minute come this much after its end.
const SETTLING_MS: i64 = 10_000;
/// Most bytes of names in a query. The aggregator takes selectors of 4,096 bytes, and less of regular expressions: compiled, the
/// three of a device's names have 256 KiB together, and a letter takes some 40 bytes.
const SELECTOR_BYTES_MAX: usize = 1500;

/// Which characters are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glyphs {
    /// Block elements.
    Unicode,
    /// ASCII.
    Ascii,
}

/// The values of a row, oldest first; `None`: no readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spark(pub(super) [Option<f64>; POINTS]);

impl Spark {
    /// The newest value.
    pub(super) fn latest(&self) -> Option<f64> {
        self.0.last().copied().flatten()
    }

    /// One character for each value: from 0 on, or from the least value on.
    pub(super) fn text(&self, glyphs: Glyphs, from_zero: bool) -> String {
        let (levels, none): (&[char], char) = match glyphs {
            Glyphs::Unicode => (&['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'], '·'),
            Glyphs::Ascii => (&['_', ',', '-', '=', '+', '*', '#'], '.'),
        };
        let known = || self.0.iter().copied().flatten();
        let low = if from_zero { 0.0 } else { known().fold(f64::INFINITY, f64::min) };
        let high = known().fold(f64::NEG_INFINITY, f64::max);
        let glyph = |value: f64| {
            let part = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
            // All the same: a line in the middle, or at the bottom for 0.
            let part =
                if part.is_nan() { if value == 0.0 { 0.0 } else { 0.5 } } else { part.clamp(0.0, 1.0) };
            let level = (part * (levels.len() - 1) as f64).round() as usize;
            levels.get(level).copied().unwrap_or(none)
        };
        self.0.iter().map(|value| value.map_or(none, glyph)).collect()
    }
}

/// The labels that a view's rows are named by.
pub(super) fn labels(view: View) -> &'static [&'static str] {
    match view {
        View::Sites => &["site"],
        View::Gateways => &["site", "gateway"],
        View::Devices => &["site", "gateway", "device"],
        View::Metrics => &["__name__"],
    }
}

/// The query for some rows, and how many of them it covers: at least one, unless there are none.
pub(super) fn request(view: View, keys: &[Key], now_ms: i64) -> Option<(QueryRequest, usize)> {
    let labels = labels(view);
    let mut values: Vec<Vec<String>> = vec![Vec::new(); labels.len()];
    let (mut bytes, mut covered) = (0, 0);
    for key in keys {
        let key: Vec<String> = key.iter().map(|name| literal(name)).collect();
        let new =
            |(known, name): (&Vec<String>, &String)| if known.contains(name) { 0 } else { name.len() + 1 };
        bytes += values.iter().zip(&key).map(new).sum::<usize>();
        if covered > 0 && bytes > SELECTOR_BYTES_MAX {
            break;
        }
        covered += 1;
        for (known, name) in values.iter_mut().zip(key) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    let matchers =
        labels.iter().zip(&values).map(|(label, names)| format!("{label}=~\"{}\"", names.join("|")));
    let to_ms = now_ms.saturating_sub(SETTLING_MS).div_euclid(STEP_MS) * STEP_MS;
    let request = QueryRequest {
        selector: format!("{{{}}}", matchers.collect::<Vec<_>>().join(",")),
        from_ms: to_ms - STEP_MS * POINTS as i64,
        to_ms,
        step_ms: Some(STEP_MS),
        by: labels.iter().map(|&label| label.to_owned()).collect(),
        aggregates: vec![if view == View::Metrics { "mean" } else { "count" }.to_owned()],
        ..QueryRequest::default()
    };
    (covered > 0).then_some((request, covered))
}

/// A name as a regular expression that matches it alone, within PromQL's quotation marks.
fn literal(name: &str) -> String {
    let mut escaped = String::new();
    for character in name.chars() {
        match character {
            '\\' => escaped.push_str(r"\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                escaped.push_str(r"\\");
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Adds the series of a result to the sparklines of their rows.
pub(super) fn add(
    sparks: &mut HashMap<Key, Spark>,
    view: View,
    request: &QueryRequest,
    result: &QueryResult,
) {
    let Some(aggregate) = request.aggregates.first() else { return };
    for series in &result.series {
        let key =
            labels(view).iter().map(|&label| series.labels.get(label).cloned().unwrap_or_default()).collect();
        let spark: &mut Spark = sparks.entry(key).or_default();
        for point in &series.points {
            let index = usize::try_from(point.start_ms.saturating_sub(request.from_ms).div_euclid(STEP_MS));
            if let Some(place) = index.ok().and_then(|index| spark.0.get_mut(index)) {
                *place = result.number(point, aggregate).filter(|number| number.is_finite());
            }
        }
    }
}
