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
    let Population { series, windows, .. } = population;
    let dir = bench.folder("query").join(format!("selector-{series}-{windows}"));
    fs::create_dir_all(&dir)?;
    let server = world::aggregator_with(&bench.pki, &dir, &ROOM)?;
    for (gateway, identity) in (0..).zip(bench.pki.sites(GATEWAYS)?) {
        deliver(server.addr, &identity, population.batches(gateway, GATEWAYS))?;
    }
    drop(server);
    let server = world::aggregator_with(&bench.pki, &dir, &ROOM)?;
    let operator = Operator::connect(server.addr, &bench.pki.operator("reader")?)?;
    let hits = series as u64 / 10 / 10_u64.pow(digits as u32);
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
            to_ms: population.end_ms(),
            aggregates: vec!["count".to_owned()],
            ..AggregateRequest::default()
        })?;
        let readings = hits * windows as u64;
        ensure!(counted.sum as u64 == readings, "{} readings counted, not {readings}", counted.sum);
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

/// Windows of a series where they are to make no difference.
const MORE_WINDOWS: usize = 10;

/// With a tenth of the series and equally many hits, with ten times the windows of these, and with all series.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let start_ms = days_ago(1);
    let of = |series: usize, windows: usize| Population {
        series: series as i64,
        windows: windows as i64,
        start_ms,
    };
    let [tenth, all] = [bench.sized(100_000, 2_000), bench.sized(1_000_000, 20_000)];
    let (few, longer) = (measure(bench, of(tenth, 1), 1)?, measure(bench, of(tenth, MORE_WINDOWS), 1)?);
    let ours = measure(bench, of(all, 1), 2)?;
    let theirs = of_duckdb(bench, of(all, 1)).map_err(|error| format!("{error:#}"));
    let hits = all / 1_000;
    for (at, how) in [LIST, COUNT].into_iter().enumerate() {
        let [few, longer, ours] =
            [few, longer, ours].map(|values| values.get(at).copied().unwrap_or(f64::NAN));
        report.measurements.push(Measurement {
            what: format!("{hits} of {} series, by a regular expression, {how}", number(all as f64)),
            unit: "ms",
            ours,
            reference: Reference { name: "DuckDB, a table of the names".to_owned(), value: theirs.clone() },
            goal: at_most(50.0, 10.0),
        });
        for (by, sizes, values) in [
            ("all series", [tenth, all], [few, ours]),
            ("stored windows", [tenth, tenth * MORE_WINDOWS], [few, longer]),
        ] {
            report.growth.push(Growth {
                what: format!("{hits} series by a regular expression, {how}, by {by}"),
                unit: "ms",
                better: Better::Lower,
                sizes: sizes.into(),
                values: values.into(),
            });
        }
    }
    Ok(())
}
