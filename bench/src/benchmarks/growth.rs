//! The figures at ten and a hundred times as many devices or series.

use std::fs;

use super::{Bench, aggregator, idle, latency, uplink};
use crate::{
    load::{
        Ending, Outcome, Shape, Target,
        handshakes::{self, First},
        line_protocol,
        manual::{Kind, await_readings, readings},
        run as run_load,
    },
    report::{Better, Growth, quantile},
    world::{self, Site},
};

/// Messages per second over all devices, for the latency measurements.
const RATE: f64 = 5_000.0;

/// Messages in flight per device, the same at every size, so that each TLS record holds equally many.
fn in_flight(kind: Kind) -> usize {
    if kind == Kind::Frames { 2 } else { 16 }
}

/// A measurement repeated at each size.
struct Line {
    what: &'static str,
    unit: &'static str,
    better: Better,
}

impl Line {
    const fn per_cpu(what: &'static str, unit: &'static str) -> Self {
        Self { what, unit, better: Better::Higher }
    }

    const fn least(what: &'static str, unit: &'static str) -> Self {
        Self { what, unit, better: Better::Lower }
    }

    /// Measures the figure at each size.
    fn over(
        self,
        sizes: [usize; 3],
        figure: impl FnMut(usize) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Growth> {
        Ok(self.of(sizes, sizes.into_iter().map(figure).collect::<anyhow::Result<_>>()?))
    }

    fn of(self, sizes: [usize; 3], values: Vec<f64>) -> Growth {
        let Self { what, unit, better } = self;
        Growth { what: what.to_owned(), unit, better, sizes: sizes.into(), values }
    }
}

fn devices_of(bench: &Bench) -> [usize; 3] {
    if bench.quick { [2, 20, 50] } else { [10, 100, 1_000] }
}

/// The same load per device; line protocol ends when the gateway has counted it.
fn load(bench: &Bench, kind: Kind, site: &Site, target: &Target) -> anyhow::Result<Outcome> {
    let checked_by_caller = kind == Kind::LineProtocol;
    let ending = if checked_by_caller { Ending::CheckedByCaller } else { Ending::Acknowledged };
    let connections = target.devices.len();
    let shape = Shape { connections, in_flight: in_flight(kind), ..bench.shape(kind, ending) };
    let before = if checked_by_caller { readings(site.http)? } else { 0.0 };
    run_load(target, shape, &*kind.clients(super::throughput::FRAME), &mut |messages| match checked_by_caller
    {
        true => await_readings(site.http, before, messages * line_protocol::FIELDS),
        false => Ok(()),
    })
}

/// Readings per processor second, by devices.
fn readings_of(bench: &Bench, kind: Kind, line: Line) -> anyhow::Result<Growth> {
    line.over(devices_of(bench), |size| {
        let devices = bench.pki.devices(size, kind.alpn())?;
        let site = Site::start(&bench.pki, &bench.folder(&format!("growth-{kind:?}-{size}")), &[])?;
        bench.median(|| {
            let outcome = load(bench, kind, &site, &site.target(&devices))?;
            Ok(outcome.per_cpu(outcome.readings))
        })
    })
}

/// Handshakes per processor second, by returning devices: each has connected before.
fn handshakes(bench: &Bench) -> anyhow::Result<Growth> {
    Line::per_cpu("handshakes, by devices", "handshakes/CPU-s").over(devices_of(bench), |size| {
        let devices = bench.pki.devices(size, &[])?;
        let site = Site::start(&bench.pki, &bench.folder(&format!("growth-handshakes-{size}")), &[])?;
        let target = site.target(&devices);
        handshakes::each_once(&target, size)?;
        bench.median(|| {
            let outcome = handshakes::run(&target, size, bench.duration, First::Connect)?;
            Ok(outcome.per_cpu(outcome.messages))
        })
    })
}

/// Milliseconds until an acknowledgement at the same load from more devices, at p50 and p99.
fn latencies(bench: &Bench) -> anyhow::Result<[Growth; 2]> {
    let sizes = devices_of(bench);
    let (mut medians, mut slowest) = (Vec::new(), Vec::new());
    for size in sizes {
        let devices = bench.pki.devices(size, &[])?;
        let site = Site::start(&bench.pki, &bench.folder(&format!("growth-latency-{size}")), &[])?;
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeat {
            let rate = RATE / size as f64;
            let seconds = latency::at_rate(bench, &site.target(&devices), (Kind::Mqtt, size), rate)?;
            p50.push(1e3 * quantile(&seconds, 0.5));
            p99.push(1e3 * quantile(&seconds, 0.99));
        }
        medians.push(quantile(&p50, 0.5));
        slowest.push(quantile(&p99, 0.5));
    }
    Ok([
        Line::least("acknowledgement, p50, by devices", "ms").of(sizes, medians),
        Line::least("acknowledgement, p99, by devices", "ms").of(sizes, slowest),
    ])
}

/// Durable partials per processor second of the aggregator, by series.
fn partials(bench: &Bench) -> anyhow::Result<Growth> {
    let sizes = if bench.quick { [100, 1_000, 10_000] } else { [1_000, 10_000, 100_000] };
    Line::per_cpu("aggregator: durable partials, by series", "partials/CPU-s").over(sizes, |size| {
        let dir = bench.folder(&format!("growth-aggregator-{size}"));
        fs::create_dir_all(&dir)?;
        let server = world::aggregator(&bench.pki, &dir)?;
        bench.median(|| aggregator::once(bench, &server, size))
    })
}

/// All growth figures.
pub(super) fn run(bench: &Bench, found: &mut Vec<Growth>) -> anyhow::Result<()> {
    let unit = "readings/CPU-s";
    for (kind, what) in [
        (Kind::Frames, "frames of 1,000 readings, by devices"),
        (Kind::Json, "JSON lines, by devices"),
        (Kind::LineProtocol, "line protocol, by devices"),
        (Kind::Mqtt, "MQTT QoS 1, by devices"),
        (Kind::Singles, "frames of one reading, by devices"),
    ] {
        found.push(readings_of(bench, kind, Line::per_cpu(what, unit))?);
    }
    found.push(handshakes(bench)?);
    let idle = if bench.quick { [20, 50, 100] } else { [100, 1_000, 10_000] };
    found.push(
        Line::least("memory of an idle device, by devices", "KiB")
            .over(idle, |size| Ok(idle::of_gateway(bench, size)? / 1024.0))?,
    );
    found.push(
        Line::least("uplink bytes a partial, by devices", "bytes")
            .over(devices_of(bench), |size| Ok(uplink::bytes_a_partial(bench, size)?.0))?,
    );
    found.push(partials(bench)?);
    found.extend(latencies(bench)?);
    Ok(())
}
