//! The expected result: six aggregates of each series and window, updated reading by reading, and the comparison.
//!
//! It shares no code with the product. Values are multiples of 1/8 of moderate size, so sums are exact and
//! everything is compared for equality.

use std::collections::BTreeMap;

use catchment_tests::model::{Labels, QueryRequest, Reading, Table};

/// The aggregates compared.
pub(crate) const AGGREGATES: [&str; 6] = ["count", "sum", "min", "max", "first", "last"];
/// Width of the compared points. Gateways change the width of their windows, always to one that divides it.
pub(crate) const POINT_MS: i64 = 1000;
/// Labels that tell series of one metric apart.
pub(crate) const GROUP_BY: [&str; 4] = ["site", "gateway", "device", "room"];

/// The aggregates of one series and window.
#[derive(Clone, Copy, Debug)]
struct Aggregates {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// Time and value; of equal times, the least value.
    first: (i64, f64),
    /// Time and value; of equal times, the greatest value.
    last: (i64, f64),
}

impl Aggregates {
    fn of(time: i64, value: f64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, first: (time, value), last: (time, value) }
    }

    fn add(&mut self, time: i64, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if time < self.first.0 || (time == self.first.0 && value < self.first.1) {
            self.first = (time, value);
        }
        if time > self.last.0 || (time == self.last.0 && value > self.last.1) {
            self.last = (time, value);
        }
    }

    fn equals(&self, got: &BTreeMap<String, f64>) -> bool {
        let right = [self.count as f64, self.sum, self.min, self.max, self.first.1, self.last.1];
        AGGREGATES.iter().zip(right).all(|(name, right)| got.get(*name) == Some(&right))
    }
}

/// All series of a run by metric and labels, each with its windows by start.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    series: BTreeMap<String, BTreeMap<Labels, BTreeMap<i64, Aggregates>>>,
    pub(crate) readings: u64,
    pub(crate) newest_ms: i64,
}

/// The result of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) series: u64,
    pub(crate) equal: u64,
    /// Windows that are absent or have too small a count.
    pub(crate) missing: u64,
    /// Windows with too great a count.
    pub(crate) doubled: u64,
    /// Windows that should not exist.
    pub(crate) extra: u64,
    /// Windows with the right count but another wrong aggregate.
    pub(crate) different: u64,
    /// The first differences, in words.
    pub(crate) mismatches: Vec<String>,
}

impl Verdict {
    pub(crate) fn windows(&self) -> u64 {
        self.equal + self.missing + self.doubled + self.different
    }

    pub(crate) fn is_good(&self) -> bool {
        self.missing + self.doubled + self.different + self.extra == 0 && self.equal > 0
    }

    fn report(&mut self, what: String) {
        if self.mismatches.len() < 20 {
            self.mismatches.push(what);
        }
    }
}

impl Truth {
    pub(crate) fn add(&mut self, readings: Vec<Reading>) {
        for Reading { metric, labels, time_ms, value } in readings {
            let start = time_ms.div_euclid(POINT_MS) * POINT_MS;
            let windows = self.series.entry(metric).or_default().entry(labels).or_default();
            windows
                .entry(start)
                .and_modify(|aggregates| aggregates.add(time_ms, value))
                .or_insert(Aggregates::of(time_ms, value));
            self.readings += 1;
            self.newest_ms = self.newest_ms.max(time_ms);
        }
    }

    pub(crate) fn metrics(&self) -> Vec<String> {
        self.series.keys().cloned().collect()
    }

    /// All series, as the aggregator lists them.
    pub(crate) fn series(&self) -> Vec<(String, Labels)> {
        let all = |(metric, series): (&String, &BTreeMap<Labels, _>)| {
            series.keys().map(|labels| (metric.clone(), labels.clone())).collect::<Vec<_>>()
        };
        self.series.iter().flat_map(all).collect()
    }

    /// A query for every window of a metric from 1970 on, so that unexpected windows show up too.
    pub(crate) fn query(&self, metric: &str) -> QueryRequest {
        let until = self.newest_ms + 86_400_000;
        QueryRequest::new(metric, 0, until / POINT_MS * POINT_MS)
            .step(POINT_MS)
            .by(&GROUP_BY)
            .aggregates(&AGGREGATES)
    }

    /// Compares a result of [`Truth::query`].
    pub(crate) fn compare(&self, metric: &str, answer: &Table, verdict: &mut Verdict) {
        let (none, no_windows) = (BTreeMap::new(), BTreeMap::new());
        let right = self.series.get(metric).unwrap_or(&none);
        verdict.series += right.len() as u64;
        for (labels, windows) in right {
            let got = answer.get(labels);
            for (start, aggregates) in windows {
                let point = got.and_then(|points| points.get(start));
                let count = point.and_then(|point| point.get("count")).copied().unwrap_or(0.0);
                match point {
                    Some(point) if aggregates.equals(point) => {
                        verdict.equal += 1;
                        continue;
                    }
                    _ if count < aggregates.count as f64 => verdict.missing += 1,
                    _ if count > aggregates.count as f64 => verdict.doubled += 1,
                    _ => verdict.different += 1,
                }
                verdict
                    .report(format!("{metric} {labels:?} {start}: expected {aggregates:?}, got {point:?}"));
            }
        }
        for (labels, points) in answer {
            let windows = right.get(labels).unwrap_or(&no_windows);
            for start in points.keys().filter(|start| !windows.contains_key(start)) {
                verdict.extra += 1;
                verdict.report(format!("{metric} {labels:?} {start}: unexpected window"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        let mut truth = Truth::default();
        let readings = [(5, 2.0), (999, -1.0), (5, 1.0), (1000, 4.0)];
        let reading =
            |(time_ms, value)| Reading { metric: "m".into(), labels: Labels::new(), time_ms, value };
        truth.add(readings.map(reading).into());
        truth
    }

    fn answer() -> Table {
        let point = |aggregates: [f64; 6]| {
            AGGREGATES.iter().map(|name| (*name).to_owned()).zip(aggregates).collect::<BTreeMap<_, _>>()
        };
        let points =
            [(0, point([3.0, 2.0, -1.0, 2.0, 1.0, -1.0])), (1000, point([1.0, 4.0, 4.0, 4.0, 4.0, 4.0]))];
        [(Labels::new(), points.into())].into()
    }

    fn verdict(answer: &Table) -> Verdict {
        let mut verdict = Verdict::default();
        truth().compare("m", answer, &mut verdict);
        verdict
    }

    #[test]
    fn a_correct_result_is_equal_and_every_wrong_one_is_found() {
        let good = verdict(&answer());
        assert!(good.is_good() && good.equal == 2 && good.windows() == 2, "{good:?}");
        assert_eq!(verdict(&Table::new()).missing, 2);
        for (name, wrong) in AGGREGATES.iter().flat_map(|name| [(name, 7.0), (name, -7.0)]) {
            let mut table = answer();
            let point = table.get_mut(&Labels::new()).unwrap().get_mut(&0).unwrap();
            *point.get_mut(*name).unwrap() += wrong;
            let bad = verdict(&table);
            assert!(!bad.is_good() && bad.equal == 1 && bad.windows() == 2, "{name}: {bad:?}");
        }
        let mut more = answer();
        let points = more[&Labels::new()].clone();
        more.insert([("device".to_owned(), "ghost".to_owned())].into(), points.clone());
        assert_eq!(verdict(&more).extra, 2);
        let mut later = answer();
        later.get_mut(&Labels::new()).unwrap().insert(2000, points[&0].clone());
        assert_eq!(verdict(&later).extra, 1);
    }
}
