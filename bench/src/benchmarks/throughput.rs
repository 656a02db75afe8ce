//! Throughput of a gateway per processor second, by protocol.

use std::{cell::Cell, sync::Arc};

use tokio_rustls::rustls::ClientConfig;

use super::{Bench, at_least, times};
use crate::{
    load::{
        Ending, Outcome, Shape, Target,
        handshakes::{self, First},
        line_protocol,
        manual::{Kind, await_readings, readings},
        run,
    },
    reference::{influx, mosquitto},
    report::{Measurement, number},
    world::{Site, target},
};

/// Values per frame.
pub(crate) const FRAME: usize = 1_000;
/// Devices that make handshakes concurrently.
const CLIENTS: usize = 32;

/// Runs a load of a kind on a target.
pub(crate) fn load(kind: Kind, target: &Target, shape: Shape) -> anyhow::Result<Outcome> {
    run(target, shape, &*kind.clients(FRAME), &mut |_| Ok(()))
}

type Devices = Arc<[Arc<ClientConfig>]>;

/// Readings per processor second of the gateway, and of a bare server that receives the same bytes.
fn against_sink(bench: &Bench, kind: Kind) -> anyhow::Result<(f64, f64)> {
    let devices: Devices = bench.pki.devices(kind.defaults().0, kind.alpn())?;
    let site = Site::start(&bench.pki, &bench.folder(&format!("{kind:?}")), &[])?;
    let sink = bench.sink("discard")?;
    let measure = |target: &Target, ending| {
        let outcome = load(kind, target, bench.shape(kind, ending))?;
        Ok(outcome.per_cpu(outcome.readings))
    };
    bench.in_turn(&mut || measure(&site.target(&devices), Ending::Acknowledged), &mut || {
        measure(&target(&sink, &devices), Ending::Closed)
    })
}

fn of_sink(
    (ours, sink): (f64, f64),
    what: &str,
    unit: &'static str,
    goal: crate::report::Goal,
) -> Measurement {
    let reference = crate::report::Reference { name: "bare sink, same bytes".into(), value: Ok(sink) };
    Measurement { what: what.to_owned(), unit, ours, reference, goal }
}

/// Native frames.
pub(super) fn frames(bench: &Bench) -> anyhow::Result<Measurement> {
    let goal = at_least(5e6, 20e6);
    let what = "native frames, 1,000 readings a frame";
    Ok(of_sink(against_sink(bench, Kind::Frames)?, what, "readings/CPU-s", goal))
}

/// JSON lines, numbered and not.
pub(super) fn json(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let goal = at_least(1.5e6, 5e6);
    let (first, second) =
        ("JSON lines, 10 readings a line, exactly once", "JSON lines, 10 readings a line, not numbered");
    Ok(vec![
        of_sink(against_sink(bench, Kind::Json)?, first, "readings/CPU-s", goal),
        of_sink(against_sink(bench, Kind::JsonUnnumbered)?, second, "readings/CPU-s", goal),
    ])
}

/// One reading per frame, each frame in its own TLS record. The bare sink receives the same records at the pace at
/// which the gateway took them: flooded, it would read many records at once, a saving that a server that answers never
/// has.
pub(super) fn singles(bench: &Bench) -> anyhow::Result<Measurement> {
    let kind = Kind::Singles;
    let devices: Devices = bench.pki.devices(kind.defaults().0, kind.alpn())?;
    let site = Site::start(&bench.pki, &bench.folder("singles"), &[])?;
    let sink = bench.sink("discard")?;
    let pace = Cell::new(0.0);
    let pair = bench.in_turn(
        &mut || {
            let shape = bench.shape(kind, Ending::Acknowledged);
            let outcome = load(kind, &site.target(&devices), shape)?;
            pace.set(outcome.messages as f64 / outcome.seconds / shape.connections as f64);
            Ok(outcome.per_cpu(outcome.messages))
        },
        &mut || {
            let shape = Shape { rate: Some(pace.get()), ..bench.shape(kind, Ending::Closed) };
            let outcome = load(kind, &target(&sink, &devices), shape)?;
            Ok(outcome.per_cpu(outcome.messages))
        },
    )?;
    let what = "native frames of one reading, 64 connections";
    let mut measurement = of_sink(pair, what, "messages/CPU-s", times(0.4, 0.7));
    measurement.reference.name = "bare sink, same records at the same pace".into();
    Ok(measurement)
}

/// Line protocol; the gateway's own counter tells how many readings it took.
pub(super) fn line_protocol(bench: &Bench) -> anyhow::Result<Measurement> {
    let kind = Kind::LineProtocol;
    let devices: Devices = bench.pki.devices(kind.defaults().0, kind.alpn())?;
    let site = Site::start(&bench.pki, &bench.folder("line-protocol"), &[])?;
    let mut ours = || {
        let before = readings(site.http)?;
        let shape = bench.shape(kind, Ending::CheckedByCaller);
        let outcome = run(&site.target(&devices), shape, &*kind.clients(FRAME), &mut |messages| {
            await_readings(site.http, before, messages * line_protocol::FIELDS)
        })?;
        Ok(outcome.per_cpu(outcome.readings))
    };
    let server = influx::version()
        .ok_or_else(|| "influxd is not installed".to_owned())
        .and_then(|_| influx::start(&bench.folder("influx")).map_err(|error| format!("{error:#}")));
    let mut theirs = || {
        let server = server.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        let outcome = influx::write(server, bench.duration)?;
        Ok(outcome.per_cpu(outcome.readings))
    };
    let missing = server.as_ref().err().cloned();
    let name = "InfluxDB over HTTP, same lines".to_owned();
    let (ours, reference) = bench.in_turn_if(&mut ours, name, missing.map_or(Ok(&mut theirs), Err))?;
    let what = "line protocol, two fields a line".to_owned();
    Ok(Measurement { what, unit: "readings/CPU-s", ours, reference, goal: at_least(2e6, 4e6) })
}

/// Publishes per processor second of a server that answers each at once and keeps nothing, on the gateway's TLS
/// library: the least cost of one answer per message.
fn bare_answers(bench: &Bench, devices: &Devices, shape: Shape) -> anyhow::Result<f64> {
    let sink = bench.sink("answer")?;
    let outcome = load(Kind::Mqtt, &target(&sink, devices), shape)?;
    Ok(outcome.per_cpu(outcome.messages))
}

/// MQTT with many connections, and with many messages in flight.
pub(super) fn mqtt(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let devices: Devices = bench.pki.devices(64, &[])?;
    let site = Site::start(&bench.pki, &bench.folder("mqtt"), &[])?;
    let broker = mosquitto::version().ok_or_else(|| "mosquitto is not installed".to_owned()).and_then(|_| {
        mosquitto::start(&bench.pki.gateway().map_err(|e| e.to_string())?, &bench.folder("mosquitto"))
            .map_err(|error| format!("{error:#}"))
    });
    let missing = broker.as_ref().err().cloned();
    let mut measurements = Vec::new();
    let loads = [
        (Kind::Mqtt, 64, 1, times(1.0, 1.2), ""),
        (Kind::Mqtt, 4, 100, times(3.0, 5.0), ", many a write"),
        (Kind::MqttAlone, 4, 100, times(3.0, 6.0), ", each a write of its own"),
    ];
    for (kind, connections, in_flight, goal, how) in loads {
        let shape = Shape { connections, in_flight, ..bench.shape(kind, Ending::Acknowledged) };
        let measure = |target: &Target| {
            let outcome = load(kind, target, shape)?;
            Ok(outcome.per_cpu(outcome.messages))
        };
        let mut theirs = || {
            let broker = broker.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
            measure(&target(broker, &devices))
        };
        let bare = number(bare_answers(bench, &devices, shape)?);
        let name = format!("mosquitto, same load, nothing durable (a bare server that only answers: {bare})");
        let theirs = missing.clone().map_or(Ok(&mut theirs as _), Err);
        let (ours, reference) = bench.in_turn_if(&mut || measure(&site.target(&devices)), name, theirs)?;
        let what = format!("MQTT QoS 1, {connections} connections, {in_flight} in flight{how}");
        measurements.push(Measurement { what, unit: "publishes/CPU-s", ours, reference, goal });
    }
    Ok(measurements)
}

/// Full handshakes.
pub(super) fn handshakes(bench: &Bench) -> anyhow::Result<Measurement> {
    let devices: Devices = bench.pki.devices(CLIENTS, &[])?;
    let site = Site::start(&bench.pki, &bench.folder("handshakes"), &[])?;
    let acceptor = bench.sink("accept")?;
    let measure = |target: &Target, first| {
        let outcome = handshakes::run(target, CLIENTS, bench.duration, first)?;
        Ok(outcome.per_cpu(outcome.messages))
    };
    let pair = bench.in_turn(&mut || measure(&site.target(&devices), First::Connect), &mut || {
        measure(&target(&acceptor, &devices), First::Byte)
    })?;
    let mut measurement = of_sink(
        pair,
        "full mTLS handshakes of returning devices, up to MQTT CONNACK",
        "handshakes/CPU-s",
        times(0.85, 0.95),
    );
    measurement.reference.name = "bare acceptor".into();
    Ok(measurement)
}
