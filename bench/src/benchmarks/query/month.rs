//! A month of windows of 20 series, two readings each: questions right after the backlog, and once it is in blocks.

use super::{
    question::{MEAN_ERROR, QUANTILE_ERROR, Question},
    stored::Stored,
};
use crate::{
    benchmarks::Bench,
    load::history::{DAY_MS, Formula, HOUR_MS, days_ago},
    process::Server,
    report::Report,
};

const WIDTH_MS: i64 = 10_000;

pub(super) const QUESTIONS: [Question; 4] = [
    Question {
        what: "one series, RANGE by the hour, mean and p99",
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
        what: "one series, RANGE, one point, p99",
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
        what: "20 series by device and metric, RANGE by the day, p99",
        // All of them, and no further ones where there are more.
        selector: r#"{device=~"press-0000[01]",__name__=~"m[0-9]"}"#,
        by: &["device", "__name__"],
        step_ms: DAY_MS,
        aggregates: &["p99"],
        sql: "SELECT device, metric, date_trunc('day', time), quantile_disc(value, 0.99) FROM readings GROUP BY 1, 2, 3",
        error: QUANTILE_ERROR,
        floor: 0.1,
        aim: 0.01,
    },
    Question {
        what: "one series, every window of RANGE, mean",
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

/// The month up to the last midnight, of some times 20 series.
pub(super) fn history(bench: &Bench, times: i64) -> Formula {
    let days = bench.sized(30, 1) as i64;
    Formula {
        series: 20 * times,
        metrics: 10,
        sites: 1,
        windows: days * DAY_MS / WIDTH_MS,
        width_ms: WIDTH_MS,
        readings: 2,
        start_ms: days_ago(days),
        skipped: 0,
    }
}

/// Each question twice. Returns the folder.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<Stored> {
    let history = history(bench, 1);
    let database = bench.readings("month", &history.sql());
    let (stored, server) = Stored::deliver(bench, "month", history)?;
    let range = format!("{} days", bench.sized(30, 1));
    let mut ask = |server: &Server, when: &str, times: f64| -> anyhow::Result<()> {
        for question in &QUESTIONS {
            let what = format!("{}, {when}", question.what(&range));
            let database = database.as_ref().map_err(Clone::clone);
            report.measurements.push(question.ask(bench, (server, &history), database, what, times)?);
        }
        Ok(())
    };
    ask(&server, "right after the backlog", 2.0)?;
    // An ordered stop flushes everything.
    drop(server);
    ask(&stored.settled(bench)?, "in blocks", 1.0)?;
    Ok(stored)
}
