//! A thousand series of ten sites, ten readings a window: a question over all of them.

use super::{
    question::{QUANTILE_ERROR, Question},
    stored::Stored,
};
use crate::{
    benchmarks::Bench,
    load::history::{DAY_MS, Formula, HOUR_MS, days_ago},
    process::Server,
    report::Report,
};

/// A minute, so that a run is short.
const WIDTH_MS: i64 = 60_000;
const DAYS: usize = 3;

pub(super) const QUESTION: Question = Question {
    what: "all series of ten sites, RANGE, p99 by site and hour",
    selector: r#"{device=~"press-.*"}"#,
    by: &["site"],
    step_ms: HOUR_MS,
    aggregates: &["p99"],
    sql: "SELECT site, date_trunc('hour', time), quantile_disc(value, 0.99) FROM readings GROUP BY 1, 2",
    error: QUANTILE_ERROR,
    floor: 0.1,
    aim: 0.01,
};

/// The days up to the last midnight.
pub(super) fn history(bench: &Bench, times: usize) -> Formula {
    // No more than windows are kept by default.
    let days = if bench.quick { 1 } else { (DAYS * times).min(30) } as i64;
    Formula {
        series: bench.sized(1_000, 20) as i64,
        metrics: 10,
        sites: 10.min(bench.sized(10, 2)) as i64,
        windows: days * DAY_MS / WIDTH_MS,
        width_ms: WIDTH_MS,
        readings: 10,
        start_ms: days_ago(days),
        skipped: 0,
    }
}

/// The question right after the backlog, and once it is in blocks. Returns the folder.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<Stored> {
    let history = history(bench, bench.scale);
    let database = bench.readings("sites", &history.sql());
    let (stored, server) = Stored::deliver(bench, "sites", history)?;
    let days = history.windows * WIDTH_MS / DAY_MS;
    let question = QUESTION.what(&format!("{days} days of minutes of ten readings"));
    let mut ask = |server: &Server, when: &str, times: f64| -> anyhow::Result<()> {
        let what = format!("{} series: {question}, {when}", history.series);
        let database = database.as_ref().map_err(Clone::clone);
        report.measurements.push(QUESTION.ask(bench, (server, &history), database, what, times)?);
        Ok(())
    };
    ask(&server, "right after the backlog", 2.0)?;
    // An ordered stop flushes everything.
    drop(server);
    ask(&stored.settled(bench)?, "in blocks", 1.0)?;
    Ok(stored)
}
