//! The figures: each measures the product and its reference in turn and returns rows of the report.

mod aggregator;
mod crowd;
mod fairness;
mod growth;
mod idle;
mod latency;
mod sharing;
mod throughput;
mod uplink;

use std::{
    iter,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    load::{Ending, Shape, manual::Kind},
    process::{Server, beside},
    report::{Better, Goal, Measure, Reference, Report, quantile},
    world::Pki,
};

/// All figures, in the order of the report.
pub(crate) const NAMES: [&str; 14] = [
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
    "growth",
];

/// State shared by all figures.
pub(crate) struct Bench {
    pub(crate) pki: Pki,
    /// A temporary folder.
    pub(crate) dir: PathBuf,
    /// Length of one measurement.
    pub(crate) duration: Duration,
    pub(crate) repeat: usize,
    /// Small counts, for a smoke run.
    pub(crate) quick: bool,
}

impl Bench {
    /// The full or the quick count.
    pub(crate) fn sized(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A folder for a figure; it does not exist yet.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The shape of a load at full speed.
    pub(crate) fn shape(&self, kind: Kind, ending: Ending) -> Shape {
        let (connections, in_flight) = kind.defaults();
        let each_alone = kind.writes_each();
        Shape { connections, in_flight, duration: self.duration, each_alone, ending, rate: None }
    }

    /// A bare server.
    pub(crate) fn sink(&self, mode: &str) -> anyhow::Result<Server> {
        let mut command = std::process::Command::new(beside("catchment-bench")?);
        command.args(["sink", "--mode", mode, "--identity"]).arg(self.pki.gateway()?);
        Server::start(command, &self.folder("sink.log"))
    }

    /// The median of the repetitions.
    pub(crate) fn median(&self, once: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        let values = iter::repeat_with(once).take(self.repeat).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(quantile(&values, 0.5))
    }

    /// Measures ours and the reference in turn; returns the medians.
    pub(crate) fn in_turn(
        &self,
        ours: &mut dyn FnMut() -> anyhow::Result<f64>,
        reference: &mut dyn FnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<(f64, f64)> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..self.repeat {
            first.push(ours().context("ours")?);
            second.push(reference().context("the reference")?);
        }
        Ok((quantile(&first, 0.5), quantile(&second, 0.5)))
    }

    /// As [`Self::in_turn`], with a reference that may be missing.
    pub(crate) fn in_turn_if(
        &self,
        ours: &mut dyn FnMut() -> anyhow::Result<f64>,
        name: String,
        reference: Result<&mut dyn FnMut() -> anyhow::Result<f64>, String>,
    ) -> anyhow::Result<(f64, Reference)> {
        match reference {
            Ok(reference) => {
                let (ours, value) = self.in_turn(ours, reference)?;
                Ok((ours, Reference { name, value: Ok(value) }))
            }
            Err(reason) => Ok((self.median(ours)?, Reference { name, value: Err(reason) })),
        }
    }
}

/// Our figure must reach these.
pub(crate) fn at_least(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ours, better: Better::Higher, floor, aim }
}

/// Our figure must stay below these.
pub(crate) fn at_most(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ours, better: Better::Lower, floor, aim }
}

/// The ratio of our figure to the reference's must reach these.
pub(crate) fn times(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ratio, better: Better::Higher, floor, aim }
}

/// The ratio of our figure to the reference's must stay below these.
pub(crate) fn at_most_times(floor: f64, aim: f64) -> Goal {
    Goal { measure: Measure::Ratio, better: Better::Lower, floor, aim }
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
