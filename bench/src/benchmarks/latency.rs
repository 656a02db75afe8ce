//! Latency of a durable acknowledgement at half load, against one append to the same disk.

use super::{Bench, at_most_times};
use crate::{
    load::{self, Ending, Shape, Target, connection::ProtocolClient, frames, manual::Kind, unique},
    reference::disk,
    report::{Measurement, Reference, number, quantile},
    world::Site,
};

/// Series of a frame, and values of each.
const FRAME: (usize, usize) = (8, 8);
/// Appends per measurement.
const APPENDS: usize = 300;

/// Makes a protocol's clients, as its loads do.
type Make = Box<dyn Fn(usize) -> Box<dyn ProtocolClient> + Sync>;

fn make(kind: Kind) -> Make {
    if kind != Kind::Frames {
        return kind.clients(1);
    }
    let (pool, run) = (frames::MessagePool::new(), unique());
    let (series, each) = FRAME;
    Box::new(move |n| Box::new(frames::Frames::new(&pool, format!("{run}-{n}"), n, series, each)))
}

/// A full load, of which half is sent: protocol, connections, and messages in flight per connection.
struct Full {
    what: &'static str,
    kind: Kind,
    connections: usize,
    in_flight: usize,
}

/// Frames of 64 readings, and the two MQTT loads of the rows above.
const LOADS: [Full; 3] = [
    Full { what: "frames of 64 readings", kind: Kind::Frames, connections: 8, in_flight: 16 },
    Full { what: "MQTT publishes of 4 connections", kind: Kind::Mqtt, connections: 4, in_flight: 100 },
    Full { what: "MQTT publishes of 64 connections", kind: Kind::Mqtt, connections: 64, in_flight: 1 },
];

/// Seconds until each acknowledgement, at a rate in messages per second and connection.
pub(super) fn at_rate(
    bench: &Bench,
    target: &Target,
    (kind, connections): (Kind, usize),
    rate: f64,
) -> anyhow::Result<Vec<f64>> {
    // Room for at least a second of messages: late ones wait here, and their wait counts.
    let in_flight = 1_000.max(rate as usize);
    let shape = Shape { connections, in_flight, rate: Some(rate), ..bench.shape(kind, Ending::Acknowledged) };
    Ok(load::run(target, shape, &*make(kind), &mut |_| Ok(()))?.latencies)
}

/// Rows for a load, at p50 and p99.
fn measure(bench: &Bench, load: &Full) -> anyhow::Result<[Measurement; 2]> {
    let Full { what, kind, connections, in_flight } = *load;
    let devices = bench.pki.devices(connections, kind.alpn())?;
    let site = Site::start(&bench.pki, &bench.folder(&format!("latency-{kind:?}-{connections}")), &[])?;
    let target = site.target(&devices);
    let shape = Shape { connections, in_flight, ..bench.shape(kind, Ending::Acknowledged) };
    let full = load::run(&target, shape, &*make(kind), &mut |_| Ok(()))?;
    let rate = full.messages as f64 / full.seconds / connections as f64 / 2.0;
    println!("  {what}: {rate:.0} messages a second on each connection");
    let (mut ours, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        ours.extend(at_rate(bench, &target, (kind, connections), rate)?);
        syncs.extend(disk::syncs(&bench.dir, bench.sized(APPENDS, 20))?);
    }
    let all = rate * connections as f64;
    let measurement = |name: &str, q: f64, goal| Measurement {
        what: format!("acknowledgement of {what} at half load, {} a second, {name}", number(all)),
        unit: "ms",
        ours: 1e3 * quantile(&ours, q),
        reference: Reference {
            name: format!("fdatasync of 4 KiB, {name}"),
            value: Ok(1e3 * quantile(&syncs, q)),
        },
        goal,
    };
    Ok([measurement("p50", 0.5, at_most_times(3.0, 2.0)), measurement("p99", 0.99, at_most_times(10.0, 5.0))])
}

/// All rows.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let mut measurements = Vec::new();
    for load in &LOADS {
        measurements.extend(measure(bench, load)?);
    }
    Ok(measurements)
}
