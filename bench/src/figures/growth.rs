//! The same load from ten and a hundred times as many devices, or on as many series.

use std::fs;

use super::{Bench, aggregator, throughput::load};
use crate::{
    load::{Ending, Shape, by_hand::Kind},
    report::{Growth, quantile},
    world::{self, Site},
};

/// Messages of each device in flight, the same at every size: a record of the network holds as many of them.
fn in_flight(kind: Kind) -> usize {
    if kind == Kind::Frames { 2 } else { 16 }
}

/// The same load of each device, from more and more of them.
fn devices(bench: &Bench, kind: Kind) -> anyhow::Result<Growth> {
    let sizes = if bench.quick { vec![2, 20, 50] } else { vec![10, 100, 1_000] };
    let mut values = Vec::new();
    for size in &sizes {
        let devices = bench.pki.devices(*size, kind.alpn())?;
        let site = Site::start(&bench.pki, &bench.folder(&format!("growth-{kind:?}-{size}")), &[])?;
        let shape = Shape {
            connections: *size,
            in_flight: in_flight(kind),
            ..bench.shape(kind, Ending::Acknowledged)
        };
        let once = || {
            let outcome = load(kind, &site.target(&devices), shape)?;
            Ok(outcome.per_cpu(outcome.readings))
        };
        let values_of_size = (0..bench.repeat).map(|_| once()).collect::<anyhow::Result<Vec<_>>>()?;
        values.push(quantile(&values_of_size, 0.5));
    }
    Ok(Growth { what: format!("{} readings, by devices", name(kind)), sizes, values })
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Frames => "frames:",
        Kind::Json => "JSON lines:",
        _ => "MQTT QoS 1:",
    }
}

fn series(bench: &Bench) -> anyhow::Result<Growth> {
    let sizes = if bench.quick { vec![100, 1_000, 10_000] } else { vec![1_000, 10_000, 100_000] };
    let mut values = Vec::new();
    for size in &sizes {
        let dir = bench.folder(&format!("growth-aggregator-{size}"));
        fs::create_dir_all(&dir)?;
        let server = world::aggregator(&bench.pki, &dir)?;
        let once = |_| aggregator::once(bench, &server, *size);
        values.push(quantile(&(0..bench.repeat).map(once).collect::<anyhow::Result<Vec<_>>>()?, 0.5));
    }
    Ok(Growth { what: "aggregator: durable partials, by series".to_owned(), sizes, values })
}

/// All of them.
pub(super) fn run(bench: &Bench, found: &mut Vec<Growth>) -> anyhow::Result<()> {
    for kind in [Kind::Frames, Kind::Json, Kind::Mqtt] {
        found.push(devices(bench, kind)?);
    }
    found.push(series(bench)?);
    Ok(())
}
