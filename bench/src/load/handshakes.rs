//! Full handshakes at full speed: connect, authenticate, receive a first reply, close.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{Outcome, Target, connection::secure, cpu_of, event_loop, mqtt, threads, unique};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The first exchange after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// Sends an MQTT CONNECT and waits for its reply of four bytes.
    Connect,
    /// Waits for the one byte of the bare acceptor.
    Byte,
}

async fn once(target: &Target, client: usize, first: First, name: &str) -> anyhow::Result<()> {
    let mut stream = secure(target.addr, target.device(client)?).await?;
    match first {
        First::Connect => {
            stream.write_all(&mqtt::connect(name)).await?;
            stream.flush().await?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await?;
            ensure!(answer == [0x20, 2, 0, 0], "CONNECT is refused: {answer:?}");
        }
        First::Byte => {
            stream.read_u8().await?;
        }
    }
    stream.shutdown().await?;
    Ok(())
}

/// One handshake for each of `devices` devices, one after the other.
///
/// # Errors
/// A handshake that fails.
pub(crate) fn each_once(target: &Target, devices: usize) -> anyhow::Result<()> {
    let run = unique();
    event_loop()?.block_on(async {
        for device in 0..devices {
            once(target, device, First::Connect, &format!("{run}-{device}")).await?;
        }
        Ok(())
    })
}

/// Devices that connect concurrently after an outage, to a gateway and to the acceptor that it is compared with.
pub(super) const RETURNING_AT_ONCE: usize = 512;

/// Seconds for one handshake of each of `devices` devices.
///
/// # Errors
/// A handshake that fails.
pub(crate) fn all_at_once(target: &Target, devices: usize, first: First) -> anyhow::Result<f64> {
    let run = unique();
    event_loop()?.block_on(async {
        let started = Instant::now();
        let each = async |device: usize| once(target, device, first, &format!("{run}-{device}")).await;
        let all = stream::iter(0..devices).map(each).buffer_unordered(RETURNING_AT_ONCE);
        all.try_collect::<Vec<()>>().await?;
        Ok(started.elapsed().as_secs_f64())
    })
}

/// Makes handshakes from many clients concurrently; in the outcome, messages are handshakes.
///
/// # Errors
/// A handshake that fails.
pub(crate) fn run(
    target: &Target,
    clients: usize,
    duration: Duration,
    first: First,
) -> anyhow::Result<Outcome> {
    let (count, threads, run) = (AtomicU64::new(0), threads(), unique());
    let before = cpu_of(target)?;
    let started = Instant::now();
    let deadline = started + duration;
    let client = async |client: usize| -> anyhow::Result<()> {
        let name = format!("{run}-{client}");
        while Instant::now() < deadline {
            timeout(TIMEOUT, once(target, client, first, &name)).await.context("no handshake in time")??;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let part = |thread: usize| {
        let clients = (thread..clients).step_by(threads);
        event_loop()?.block_on(futures_util::future::try_join_all(clients.map(client))).map(drop)
    };
    thread::scope(|scope| {
        let part = &part;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread of the load panicked"))?)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let messages = count.into_inner();
    Ok(Outcome { messages, seconds, cpu: cpu_of(target)? - before, ..Outcome::default() })
}
