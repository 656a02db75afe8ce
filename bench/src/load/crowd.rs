//! A crowd of connections that send nothing or one byte a second, while other devices are measured.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::client::TlsStream;

use super::{Target, connection::secure, event_loop};

/// Concurrent handshakes.
const AT_ONCE: usize = 32;
/// Parts of a second over which the bytes of all connections are spread.
const PARTS: usize = 500;
/// The start of a JSON line that never ends.
const BEGINNING: &[u8] = b"{\"a";

/// Connections that are open until this is dropped.
pub(crate) struct Crowd {
    leave: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Opens `silent` connections that send nothing and `trickling` connections that send one byte a second, each of
    /// another device. Returns when all are open.
    ///
    /// # Errors
    /// A handshake that fails.
    pub(crate) fn gather(target: &Target, silent: usize, trickling: usize) -> anyhow::Result<Self> {
        let (target, (leave, left), (gathered, ready)) =
            (target.clone(), oneshot::channel(), mpsc::sync_channel(1));
        let body = async move || {
            let open = async |device| secure(target.addr, target.device(device)?).await;
            let opening = stream::iter(0..silent + trickling).map(open).buffer_unordered(AT_ONCE);
            let mut open: Vec<TlsStream<TcpStream>> = match opening.try_collect().await {
                Ok(open) => open,
                Err(error) => return drop(gathered.send(Err(error))),
            };
            let _ = gathered.send(Ok(()));
            let mut trickling = open.split_off(silent);
            tokio::select! {
                () = trickle(&mut trickling) => {}
                _ = left => {}
            }
        };
        let thread = thread::spawn(move || {
            if let Ok(event_loop) = event_loop() {
                event_loop.block_on(body());
            }
        });
        let crowd = Self { leave: Some(leave), thread: Some(thread) };
        ready.recv().context("the crowd's thread has ended")??;
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.leave.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the crowd panicked");
        }
    }
}

/// Sends one byte a second on each connection, spread over the second. Ignores closed connections.
async fn trickle(connections: &mut [TlsStream<TcpStream>]) {
    for connection in connections.iter_mut() {
        let _ = connection.write_all(BEGINNING).await;
        let _ = connection.flush().await;
    }
    let mut ticks = interval(Duration::from_secs(1) / PARTS as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for part in (0..PARTS).cycle() {
        ticks.tick().await;
        for connection in connections.iter_mut().skip(part).step_by(PARTS) {
            let _ = connection.write_all(b"a").await;
            let _ = connection.flush().await;
        }
    }
}
