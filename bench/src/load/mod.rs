//! Load on a server, from this process: TLS connections whose messages are made ahead except for numbers and times.
//!
//! [`run`] opens all connections, lets them send until the time is over, then waits for outstanding acknowledgements;
//! the server's processor time is read just before and just after. At most two threads, each with its own event loop:
//! the server shares the machine's processors.

pub(crate) mod backfill;
pub(crate) mod connection;
pub(crate) mod crowd;
pub(crate) mod delivery;
pub(crate) mod frames;
pub(crate) mod handshakes;
pub(crate) mod idle;
pub(crate) mod json;
pub(crate) mod line_protocol;
pub(crate) mod manual;
pub(crate) mod mqtt;
pub(crate) mod queries;
mod ticks;
pub(crate) mod walk;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow, ensure};
use catchment_certs::{ClientTls, IdentityFolder};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_rustls::rustls::ClientConfig;

use self::connection::{Connection, LoadCounts, ProtocolClient};
use crate::cpu;

/// Concurrent handshakes per thread.
const HANDSHAKES_AT_ONCE: usize = 16;

/// The target of a load, and the identities to present.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// Process id of the server, to read its CPU time or memory.
    pub(crate) pid: Option<u32>,
    /// One for each device; connections take them in turn.
    pub(crate) devices: Arc<[Arc<ClientConfig>]>,
}

impl Target {
    /// The device of a connection.
    pub(crate) fn device(&self, connection: usize) -> anyhow::Result<Arc<ClientConfig>> {
        let index = connection.checked_rem(self.devices.len()).context("no device identities")?;
        self.devices.get(index).cloned().context("no device identities")
    }
}

/// The client configuration of a device, from its identity folder.
pub(crate) fn client(dir: &Path, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
    Ok(ClientTls::new(&IdentityFolder::load(dir)?, alpn)?.config())
}

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Most unacknowledged messages per connection.
    pub(crate) in_flight: usize,
    pub(crate) duration: Duration,
    /// Each message is written and flushed alone, as a device that sends one at a time does.
    pub(crate) each_alone: bool,
    /// Whether the server acknowledges; if not, the connection is closed and the server's end awaited.
    pub(crate) ending: Ending,
    /// Messages per second and connection; `None`: full speed.
    pub(crate) rate: Option<f64>,
}

/// How a connection knows that the server has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every message is acknowledged.
    Acknowledged,
    /// The server closes after it has read everything.
    Closed,
    /// The caller checks.
    CheckedByCaller,
}

/// The outcome of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Messages sent; all of them acknowledged if the server acknowledges.
    pub(crate) messages: u64,
    /// Readings in them.
    pub(crate) readings: u64,
    /// Bytes of the messages, before encryption.
    pub(crate) bytes: u64,
    /// From the first message to the last acknowledgement.
    pub(crate) seconds: f64,
    /// Processor seconds of the server in that time; 0 without its process.
    pub(crate) cpu: f64,
    /// Seconds from each message to its acknowledgement, for loads with a rate.
    pub(crate) latencies: Vec<f64>,
}

impl Outcome {
    /// A number per processor second.
    pub(crate) fn per_cpu(&self, count: u64) -> f64 {
        if self.cpu > 0.0 { count as f64 / self.cpu } else { 0.0 }
    }
}

/// Processor seconds of a server, 0 without its process.
pub(crate) fn cpu_of(target: &Target) -> anyhow::Result<f64> {
    target.pid.map_or(Ok(0.0), cpu::seconds)
}

/// The time in Unix nanoseconds.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A text that differs in every run: prefix of epochs and client identifiers.
pub(crate) fn unique() -> String {
    format!("{:x}", now_ns())
}

/// Threads that make load.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(2)
}

/// An event loop for one thread.
pub(crate) fn event_loop() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Makes the protocol client of a connection, given its number.
pub(crate) type MakeClient<'a> = &'a (dyn Fn(usize) -> Box<dyn ProtocolClient> + Sync);

/// Runs a load. When all connections are done, `settle` is called with the number of messages sent, before the server's
/// CPU time is read: it waits for work that the connections cannot observe.
///
/// # Errors
/// A connection that fails, is refused, or gets no acknowledgement.
pub(crate) fn run(
    target: &Target,
    shape: Shape,
    make: MakeClient<'_>,
    settle: &mut dyn FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let threads = threads().min(shape.connections.max(1));
    thread::scope(|scope| {
        let (reports, reported) = mpsc::sync_channel::<anyhow::Result<LoadCounts>>(threads);
        let mut signals = Vec::with_capacity(threads);
        for thread in 0..threads {
            let (signal, signalled) = mpsc::sync_channel::<Instant>(1);
            signals.push(signal);
            let reports = reports.clone();
            let numbers: Vec<usize> = (thread..shape.connections).step_by(threads).collect();
            scope.spawn(move || {
                if let Err(error) = part(target, shape, make, &numbers, &reports, &signalled) {
                    let _ = reports.send(Err(error));
                }
            });
        }
        drop(reports);
        let gather = || -> anyhow::Result<LoadCounts> {
            let mut sum = LoadCounts::default();
            for _ in 0..threads {
                sum.add(reported.recv().map_err(|_| anyhow!("a thread of the load ended"))??);
            }
            Ok(sum)
        };
        // A thread that has ended has already reported why.
        let tell = |at: Instant| {
            for signal in &signals {
                let _ = signal.send(at);
            }
        };
        gather()?;
        let before = cpu_of(target)?;
        let started = Instant::now();
        tell(started + shape.duration);
        let counts = gather()?;
        settle(counts.sent)?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = cpu_of(target)? - before;
        tell(Instant::now());
        let LoadCounts { sent, acknowledged, readings, bytes, latencies } = counts;
        ensure!(
            shape.ending != Ending::Acknowledged || sent == acknowledged,
            "{sent} messages were sent, {acknowledged} acknowledged"
        );
        Ok(Outcome { messages: sent, readings, bytes, seconds, cpu, latencies })
    })
}

/// One thread's connections: open, report, send when signalled, report, close when signalled.
fn part(
    target: &Target,
    shape: Shape,
    make: MakeClient<'_>,
    numbers: &[usize],
    reports: &mpsc::SyncSender<anyhow::Result<LoadCounts>>,
    signalled: &mpsc::Receiver<Instant>,
) -> anyhow::Result<()> {
    let event_loop = event_loop()?;
    let opening = stream::iter(numbers.iter().copied()).map(|number| async move {
        let answers = shape.ending == Ending::Acknowledged;
        Connection::open(target.addr, target.device(number)?, make(number), answers).await
    });
    let connections: Vec<Connection> =
        event_loop.block_on(opening.buffer_unordered(HANDSHAKES_AT_ONCE).try_collect())?;
    reports.send(Ok(LoadCounts::default()))?;
    let Ok(deadline) = signalled.recv() else { return Ok(()) };
    let (counts, connections) = event_loop.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for (number, mut connection) in numbers.iter().zip(connections) {
            let phase = *number as f64 / shape.connections as f64;
            running.spawn(async move {
                let counts = connection.drive(shape, deadline, phase).await?;
                anyhow::Ok((counts, connection))
            });
        }
        let (mut sum, mut done) = (LoadCounts::default(), Vec::new());
        while let Some(result) = running.join_next().await {
            let (counts, connection) = result??;
            sum.add(counts);
            done.push(connection);
        }
        anyhow::Ok((sum, done))
    })?;
    reports.send(Ok(counts))?;
    let _ = signalled.recv();
    drop(connections);
    Ok(())
}
