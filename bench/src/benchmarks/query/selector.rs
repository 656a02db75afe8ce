//! A regular expression over the names of a million series, as a list and as a query.

use std::fs;

use anyhow::{anyhow, ensure};
use catchment_proto::wire::AggregateRequest;

use crate::{
    benchmarks::{Bench, goals::at_most},
    load::{
        history::{Population, days_ago, deliver},
        operator::{Answer, Operator},
    },
    report::{Better, Growth, Measurement, Reference, Report, number, quantile},
    world,
};

/// Gateways that deliver them, each of a site of its own.
const GATEWAYS: i64 = 10;
/// Room for a million series, and for what is granted to gateways besides.
const ROOM: [&str; 2] = ["--store-series-max", "4000000"];
/// Expressions that are tried, each once, so that none is remembered.
const EXPRESSIONS: usize = 9;
const LIST: &str = "listed";
const COUNT: &str = "counted by a query";

/// Matches every device whose number is some digits with this ending.
fn expression(digits: &str, ending: &str) -> String {
    format!("press-{digits}{ending}")
}

/// Milliseconds to list and to count the temperatures of a share of the devices, with some endings of their numbers.
fn measure(bench: &Bench, population: Population, digits: usize) -> anyhow::Result<[f64; 2]> {
    let dir = bench.folder("query").join(format!("selector-{}", population.series));
    fs::create_dir_all(&dir)?;
    let server = world::aggregator_with(&bench.pki, &dir, &ROOM)?;
    for (gateway, identity) in (0..).zip(bench.pki.sites(GATEWAYS)?) {
        deliver(server.addr, &identity, population.batches(gateway, GATEWAYS))?;
    }
    drop(server);
    let server = world::aggregator_with(&bench.pki, &dir, &ROOM)?;
    let operator = Operator::connect(server.addr, &bench.pki.operator("reader")?)?;
    let hits = population.series as u64 / 10 / 10_u64.pow(digits as u32);
    let (mut lists, mut counts) = (Vec::new(), Vec::new());
    for ending in 0..EXPRESSIONS {
        let selector = |all| {
            let expression = expression(all, &format!("{ending:0digits$}"));
            format!(r#"temperature{{device=~"{expression}"}}"#)
        };
        let Answer { seconds, points, .. } = operator.list_series(selector("[0-9]*"))?;
        ensure!(points == hits, "{points} series listed, not {hits}");
        lists.push(seconds * 1e3);
        let counted = operator.query(AggregateRequest {
            selector: selector("[0-9]+"),
            from_ms: population.start_ms,
            to_ms: population.start_ms + 10_000,
            aggregates: vec!["count".to_owned()],
            ..AggregateRequest::default()
        })?;
        ensure!(counted.sum as u64 == hits, "{} readings counted, not {hits}", counted.sum);
        counts.push(counted.seconds * 1e3);
    }
    Ok([quantile(&lists, 0.5), quantile(&counts, 0.5)])
}

/// Milliseconds of DuckDB over a table of the names.
fn of_duckdb(bench: &Bench, population: Population) -> anyhow::Result<f64> {
    let database = bench.readings("names", &population.sql()).map_err(|error| anyhow!(error))?;
    let answer = database.query(&format!(
        "SELECT device, metric, value FROM readings \
         WHERE metric = 'temperature' AND regexp_full_match(device, '{}')",
        expression("[0-9]*", "07")
    ))?;
    Ok(answer.seconds * 1e3)
}

/// With a tenth of the series and equally many hits, and with all.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let of = |series: usize| Population { series: series as i64, start_ms: days_ago(1) };
    let sizes = [bench.sized(100_000, 2_000), bench.sized(1_000_000, 20_000)];
    let [few, many] = sizes.map(of);
    let (few, ours) = (measure(bench, few, 1)?, measure(bench, many, 2)?);
    let theirs = of_duckdb(bench, many).map_err(|error| format!("{error:#}"));
    let [_, series] = sizes;
    let hits = series / 1_000;
    for ((how, ours), few) in [LIST, COUNT].into_iter().zip(ours).zip(few) {
        let what = format!("{hits} of {} series, by a regular expression, {how}", number(series as f64));
        report.measurements.push(Measurement {
            what,
            unit: "ms",
            ours,
            reference: Reference { name: "DuckDB, a table of the names".to_owned(), value: theirs.clone() },
            goal: at_most(50.0, 10.0),
        });
        report.growth.push(Growth {
            what: format!("{hits} series by a regular expression, {how}, by all series"),
            unit: "ms",
            better: Better::Lower,
            sizes: sizes.into(),
            values: vec![few, ours],
        });
    }
    Ok(())
}
