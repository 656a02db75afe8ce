//! Bytes on the wire from gateway to aggregator for each partial of ten readings.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{Bench, at_most_times};
use crate::{
    load::{self, Ending, Shape, connection::ProtocolClient, json},
    metrics,
    proxy::Proxy,
    report::{Measurement, Reference},
    world::{Site, aggregator},
};

/// Series of a device, and readings of each in a window of a second.
const SERIES: usize = 5;
const PER_WINDOW: f64 = 10.0;

/// Bytes and readings per partial, from `count` devices. They send every 100 ms; windows are one second wide.
pub(super) fn bytes_a_partial(bench: &Bench, count: usize) -> anyhow::Result<(f64, f64)> {
    let dir = bench.folder(&format!("uplink-{count}"));
    fs::create_dir_all(&dir)?;
    let aggregator = aggregator(&bench.pki, &dir)?;
    let proxy = Proxy::start(aggregator.addr)?;
    let flags = ["--window", "1s", "--grace", "1s"];
    let site = Site::start_towards(&bench.pki, &dir, &flags, aggregator, proxy.addr)?;
    let devices = bench.pki.devices(count, &[])?;
    let shape = Shape {
        connections: count,
        in_flight: 64,
        duration: if bench.quick { Duration::from_secs(2) } else { Duration::from_secs(10) },
        each_alone: false,
        ending: Ending::Acknowledged,
        rate: Some(PER_WINDOW),
    };
    let make = |number: usize| -> Box<dyn ProtocolClient> {
        // Each device has its own values: shared ones would compress better together.
        let pool = json::MessagePool::seeded(SERIES, 256, number as u64 * 100 + 1);
        Box::new(json::Json::new(&pool, Some(format!("uplink-{number}")), number))
    };
    let before = proxy.up();
    load::run(&site.target(&devices), shape, &make, &mut |_| Ok(()))?;
    let value = |name: &str| -> anyhow::Result<f64> { Ok(metrics::sum(&metrics::text(site.http)?, name)) };
    let deadline = Instant::now() + Duration::from_secs(60);
    // Wait until all windows have closed and are delivered.
    while value("catchment_gateway_open_windows")? > 0.0
        || value("catchment_gateway_batches_total")? > value("catchment_gateway_batches_acknowledged_total")?
    {
        ensure!(Instant::now() < deadline, "windows were not delivered in time");
        sleep(Duration::from_millis(100));
    }
    // The gauge of open windows is updated once a second.
    sleep(Duration::from_millis(1_500));
    let partials = value("catchment_gateway_partials_total")?;
    ensure!(partials > 0.0, "no partial left the gateway");
    // The first and the last window are not full.
    let readings = value("catchment_gateway_readings_total")? / partials;
    println!("  {readings:.2} readings a partial");
    Ok(((proxy.up() - before) as f64 / partials, readings))
}

/// Bytes of that many readings as JSON, one reading per line, with the load's values.
fn as_json(readings: f64) -> f64 {
    let mut device = json::Json::new(&json::MessagePool::new(1), None, 1);
    let mut out = Vec::new();
    let lines = 1_000;
    for _ in 0..lines {
        device.write_message(&mut out);
    }
    out.len() as f64 / f64::from(lines) * readings
}

/// Measures once: bytes hardly vary.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Measurement> {
    let (ours, readings) = bytes_a_partial(bench, bench.sized(200, 20))?;
    let reference = Reference { name: "the ten readings as JSON".into(), value: Ok(as_json(readings)) };
    let what = "uplink bytes a partial of ten readings".to_owned();
    Ok(Measurement { what, unit: "bytes", ours, reference, goal: at_most_times(1.0 / 10.0, 1.0 / 20.0) })
}
