//! Runs a load: threads, their connections, and the order of start and end.

use std::{sync::mpsc, thread, time::Instant};

use anyhow::{anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    connection::{Connection, LoadCounts, ProtocolClient},
    shape::{Ending, Outcome, Shape},
    target::{Target, cpu_of},
};

/// Concurrent handshakes per thread.
const HANDSHAKES_AT_ONCE: usize = 16;

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
