//! `catchment-bench load KIND`: one load against a running server, to profile it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use tokio_rustls::rustls::ClientConfig;

use super::{
    Ending, Outcome, Shape, Target, client,
    connection::ProtocolClient,
    delivery, frames,
    handshakes::{self, First},
    idle, json, line_protocol, mqtt, run, unique,
};
use crate::metrics;

/// The kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Frames of 1,000 readings of 10 series
    Frames,
    /// Frames of one reading, each in its own write
    Singles,
    /// Numbered JSON lines of 10 readings
    Json,
    /// JSON lines of 10 readings without numbers
    JsonUnnumbered,
    /// Line protocol, two fields per line; needs --http if the server is a gateway
    LineProtocol,
    /// MQTT 3.1.1, QoS 1, one reading per publish
    Mqtt,
    /// MQTT 3.1.1, QoS 1, each publish in its own write
    MqttAlone,
    /// Full handshakes
    Handshakes,
    /// Silent connections; needs --pid
    Idle,
    /// Batches of partials to an aggregator; --identities is the folder of one gateway's identity
    Delivery,
}

impl Kind {
    /// Default number of connections, and of messages in flight on each.
    pub(crate) fn defaults(self) -> (usize, usize) {
        match self {
            Self::Frames => (8, 16),
            Self::Singles => (64, 64),
            Self::Json | Self::JsonUnnumbered => (8, 256),
            Self::LineProtocol => (8, 64),
            Self::Mqtt => (64, 1),
            Self::MqttAlone => (4, 100),
            Self::Handshakes => (32, 1),
            Self::Idle => (1_000, 1),
            Self::Delivery => (2, 64),
        }
    }

    /// Whether each message is written alone, as devices do, rather than many at once.
    pub(crate) fn writes_each(self) -> bool {
        matches!(self, Self::Singles | Self::MqttAlone)
    }

    /// The application protocols that a client offers.
    pub(crate) fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Frames | Self::Singles => &[frames::ALPN],
            _ => &[],
        }
    }

    /// Makes the protocol clients of a load.
    pub(crate) fn clients(self, readings: usize) -> Box<dyn Fn(usize) -> Box<dyn ProtocolClient> + Sync> {
        let run = unique();
        let epoch = move |number: usize| format!("{run}-{number}");
        match self {
            Self::Frames | Self::Singles => {
                let series = if self == Self::Singles { 1 } else { readings.clamp(1, 10) };
                let each = if self == Self::Singles { 1 } else { (readings / series).max(1) };
                let pool = frames::MessagePool::new();
                Box::new(move |n| Box::new(frames::Frames::new(&pool, epoch(n), n, series, each)))
            }
            Self::JsonUnnumbered | Self::Idle => {
                let pool = json::MessagePool::new(10);
                Box::new(move |n| Box::new(json::Json::new(&pool, None, n)))
            }
            Self::LineProtocol => {
                let pool = line_protocol::MessagePool::new();
                Box::new(move |n| Box::new(line_protocol::LineProtocol::new(&pool, n)))
            }
            Self::Mqtt | Self::MqttAlone => {
                let pool = mqtt::MessagePool::new();
                Box::new(move |n| Box::new(mqtt::Mqtt::new(&pool, epoch(n), n)))
            }
            Self::Json | Self::Handshakes | Self::Delivery => {
                let pool = json::MessagePool::new(10);
                Box::new(move |n| Box::new(json::Json::new(&pool, Some(epoch(n)), n)))
            }
        }
    }
}

/// Options of a manual load.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    kind: Kind,
    /// Server address
    #[arg(long)]
    addr: SocketAddr,
    /// Folder of device identity folders, such as PKI/site/SITE/device
    #[arg(long, value_name = "DIR")]
    identities: PathBuf,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long)]
    connections: Option<usize>,
    /// Unacknowledged messages per connection
    #[arg(long)]
    in_flight: Option<usize>,
    /// Readings per frame
    #[arg(long, default_value_t = 1_000)]
    readings: usize,
    /// Messages per second and connection, with latencies [default: full speed]
    #[arg(long)]
    rate: Option<f64>,
    /// Number of series of a delivery
    #[arg(long, default_value_t = 10_000)]
    series: usize,
    /// Process id of the server, to read its CPU time or memory
    #[arg(long)]
    pid: Option<u32>,
    /// Address of the gateway's /metrics, for line protocol
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Expect `catchment-bench sink` as the server
    #[arg(long)]
    sink: bool,
}

/// The client configurations of the first `most` identity folders in a folder, by name.
fn devices(dir: &Path, alpn: &[&[u8]], most: usize) -> anyhow::Result<Arc<[Arc<ClientConfig>]>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut folders: Vec<_> = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    folders.retain(|folder| folder.join("cert.pem").is_file());
    folders.sort();
    ensure!(!folders.is_empty(), "{} holds no identity folders", dir.display());
    folders.iter().take(most).map(|folder| client(folder, alpn)).collect()
}

/// Waits until a gateway has taken `readings` more than `before`, and refused none.
pub(crate) fn await_readings(http: SocketAddr, before: f64, readings: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = metrics::text(http)?;
        let refused = metrics::sum(&text, "catchment_gateway_readings_refused_total");
        ensure!(refused == 0.0, "{refused} readings were refused");
        let now = metrics::sum(&text, "catchment_gateway_readings_total") - before;
        if now >= readings as f64 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "only {now} of {readings} readings were taken in time");
        sleep(Duration::from_millis(10));
    }
}

/// Readings that a gateway has taken.
pub(crate) fn readings(http: SocketAddr) -> anyhow::Result<f64> {
    Ok(metrics::sum(&metrics::text(http)?, "catchment_gateway_readings_total"))
}

fn print(kind: Kind, outcome: &Outcome) {
    let Outcome { messages, readings, bytes, seconds, cpu, latencies } = outcome;
    println!("{messages} messages ({readings} readings, {bytes} bytes), all taken, in {seconds:.2} s");
    println!(
        "{:.0} messages and {:.0} readings a second",
        *messages as f64 / seconds,
        *readings as f64 / seconds
    );
    if *cpu > 0.0 {
        let (first, second) = (outcome.per_cpu(*messages), outcome.per_cpu(*readings));
        println!("{kind:?}: {cpu:.2} CPU-seconds; {first:.0} messages, {second:.0} readings per CPU-second");
    }
    if !latencies.is_empty() {
        let of = |q| 1e3 * crate::report::quantile(latencies, q);
        println!("acknowledged after {:.2} ms (p50), {:.2} ms (p99)", of(0.5), of(0.99));
    }
}

/// Runs a load and prints its results.
///
/// # Errors
/// A load that fails.
pub(crate) fn start(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { kind, addr, pid, http, sink, .. } = *arguments;
    let (connections, in_flight) = kind.defaults();
    let connections = arguments.connections.unwrap_or(connections);
    let in_flight = arguments.in_flight.unwrap_or(in_flight).max(1);
    let duration = Duration::from_secs_f64(arguments.seconds);
    if kind == Kind::Delivery {
        let load = delivery::Load { addr, pid, series: arguments.series, in_flight, duration, rate: None };
        print(kind, &delivery::run(&load, &arguments.identities)?);
        return Ok(());
    }
    let devices = devices(&arguments.identities, kind.alpn(), connections.max(1))?;
    let target = Target { addr, pid, devices };
    let outcome = match kind {
        Kind::Handshakes => {
            let first = if sink { First::Byte } else { First::Connect };
            handshakes::run(&target, connections, duration, first)?
        }
        Kind::Idle => {
            let bytes = idle::run(&target, connections, duration, !sink)?;
            println!("{bytes:.0} bytes a connection");
            return Ok(());
        }
        _ => {
            let ending = match (sink, kind) {
                (true, _) => Ending::Closed,
                (false, Kind::LineProtocol) => Ending::CheckedByCaller,
                (false, _) => Ending::Acknowledged,
            };
            let rate = arguments.rate;
            let each_alone = kind.writes_each();
            let shape = Shape { connections, in_flight, duration, each_alone, ending, rate };
            let counter = http.filter(|_| ending == Ending::CheckedByCaller);
            ensure!(
                counter.is_some() || ending != Ending::CheckedByCaller,
                "--http is needed: line protocol has no acknowledgements"
            );
            let before = counter.map(readings).transpose()?.unwrap_or(0.0);
            run(&target, shape, &*kind.clients(arguments.readings), &mut |messages| match counter {
                Some(http) => await_readings(http, before, messages * line_protocol::FIELDS),
                None => Ok(()),
            })?
        }
    };
    print(kind, &outcome);
    Ok(())
}
