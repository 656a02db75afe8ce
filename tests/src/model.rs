//! The naive truth: a list of all readings, and results from scanning them.
//!
//! It shares no code with the product. Sums are exact as long as values are multiples of 1/1024 of moderate size, as in
//! the tests, so counts, sums, means, extremes, first and last are compared for equality.

mod ordered;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

pub use ordered::ORDERED;

/// Up to this many readings per point, quantiles are exact; beyond, within 1 %.
const QUANTILES_EXACT: f64 = 32.0;
/// Relative accuracy of quantiles of many readings.
const QUANTILE_ACCURACY: f64 = 0.0101;
/// Relative error of a variance by rounding.
const ROUNDING: f64 = 1e-12;
/// Relative error of sums over time, of terms of both signs: of the sum of their magnitudes a few roundings.
const ORDERED_ACCURACY: f64 = 1e-9;

/// Labels by name.
pub type Labels = BTreeMap<String, String>;
/// Aggregates by name, by start of the point in Unix milliseconds, by labels of the series.
pub type Table = BTreeMap<Labels, BTreeMap<i64, BTreeMap<String, f64>>>;

/// Readings of each series: Unix milliseconds and value.
type BySeries = BTreeMap<Labels, Vec<(i64, f64)>>;

/// Labels from pairs.
pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// One value of one device at one time.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Metric name.
    pub metric: String,
    /// The series' own labels and `site`, `gateway`, `device`.
    pub labels: Labels,
    /// Event time, Unix milliseconds.
    pub time_ms: i64,
    /// The value.
    pub value: f64,
}

/// A query.
#[derive(Clone, Debug)]
pub struct QueryRequest {
    /// The metric.
    pub metric: String,
    /// Labels that must be equal.
    pub matching: Labels,
    /// Windows start at or after this, Unix milliseconds.
    pub from_ms: i64,
    /// Windows start before this, Unix milliseconds.
    pub to_ms: i64,
    /// Width of a point; `None`: one point for the range.
    pub step_ms: Option<i64>,
    /// Group-by labels.
    pub by: Vec<String>,
    /// Names of aggregates.
    pub aggregates: Vec<String>,
}

/// All aggregates that the model knows, but for [`ORDERED`].
pub const AGGREGATES: [&str; 17] = [
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "range",
    "first",
    "last",
    "first_time",
    "last_time",
    "variance",
    "stddev",
    "sample_variance",
    "median",
    "p5",
    "p99",
    "p99.9",
];

impl QueryRequest {
    /// A query for a metric in a range: one point, all series merged, all aggregates.
    pub fn new(metric: &str, from_ms: i64, to_ms: i64) -> Self {
        Self {
            metric: metric.to_owned(),
            matching: Labels::new(),
            from_ms,
            to_ms,
            step_ms: None,
            by: Vec::new(),
            aggregates: AGGREGATES.map(str::to_owned).to_vec(),
        }
    }

    /// Only series with these labels.
    #[must_use]
    pub fn matching(mut self, pairs: &[(&str, &str)]) -> Self {
        self.matching = labels(pairs);
        self
    }

    /// Points of this width.
    #[must_use]
    pub fn step(mut self, step_ms: i64) -> Self {
        self.step_ms = Some(step_ms);
        self
    }

    /// Group-by labels.
    #[must_use]
    pub fn by(mut self, by: &[&str]) -> Self {
        self.by = by.iter().map(|&label| label.to_owned()).collect();
        self
    }

    /// Only these aggregates.
    #[must_use]
    pub fn aggregates(mut self, names: &[&str]) -> Self {
        self.aggregates = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// The query's selector.
    pub fn selector(&self) -> String {
        let matching: Vec<String> =
            self.matching.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}{{{}}}", self.metric, matching.join(","))
    }
}

/// All readings sent. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Model {
    readings: Arc<Mutex<Vec<Reading>>>,
}

impl Model {
    /// Records a reading.
    ///
    /// # Panics
    /// Never, unless the lock is poisoned.
    pub fn note(&self, reading: Reading) {
        self.readings.lock().unwrap().push(reading);
    }

    /// Takes the readings recorded so far, for a truth kept elsewhere: a long run has too many for a list.
    ///
    /// # Panics
    /// Never, unless the lock is poisoned.
    pub fn take(&self) -> Vec<Reading> {
        std::mem::take(&mut self.readings.lock().unwrap())
    }

    /// Number of readings.
    ///
    /// # Panics
    /// Never, unless the lock is poisoned.
    pub fn len(&self) -> usize {
        self.readings.lock().unwrap().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// End of the last window with a reading, for windows of this width.
    ///
    /// # Panics
    /// Never, unless the lock is poisoned.
    pub fn end_ms(&self, width_ms: i64) -> Option<i64> {
        let newest = self.readings.lock().unwrap().iter().map(|reading| reading.time_ms).max()?;
        Some((newest.div_euclid(width_ms) + 1) * width_ms)
    }

    /// The expected result, for windows of this width.
    ///
    /// # Panics
    /// When the query names an aggregate that the model does not know.
    pub fn answer(&self, query: &QueryRequest, width_ms: i64) -> Table {
        let mut groups: BTreeMap<(Labels, i64), BySeries> = BTreeMap::new();
        for reading in self.readings.lock().unwrap().iter() {
            let window = reading.time_ms.div_euclid(width_ms) * width_ms;
            let selected = reading.metric == query.metric
                && (query.from_ms..query.to_ms).contains(&window)
                && query.matching.iter().all(|(name, value)| reading.labels.get(name) == Some(value));
            if selected {
                let point = query.step_ms.map_or(query.from_ms, |step| window.div_euclid(step) * step);
                let apart = reading.labels.iter().filter(|(name, _)| query.by.contains(name));
                let key = (apart.map(|(name, value)| (name.clone(), value.clone())).collect(), point);
                let series = groups.entry(key).or_default().entry(reading.labels.clone()).or_default();
                series.push((reading.time_ms, reading.value));
            }
        }
        let mut table = Table::new();
        for ((labels, start), series) in groups {
            let series: Vec<Vec<(i64, f64)>> = series.into_values().collect();
            let all = series.concat();
            let range = point_range(query, start, width_ms);
            let value = |name: &String| {
                let value = match ORDERED.contains(&&**name) {
                    true => ordered::ordered_value(name, &series, &range),
                    false => aggregate_value(name, &all),
                };
                Some((name.clone(), value?))
            };
            let figures = query.aggregates.iter().filter_map(value).collect();
            table.entry(labels).or_default().insert(start, figures);
        }
        table
    }
}

/// The span of the windows that start in a point and in the query's range.
fn point_range(query: &QueryRequest, start_ms: i64, width_ms: i64) -> Range<i64> {
    let end_ms = query.step_ms.map_or(query.to_ms, |step| start_ms + step);
    let ceil = |ms: i64| -(-ms).div_euclid(width_ms) * width_ms;
    ceil(start_ms.max(query.from_ms))..ceil(end_ms.min(query.to_ms))
}

/// One aggregate of at least one reading; `None`: undefined.
fn aggregate_value(name: &str, readings: &[(i64, f64)]) -> Option<f64> {
    let count = readings.len() as f64;
    let mut values: Vec<f64> = readings.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let mut in_time = readings.to_vec();
    in_time.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (first, last) = (in_time[0], in_time[in_time.len() - 1]);
    let (least, greatest) = (values[0], values[values.len() - 1]);
    let sum: f64 = values.iter().sum();
    let deviations = || compensated(values.iter().map(|value| (value - sum / count).powi(2))) / count;
    Some(match name {
        "count" => count,
        "sum" => sum,
        "mean" => sum / count,
        "min" => least,
        "max" => greatest,
        "range" => greatest - least,
        "first" => first.1,
        "last" => last.1,
        "first_time" => first.0 as f64 / 1000.0,
        "last_time" => last.0 as f64 / 1000.0,
        "variance" => deviations(),
        "stddev" => deviations().sqrt(),
        "sample_variance" if count < 2.0 => return None,
        "sample_variance" => deviations() * count / (count - 1.0),
        "median" => quantile(&values, 50.0),
        name => quantile(&values, name.strip_prefix('p').unwrap().parse().unwrap()),
    })
}

/// Neumaier's compensated sum: the error of a plain sum of 200,000 terms exceeds [`ROUNDING`].
fn compensated(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for term in terms {
        let next = sum + term;
        lost += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
    }
    sum + lost
}

/// The value at rank `floor(p/100 (n - 1))` of sorted values.
fn quantile(sorted: &[f64], percent: f64) -> f64 {
    sorted[(percent / 100.0 * (sorted.len() - 1) as f64) as usize]
}

/// Differences of a result from the expected one.
pub fn differences(right: &Table, answer: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let empty = BTreeMap::new();
    let all: std::collections::BTreeSet<&Labels> = right.keys().chain(answer.keys()).collect();
    for labels in all {
        let (expected, got) = (right.get(labels).unwrap_or(&empty), answer.get(labels).unwrap_or(&empty));
        let starts: std::collections::BTreeSet<&i64> = expected.keys().chain(got.keys()).collect();
        for start in starts {
            match (expected.get(start), got.get(start)) {
                (Some(expected), Some(got)) if same(expected, got) => {}
                (expected, got) => {
                    found.push(format!("{labels:?} {start}: expected {expected:?}\n  got {got:?}"))
                }
            }
        }
    }
    found
}

fn same(right: &BTreeMap<String, f64>, answer: &BTreeMap<String, f64>) -> bool {
    let few = right.get("count").is_none_or(|count| *count <= QUANTILES_EXACT);
    right.len() == answer.len()
        && right.iter().all(|(name, expected)| {
            let Some(got) = answer.get(name) else { return false };
            let quantile = name == "median" || name.starts_with('p');
            let tolerance = match name.as_str() {
                "variance" | "stddev" | "sample_variance" => ROUNDING,
                ordered if ORDERED.contains(&ordered) => ORDERED_ACCURACY,
                _ if quantile && !few => QUANTILE_ACCURACY,
                _ => 0.0,
            };
            (got - expected).abs() <= expected.abs() * tolerance
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let model = Model::default();
        for (device, time_ms, value) in [("a", 0, 1.0), ("a", 999, 3.0), ("b", 1000, 10.0), ("b", -1, 100.0)]
        {
            model.note(Reading { metric: "m".into(), labels: labels(&[("device", device)]), time_ms, value });
        }
        model
    }

    #[test]
    fn a_variance_of_many_readings_is_as_exact_as_one_of_few() {
        // 64 equal shares of 0 to 63: the variance is (64² - 1)/12.
        let readings: Vec<(i64, f64)> = (0..256_000).map(|n| (n, (n % 64) as f64)).collect();
        let variance = aggregate_value("variance", &readings).unwrap();
        assert!((variance - 341.25).abs() <= 341.25 * ROUNDING / 10.0, "{variance}");
    }

    #[test]
    fn aggregates_match_a_calculation_by_hand() {
        let query =
            QueryRequest::new("m", 0, 2000).aggregates(&["count", "sum", "mean", "first", "last", "median"]);
        let all = &model().answer(&query, 1000)[&Labels::new()][&0];
        let expected = [
            ("count", 3.0),
            ("sum", 14.0),
            ("mean", 14.0 / 3.0),
            ("first", 1.0),
            ("last", 10.0),
            ("median", 3.0),
        ];
        assert_eq!(*all, expected.map(|(name, value)| (name.to_owned(), value)).into());
        let by = model().answer(&query.by(&["device"]).step(1000), 1000);
        assert_eq!(by[&labels(&[("device", "a")])].keys().collect::<Vec<_>>(), [&0]);
        assert_eq!(by[&labels(&[("device", "b")])][&1000]["count"], 1.0);
    }

    #[test]
    fn every_difference_is_found() {
        let query = QueryRequest::new("m", -1000, 2000).step(1000);
        let right = model().answer(&query, 1000);
        assert_eq!(differences(&right, &right), Vec::<String>::new());
        let mut doubled = right.clone();
        *doubled.get_mut(&Labels::new()).unwrap().get_mut(&0).unwrap().get_mut("count").unwrap() += 1.0;
        let mut missing = right.clone();
        missing.get_mut(&Labels::new()).unwrap().remove(&1000);
        for wrong in [doubled, missing, Table::new()] {
            assert!(!differences(&right, &wrong).is_empty());
            assert!(!differences(&wrong, &right).is_empty());
        }
    }
}
