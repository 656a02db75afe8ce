//! Devices that send one reading and then stay silent: the memory of a connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;

use super::{
    Ending, Shape, Target,
    connection::{Connection, LoadCounts},
    event_loop,
    handshakes::RETURNING_AT_ONCE,
    json::{Json, MessagePool},
};
use crate::cpu;

/// Concurrent handshakes.
const AT_ONCE: usize = 32;

/// Opens a connection, sends one reading and waits for its acknowledgement if the server sends one.
async fn open(
    target: &Target,
    number: usize,
    pool: &Arc<MessagePool>,
    answered: bool,
) -> anyhow::Result<Connection> {
    let client = Box::new(Json::new(pool, None, number));
    let mut connection = Connection::open(target.addr, target.device(number)?, client, answered).await?;
    let ending = if answered { Ending::Acknowledged } else { Ending::CheckedByCaller };
    let shape = Shape {
        connections: 1,
        in_flight: 1,
        duration: Duration::ZERO,
        each_alone: true,
        ending,
        rate: None,
    };
    connection.send(1, &shape, &mut LoadCounts::default()).await?;
    if answered {
        connection.acknowledged(1).await?;
    }
    Ok(connection)
}

/// Seconds until each of `connections` devices is connected and has one message acknowledged.
///
/// # Errors
/// A connection that fails.
pub(crate) fn all_at_once(target: &Target, connections: usize) -> anyhow::Result<f64> {
    let pool = MessagePool::new(1);
    event_loop()?.block_on(async {
        let started = Instant::now();
        let opening = stream::iter(0..connections).map(|number| open(target, number, &pool, true));
        let open: Vec<Connection> = opening.buffer_unordered(RETURNING_AT_ONCE).try_collect().await?;
        let seconds = started.elapsed().as_secs_f64();
        drop(open);
        Ok(seconds)
    })
}

/// Resident bytes of the server per connection, after a silence. A first connection is served before the baseline.
///
/// # Errors
/// A connection that fails.
pub(crate) fn run(
    target: &Target,
    connections: usize,
    silence: Duration,
    answered: bool,
) -> anyhow::Result<f64> {
    let pid = target.pid.context("the server's process id is needed to read its memory")?;
    let pool = MessagePool::new(1);
    event_loop()?.block_on(async {
        let first = open(target, 0, &pool, answered).await?;
        sleep(Duration::from_millis(500)).await;
        let before = cpu::resident(pid)?;
        let opening = stream::iter(1..=connections).map(|number| open(target, number, &pool, answered));
        let started = Instant::now();
        let open: Vec<Connection> = opening.buffer_unordered(AT_ONCE).try_collect().await?;
        println!("  {} connections in {:.1} s", open.len(), started.elapsed().as_secs_f64());
        sleep(silence).await;
        let after = cpu::resident(pid)?;
        drop(first);
        Ok((after as f64 - before as f64) / open.len().max(1) as f64)
    })
}
