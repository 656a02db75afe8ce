//! How long a device waits for a durable acknowledgement at half of the load that the gateway bears, against one
//! append to the same disk.

use super::{Bench, at_most_times};
use crate::{
    load::{self, Ending, Shape, Target, by_hand::Kind, connection::Speaker, frames, unique},
    reference::disk,
    report::{Figure, Reference, quantile},
    world::Site,
};

/// Series of a frame, and values of each.
const FRAME: (usize, usize) = (8, 8);
/// Appends of a measurement.
const APPENDS: usize = 300;

/// A protocol's messages, as its loads make them.
type Make = Box<dyn Fn(usize) -> Box<dyn Speaker> + Sync>;

fn make(kind: Kind) -> Make {
    if kind != Kind::Frames {
        return kind.speakers(1);
    }
    let (stock, run) = (frames::Stock::new(), unique());
    let (series, each) = FRAME;
    Box::new(move |n| Box::new(frames::Frames::new(&stock, format!("{run}-{n}"), n, series, each)))
}

/// Half of the messages that a connection gets acknowledged in a second at full load.
fn half(bench: &Bench, kind: Kind, target: &Target, in_flight: usize) -> anyhow::Result<f64> {
    let shape = Shape { in_flight, ..bench.shape(kind, Ending::Acknowledged) };
    let outcome = load::run(target, shape, &*make(kind), &mut |_| Ok(()))?;
    Ok(outcome.messages as f64 / outcome.seconds / shape.connections as f64 / 2.0)
}

/// Rows for frames and for MQTT, each at the median and the slowest hundredth.
fn measure(bench: &Bench, kind: Kind, what: &str, in_flight: usize) -> anyhow::Result<[Figure; 2]> {
    let devices = bench.pki.devices(kind.defaults().0, kind.alpn())?;
    let site = Site::start(&bench.pki, &bench.folder(&format!("latency-{kind:?}")), &[])?;
    let target = site.target(&devices);
    let rate = half(bench, kind, &target, in_flight)?;
    println!("  {what}: {rate:.0} messages a second on each connection");
    let (mut ours, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        // Room for a second of messages: what is late waits here, and counts.
        let shape = Shape { in_flight: 1_000, rate: Some(rate), ..bench.shape(kind, Ending::Acknowledged) };
        let outcome = load::run(&target, shape, &*make(kind), &mut |_| Ok(()))?;
        ours.extend(outcome.latencies);
        syncs.extend(disk::syncs(&bench.dir, bench.sized(APPENDS, 20))?);
    }
    let figure = |name: &str, q: f64, goal| Figure {
        what: format!("acknowledgement of {what} at half load, {name}"),
        unit: "ms",
        ours: 1e3 * quantile(&ours, q),
        reference: Reference {
            name: format!("fdatasync of 4 KiB, {name}"),
            value: Ok(1e3 * quantile(&syncs, q)),
        },
        goal,
    };
    Ok([figure("p50", 0.5, at_most_times(3.0, 2.0)), figure("p99", 0.99, at_most_times(10.0, 5.0))])
}

/// All rows.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::from(measure(bench, Kind::Frames, "frames of 64 readings", 16)?);
    figures.extend(measure(bench, Kind::Mqtt, "MQTT publishes", 100)?);
    Ok(figures)
}
