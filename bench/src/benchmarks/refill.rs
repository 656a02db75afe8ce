//! How soon a gateway refills an emptied aggregator with the batches that it keeps.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{Bench, goals::at_most};
use crate::{
    load::{backfill, manual::Kind},
    metrics,
    process::{Server, beside, free_addr},
    report::{Measurement, Reference},
    world,
};

/// Series of a device, and windows of each: an hour of windows of 10 s.
const SERIES: usize = 10;
const WINDOWS: usize = 360;
/// Hours of a day: the figure is of a day, measured over one of its hours.
const HOURS: f64 = 24.0;
const TIMEOUT: Duration = Duration::from_secs(600);

/// Minutes from the start of the emptied aggregator until it has everything again, against the first delivery.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Measurement> {
    let dir = bench.folder("refill");
    fs::create_dir_all(&dir)?;
    let devices = bench.sized(1_000, 20);
    let expected = (devices * SERIES * WINDOWS) as f64;
    let ports = [free_addr()?, free_addr()?];
    let aggregator = start(bench, &dir, ports)?;
    let mut command = Command::new(beside("catchment-gateway")?);
    command.arg("--identity").arg(bench.pki.gateway()?).arg("--data").arg(dir.join("gateway"));
    command.args(["--listen", "127.0.0.1:0", "--open-windows-max", "10000000", "--outbox-keep", "1d"]);
    command.args(["--aggregator", &format!("https://{}", ports[0])]);
    let gateway = Server::start(command, &dir.join("gateway.log"))?;
    let configs = bench.pki.devices(devices, Kind::Frames.alpn())?;
    let began = Instant::now();
    backfill::run_wide(&world::target(&gateway, &configs), devices, SERIES, WINDOWS)?;
    let first = delivered(ports[1], expected, began)?;
    drop(aggregator);
    fs::remove_dir_all(dir.join("aggregator"))?;
    let began = Instant::now();
    let _aggregator = start(bench, &dir, ports)?;
    let again = delivered(ports[1], expected, began)?;
    let of_a_day = |took: Duration| took.as_secs_f64() / 60.0 * HOURS;
    println!("  refilled {expected} windows in {:.1} s", again.as_secs_f64());
    Ok(Measurement {
        what: "refill: a day of 10,000 series to an emptied aggregator (24 times one of its hours)"
            .to_owned(),
        unit: "min",
        ours: of_a_day(again),
        reference: Reference { name: "the same from the devices".to_owned(), value: Ok(of_a_day(first)) },
        goal: at_most(10.0, 3.0),
    })
}

/// An aggregator at these addresses: for gateways, for metrics.
fn start(bench: &Bench, dir: &Path, ports: [SocketAddr; 2]) -> anyhow::Result<Server> {
    let mut command = Command::new(beside("catchment-aggregator")?);
    command.arg("--identity").arg(bench.pki.aggregator()?).arg("--data").arg(dir.join("aggregator"));
    command.args(["--listen", &ports[0].to_string(), "--http", &ports[1].to_string()]);
    Server::start(command, &dir.join("aggregator.log"))
}

/// Waits until so many partials are durable.
fn delivered(http: SocketAddr, expected: f64, began: Instant) -> anyhow::Result<Duration> {
    loop {
        let partials = metrics::sum(&metrics::text(http)?, "catchment_aggregator_ingest_partials_total");
        if partials >= expected {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < TIMEOUT, "{partials} of {expected} partials were delivered");
        thread::sleep(Duration::from_millis(50));
    }
}
