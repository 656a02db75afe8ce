//! The demo's display: one row for each site and metric, from query results.
//!
//! On a terminal the table is updated in place; elsewhere plain lines are printed at intervals.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use catchment_proto::wire;

use crate::{
    failure::Failure,
    print::print,
    query_result::QueryResult,
    render::{rounded, table},
    time::rfc3339,
};

/// Aggregates of a row, in the order of the columns.
pub(super) const AGGREGATES: [&str; 5] = ["count", "mean", "p50", "p99", "last"];
/// Labels of a row.
pub(super) const BY: [&str; 2] = ["site", "__name__"];
/// Interval between lines without a terminal.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Standard output, as the demo uses it.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    /// Lines of the table on the terminal.
    lines: usize,
    printed_at: Option<Instant>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), lines: 0, printed_at: None }
    }

    /// Prints a text that is not overwritten.
    ///
    /// # Errors
    /// Standard output fails.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.lines = 0;
        print(&format!("{text}\n"))
    }

    /// Shows the newest rows under a heading.
    ///
    /// # Errors
    /// Standard output fails.
    pub(super) fn show(&mut self, heading: &str, rows: &[Vec<String>]) -> Result<(), Failure> {
        if !self.is_terminal {
            if self.printed_at.is_some_and(|at| at.elapsed() < LINES_EVERY) {
                return Ok(());
            }
            self.printed_at = Some(Instant::now());
            return print(&plain(heading, rows));
        }
        let mut text = String::new();
        if self.lines > 0 {
            // Up to the first line of the last table, then clear to the end of the screen.
            let _ = write!(text, "\u{1b}[{}A\r\u{1b}[J", self.lines);
        }
        let body = format!("{heading}\n{}", table(rows, 2));
        self.lines = body.lines().count();
        text.push_str(&body);
        print(&text)
    }
}

/// Rows as lines without decoration.
fn plain(heading: &str, rows: &[Vec<String>]) -> String {
    let mut text = format!("{heading}\n");
    let mut rows = rows.iter();
    let header = rows.next().cloned().unwrap_or_default();
    for row in rows {
        let cells = header.iter().zip(row).map(|(name, value)| format!("{name}={value}"));
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join(" "));
    }
    text
}

/// Header and rows: site, metric, devices, and the aggregates of the result.
pub(super) fn rows(result: &QueryResult, series: &[wire::Series]) -> Vec<Vec<String>> {
    let devices = devices(series);
    let header = ["site", "metric", "devices"].into_iter().chain(AGGREGATES);
    let mut rows = vec![header.map(str::to_owned).collect()];
    for merged in &result.series {
        let label = |name: &str| merged.labels.get(name).map_or("", String::as_str);
        let (site, metric) = (label("site"), label("__name__"));
        for point in &merged.points {
            let count = devices.get(&(site, metric)).map_or(0, HashSet::len);
            let mut row = vec![site.to_owned(), metric.to_owned(), count.to_string()];
            row.extend(AGGREGATES.iter().map(|name| rounded(name, result.number(point, name))));
            rows.push(row);
        }
    }
    rows
}

/// The devices of each site and metric.
fn devices(series: &[wire::Series]) -> BTreeMap<(&str, &str), HashSet<&str>> {
    let mut devices: BTreeMap<(&str, &str), HashSet<&str>> = BTreeMap::new();
    for one in series {
        let label = |name: &str| one.labels.get(name).map_or("", String::as_str);
        devices.entry((label("site"), &one.metric)).or_default().insert(label("device"));
    }
    devices
}

/// The line above the table.
pub(super) fn heading(elapsed: Duration, acknowledged: u64, complete_until_ms: Option<i64>) -> String {
    let elapsed = humantime::format_duration(Duration::from_secs(elapsed.as_secs()));
    let complete = complete_until_ms.map_or_else(|| "not yet known".to_owned(), rfc3339);
    format!(
        "after {elapsed}: {acknowledged} readings acknowledged to devices; results complete until {complete}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_result::{Point, ResultSeries, Value};

    fn series(metric: &str, device: &str) -> wire::Series {
        let labels = [("site", "berlin"), ("device", device)].map(|(n, v)| (n.to_owned(), v.to_owned()));
        wire::Series {
            metric: metric.to_owned(),
            labels: labels.into(),
            first_window_ms: 0,
            last_window_ms: 0,
        }
    }

    #[test]
    fn a_row_has_its_devices_and_aggregates() {
        let labels =
            [("site", "berlin"), ("__name__", "temperature")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let point = Point {
            start_ms: 0,
            values: [Some(20.0), Some(21.5), Some(21.4), Some(23.0), None]
                .map(|v| v.map(Value::Number))
                .to_vec(),
        };
        let result = QueryResult {
            aggregates: AGGREGATES.map(str::to_owned).into(),
            series: vec![ResultSeries {
                labels: labels.into(),
                points: vec![point],
                ..ResultSeries::default()
            }],
            ..QueryResult::default()
        };
        let known = [series("temperature", "a"), series("temperature", "b"), series("humidity", "a")];
        let rows = rows(&result, &known);
        assert_eq!(rows[1], ["berlin", "temperature", "2", "20", "21.5", "21.4", "23", "-"]);
        let lines = plain("now", &rows);
        assert_eq!(
            lines,
            "now\n  site=berlin metric=temperature devices=2 count=20 mean=21.5 p50=21.4 p99=23 last=-\n"
        );
    }
}
