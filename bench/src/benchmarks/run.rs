//! Measures the wanted figures.

use std::time::Instant;

use clap::builder::PossibleValuesParser;

use super::{
    Bench, aggregator, backup, certs, crowd, fairness, growth, idle, latency, partials, query, refill,
    sharing, throughput, uplink, watch,
};
use crate::report::Report;

/// All figures, in the order of the report.
pub(crate) const NAMES: [&str; 24] = [
    "frames",
    "json",
    "line-protocol",
    "mqtt",
    "singles",
    "handshakes",
    "idle",
    "uplink",
    "aggregator",
    "latency",
    "fair",
    "crowd",
    "sharing",
    "watch",
    "backup",
    "refill",
    "partials",
    "certs",
    "query-month",
    "query-sites",
    "query-names",
    "query-disk",
    "promql",
    "growth",
];

/// All figures of the read path.
pub(crate) const QUERY: &str = "query";

/// What may be asked for: figures, and all of the read path.
pub(crate) fn choices() -> PossibleValuesParser {
    NAMES.into_iter().chain([QUERY]).into()
}

/// Measures one figure into the report.
fn measure(bench: &Bench, name: &str, report: &mut Report) -> anyhow::Result<()> {
    match name {
        "frames" => report.measurements.push(throughput::frames(bench)?),
        "json" => report.measurements.extend(throughput::json(bench)?),
        "line-protocol" => report.measurements.push(throughput::line_protocol(bench)?),
        "mqtt" => report.measurements.extend(throughput::mqtt(bench)?),
        "singles" => report.measurements.push(throughput::singles(bench)?),
        "handshakes" => report.measurements.push(throughput::handshakes(bench)?),
        "idle" => report.measurements.push(idle::run(bench)?),
        "uplink" => report.measurements.push(uplink::run(bench)?),
        "aggregator" => report.measurements.extend(aggregator::run(bench)?),
        "latency" => report.measurements.extend(latency::run(bench)?),
        "fair" => {
            report.growth.push(fairness::windows(bench)?);
            report.measurements.extend(fairness::run_all(bench)?);
        }
        "crowd" => {
            report.measurements.push(crowd::silent(bench)?);
            report.measurements.push(crowd::back(bench)?);
            report.measurements.push(crowd::gateways(bench)?);
        }
        "sharing" => report.measurements.push(sharing::run(bench)?),
        "backup" => report.measurements.push(backup::run(bench)?),
        "refill" => report.measurements.push(refill::run(bench)?),
        "watch" => report.measurements.extend(watch::run(bench)?),
        "query-month" => query::of_a_month(bench, report)?,
        "query-sites" => query::of_sites(bench, report)?,
        "query-names" => query::by_names(bench, report)?,
        "query-disk" => query::bytes_on_disk(bench, report)?,
        "promql" => query::by_promql(bench, report)?,
        "partials" => report.measurements.extend(partials::run(bench)?),
        "certs" => report.measurements.push(certs::run(bench)?),
        "growth" => growth::run(bench, &mut report.growth)?,
        other => anyhow::bail!("unknown figure: {other}"),
    }
    Ok(())
}

/// Measures the wanted figures. A failed figure is reported with its reason; the others continue.
pub(crate) fn run(bench: &Bench, names: &[&str]) -> Report {
    let mut report = Report::default();
    for name in names {
        let started = Instant::now();
        let (measurements, growth) = (report.measurements.len(), report.growth.len());
        println!("{name} …");
        if let Err(error) = measure(bench, name, &mut report) {
            println!("  failed: {error:#}");
            let error = format!("{error:#}").replace(&bench.dir.display().to_string(), "DIR");
            report.failures.push(((*name).to_owned(), error));
        }
        for measurement in report.measurements.iter().skip(measurements) {
            let ratio = measurement.ratio().map_or_else(|| "-".to_owned(), crate::report::number);
            let (ours, verdict) = (crate::report::number(measurement.ours), measurement.verdict());
            println!("  {}: {ours} {}, ratio {ratio}: {verdict}", measurement.what, measurement.unit);
        }
        for growth in report.growth.iter().skip(growth) {
            println!("  {}: worst cost {:.2}", growth.what, growth.worst());
        }
        println!("  took {:.1} s", started.elapsed().as_secs_f64());
    }
    report
}
