//! Answers over a month of windows, beside DuckDB over the raw readings: right after a backlog, and once it is in blocks.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use catchment_proto::wire::AggregateRequest;

use super::{Bench, goals::at_most_times};
use crate::{
    load::{
        history::{HISTORY_SQL, History, WIDTH_MS},
        queries::{self, Answer},
    },
    process::Server,
    reference::duckdb::DuckDb,
    report::{Measurement, Reference},
    world,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;
/// A quantile may be off by this share; a mean only by rounding.
const QUANTILE_ERROR: f64 = 0.01;
const MEAN_ERROR: f64 = 1e-9;

/// A question, to both sides.
struct Question {
    what: &'static str,
    selector: &'static str,
    by: &'static [&'static str],
    step_ms: i64,
    aggregates: &'static [&'static str],
    sql: &'static str,
    error: f64,
    /// Times of DuckDB's: once it is in blocks. Right after the backlog, twice the floor.
    floor: f64,
    aim: f64,
}

const QUESTIONS: [Question; 4] = [
    Question {
        what: "one series, 30 days by the hour, mean and p99",
        selector: r#"m0{device="press-00000"}"#,
        by: &[],
        step_ms: HOUR_MS,
        aggregates: &["mean", "p99"],
        sql: "SELECT date_trunc('hour', time), avg(value), quantile_disc(value, 0.99) FROM readings \
              WHERE device = 'press-00000' AND metric = 'm0' GROUP BY 1",
        error: QUANTILE_ERROR,
        floor: 0.5,
        aim: 0.05,
    },
    Question {
        what: "one series, 30 days, one point, p99",
        selector: r#"m0{device="press-00000"}"#,
        by: &[],
        step_ms: 0,
        aggregates: &["p99"],
        sql: "SELECT quantile_disc(value, 0.99) FROM readings WHERE device = 'press-00000' AND metric = 'm0'",
        error: QUANTILE_ERROR,
        floor: 1.0,
        aim: 0.1,
    },
    Question {
        what: "20 series by device and metric, by the day, p99",
        selector: r#"{device=~"press-.*"}"#,
        by: &["device", "__name__"],
        step_ms: DAY_MS,
        aggregates: &["p99"],
        sql: "SELECT device, metric, date_trunc('day', time), quantile_disc(value, 0.99) FROM readings GROUP BY 1, 2, 3",
        error: QUANTILE_ERROR,
        floor: 0.1,
        aim: 0.01,
    },
    Question {
        what: "one series, every window, mean",
        selector: r#"m0{device="press-00000"}"#,
        by: &[],
        step_ms: WIDTH_MS,
        aggregates: &["mean"],
        sql: "SELECT epoch_ms(time) // 10000, avg(value) FROM readings \
              WHERE device = 'press-00000' AND metric = 'm0' GROUP BY 1",
        error: MEAN_ERROR,
        floor: 1.0,
        aim: 1.0 / 3.0,
    },
];

impl Question {
    fn request(&self, history: &History) -> AggregateRequest {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        AggregateRequest {
            selector: self.selector.to_owned(),
            from_ms: history.start_ms,
            to_ms: history.end_ms(),
            step_ms: self.step_ms,
            by: texts(self.by),
            aggregates: texts(self.aggregates),
            columns: true,
            ..AggregateRequest::default()
        }
    }

    /// Seconds of the quickest of several times; the answer must be that of the reference.
    fn ask(&self, bench: &Bench, server: &Server, history: &History) -> anyhow::Result<Answer> {
        let mut best: Option<Answer> = None;
        for _ in 0..bench.repeat.max(3) {
            let answer = queries::answer(server.addr, &bench.pki.operator("reader")?, self.request(history))?;
            best = best.into_iter().chain([answer]).min_by(|a, b| a.seconds.total_cmp(&b.seconds));
        }
        best.context("asked at least once")
    }

    fn compare(&self, ours: &Answer, theirs: &crate::reference::duckdb::Answer) -> anyhow::Result<()> {
        ensure!(
            ours.points as f64 == theirs.rows,
            "{}: {} points, {} rows",
            self.what,
            ours.points,
            theirs.rows
        );
        let off = (ours.sum - theirs.sum).abs() / theirs.sum.abs();
        ensure!(off <= self.error, "{}: {} where DuckDB has {}", self.what, ours.sum, theirs.sum);
        Ok(())
    }
}

fn start(bench: &Bench, dir: &Path) -> anyhow::Result<Server> {
    world::aggregator_with(&bench.pki, dir, &["--query-points-max", "10000000"])
}

/// Each question twice.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let dir = bench.folder("query");
    fs::create_dir_all(&dir)?;
    let days = bench.sized(30, 1) as i64;
    let history = History { series: 20, windows: days * DAY_MS / WIDTH_MS, start_ms: START_MS };
    let sql = HISTORY_SQL
        .replace("START_MS", &history.start_ms.to_string())
        .replace("SERIES", &history.series.to_string())
        .replace("WINDOWS", &history.windows.to_string());
    let duckdb = DuckDb::new(&dir, &sql).map_err(|error| format!("{error:#}"));
    let server = start(bench, &dir)?;
    history.deliver(server.addr, &bench.pki.gateway()?)?;
    let mut measured = Vec::new();
    let mut ask = |server: &Server, when: &str, times: f64| -> anyhow::Result<()> {
        for question in &QUESTIONS {
            let ours = question.ask(bench, server, &history)?;
            let theirs = duckdb.as_ref().map_err(Clone::clone).and_then(|duckdb| {
                let theirs = duckdb.query(question.sql).map_err(|error| format!("{error:#}"))?;
                question.compare(&ours, &theirs).map_err(|error| format!("{error:#}"))?;
                Ok(theirs.seconds * 1e3)
            });
            measured.push(Measurement {
                what: format!("{}, {when}", question.what),
                unit: "ms",
                ours: ours.seconds * 1e3,
                reference: Reference { name: "DuckDB over the raw readings".to_owned(), value: theirs },
                goal: at_most_times(question.floor * times, question.aim * times),
            });
        }
        Ok(())
    };
    ask(&server, "right after the backlog", 2.0)?;
    // An ordered stop flushes everything.
    drop(server);
    let server = start(bench, &dir)?;
    ask(&server, "in blocks", 1.0)?;
    Ok(measured)
}
