//! A range query of the Prometheus API, over mutual TLS, beside Debian's Prometheus over plain HTTP with the same readings.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::stored::Stored;
use crate::{
    benchmarks::{Bench, goals::at_most_times},
    load::{
        history::{DAY_MS, Formula, days_ago},
        http::Http,
    },
    reference::prometheus,
    report::{Measurement, Report, quantile},
};

const WIDTH_MS: i64 = 10_000;
/// Readings of a window.
const READINGS: i64 = 2;
const STEPS: i64 = 1_000;
/// Queries of a measurement, of which the median counts.
const QUERIES: usize = 9;
/// Largest relative difference of the sums of both answers.
const ERROR: f64 = 1e-9;
const EXPRESSION: &str = "avg by (site) (avg_over_time(m0[1m]))";

/// A hundred series of ten sites, of the day up to the last midnight.
fn history(bench: &Bench) -> Formula {
    Formula {
        series: bench.sized(100, 20) as i64,
        metrics: 1,
        sites: bench.sized(10, 2) as i64,
        windows: bench.sized((DAY_MS / WIDTH_MS) as usize, 1_200) as i64,
        width_ms: WIDTH_MS,
        readings: READINGS,
        start_ms: days_ago(1),
        skipped: 0,
    }
}

/// A connection, and what it asks.
struct Asker {
    connection: Http,
    form: String,
}

impl Asker {
    /// Number and sum of the values of an answer.
    fn answer(&mut self) -> anyhow::Result<(usize, f64)> {
        let (body, _) = self.connection.post("/api/v1/query_range", &self.form)?;
        let answer: Value = serde_json::from_str(&body)?;
        let series = answer.pointer("/data/result").and_then(Value::as_array).context("a result")?;
        let points = series
            .iter()
            .flat_map(|series| series.get("values").and_then(Value::as_array).into_iter().flatten());
        let numbers = points.map(|point| {
            point.get(1).and_then(Value::as_str).context("a value")?.parse::<f64>().context("a number")
        });
        let numbers = numbers.collect::<anyhow::Result<Vec<f64>>>()?;
        Ok((numbers.len(), numbers.iter().sum()))
    }

    /// Milliseconds until the end of the answer, the median.
    fn milliseconds(&mut self) -> anyhow::Result<f64> {
        let once =
            |_| self.connection.post("/api/v1/query_range", &self.form).map(|(_, seconds)| seconds * 1e3);
        Ok(quantile(&(0..QUERIES).map(once).collect::<anyhow::Result<Vec<f64>>>()?, 0.5))
    }
}

fn form(history: &Formula, step_ms: i64) -> String {
    let end = history.end_ms() / 1000;
    let step = step_ms / 1000;
    let expression = EXPRESSION.replace(' ', "+");
    format!("query={expression}&start={}&end={end}&step={step}", end - (STEPS - 1) * step)
}

/// With a step of a window, whose ranges overlap, and one of a minute.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let history = history(bench);
    let stored = Stored::without_server(bench, "promql", history)?;
    let server = stored.settled(bench)?;
    let reference =
        prometheus::start(&bench.folder("prometheus"), &history).map_err(|error| format!("{error:#}"));
    for step_ms in [WIDTH_MS, 6 * WIDTH_MS] {
        let form = form(&history, step_ms);
        let connection = Http::connect(server.addr, Some(&bench.pki.operator("reader")?))?;
        let mut ours = Asker { connection, form: form.clone() };
        let own = ours.answer()?;
        let mut theirs = match &reference {
            Ok(server) => Ok(Asker { connection: Http::connect(server.addr, None)?, form }),
            Err(reason) => Err(reason.clone()),
        };
        if let Ok(theirs) = &mut theirs {
            let other = theirs.answer()?;
            let off = (own.1 - other.1).abs() / other.1.abs();
            ensure!(
                own.0 == other.0 && off <= ERROR,
                "{own:?} points and their sum, Prometheus has {other:?}"
            );
        }
        let mut asked;
        let theirs: Result<&mut dyn FnMut() -> anyhow::Result<f64>, String> = match &mut theirs {
            Ok(theirs) => {
                asked = || theirs.milliseconds();
                Ok(&mut asked)
            }
            Err(reason) => Err(reason.clone()),
        };
        let name = "Debian's Prometheus, plain HTTP".to_owned();
        let (ours, reference) = bench.in_turn_if(&mut || ours.milliseconds(), name, theirs)?;
        report.measurements.push(Measurement {
            what: format!(
                "query_range of {} series × {STEPS} steps of {} s, avg by (site) (avg_over_time(x[1m])), over mutual TLS",
                history.series,
                step_ms / 1000
            ),
            unit: "ms",
            ours,
            reference,
            goal: at_most_times(1.0, 1.0 / 3.0),
        });
    }
    Ok(())
}
