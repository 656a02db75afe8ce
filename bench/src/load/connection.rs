//! One connection of a load: as many messages in flight as its shape allows, or as many as are due.
//!
//! A single task writes all that it may, then reads; it never waits for the server while there is room in flight.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{Ending, Shape, ticks::Ticks};

/// Timeout for a greeting or an acknowledgement.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes collected before a write: some full TLS records.
const WRITE_BYTES: usize = 64 << 10;
/// Shortest time between two checks for due messages: a connection with more than a thousand per second sends those of
/// a millisecond together.
const TICK_MIN: Duration = Duration::from_millis(1);
/// Messages between two checks of the clock if none is acknowledged.
const UNANSWERED_AT_ONCE: usize = 64;

/// The protocol of a connection: what it sends and how it reads replies.
pub(crate) trait ProtocolClient: Send {
    /// The first bytes to send; a server that replies at all replies to them.
    fn greeting(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Appends the next message; returns the number of its readings.
    fn write_message(&mut self, out: &mut Vec<u8>) -> u64;

    /// Takes complete replies from the received bytes; returns whether the greeting was answered and how many messages
    /// are acknowledged so far.
    fn read_replies(&mut self, input: &mut BytesMut) -> anyhow::Result<Replies>;
}

/// State of the replies so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replies {
    pub(crate) greeted: bool,
    /// Messages acknowledged since the connection began.
    pub(crate) acknowledged: u64,
}

/// Sums over connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadCounts {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) readings: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Vec<f64>,
}

impl LoadCounts {
    /// Adds other counts.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.readings += other.readings;
        self.bytes += other.bytes;
        self.latencies.extend(other.latencies);
    }
}

/// Connects with a full TLS handshake.
pub(crate) async fn secure(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
    tcp.set_nodelay(true)?;
    let name = ServerName::from(addr.ip());
    TlsConnector::from(config).connect(name, tcp).await.context("the TLS handshake failed")
}

/// Messages due after a time but not yet sent; the first is due at once.
fn due(since: Duration, rate: f64, sent: u64) -> usize {
    let due = (since.as_secs_f64() * rate) as u64 + 1;
    usize::try_from(due.saturating_sub(sent)).unwrap_or(usize::MAX)
}

/// An open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    client: Box<dyn ProtocolClient>,
    input: BytesMut,
    /// Buffer for messages, reused after each write.
    out: Vec<u8>,
    acknowledged: u64,
    /// Creation times of unacknowledged messages, for loads with a rate.
    times: VecDeque<Instant>,
}

impl Connection {
    /// Connects and greets; waits for the reply to the greeting if the server `answers`.
    pub(crate) async fn open(
        addr: SocketAddr,
        config: Arc<ClientConfig>,
        client: Box<dyn ProtocolClient>,
        answers: bool,
    ) -> anyhow::Result<Self> {
        let stream = timeout(TIMEOUT, secure(addr, config)).await.context("no handshake in time")??;
        let input = BytesMut::with_capacity(8 << 10);
        let (out, times) = (Vec::new(), VecDeque::new());
        let mut connection = Self { stream, client, input, out, acknowledged: 0, times };
        if let Some(greeting) = connection.client.greeting() {
            connection.stream.write_all(&greeting).await?;
            connection.stream.flush().await?;
            while answers && !connection.read().await?.greeted {}
        }
        Ok(connection)
    }

    /// Reads once.
    async fn read(&mut self) -> anyhow::Result<Replies> {
        let read = timeout(TIMEOUT, self.stream.read_buf(&mut self.input)).await;
        if read.context("no answer in time")?? == 0 {
            bail!("the server closed the connection");
        }
        self.client.read_replies(&mut self.input)
    }

    /// Reads acknowledgements; if times are kept, adds the latencies of the messages that they cover.
    async fn receive(&mut self, counts: &mut LoadCounts) -> anyhow::Result<()> {
        let replies = self.read().await?;
        let news = replies.acknowledged.saturating_sub(self.acknowledged);
        self.acknowledged = self.acknowledged.max(replies.acknowledged);
        counts.acknowledged += news;
        if !self.times.is_empty() {
            let now = Instant::now();
            let covered = self.times.len().min(usize::try_from(news).unwrap_or(usize::MAX));
            counts.latencies.extend(self.times.drain(..covered).map(|at| (now - at).as_secs_f64()));
        }
        Ok(())
    }

    /// Waits until `count` messages are acknowledged.
    pub(crate) async fn acknowledged(&mut self, count: u64) -> anyhow::Result<()> {
        while self.read().await?.acknowledged < count {}
        Ok(())
    }

    /// Appends and writes `count` messages.
    pub(crate) async fn send(
        &mut self,
        count: usize,
        shape: &Shape,
        counts: &mut LoadCounts,
    ) -> anyhow::Result<()> {
        let mut out = std::mem::take(&mut self.out);
        for _ in 0..count {
            counts.readings += self.client.write_message(&mut out);
            counts.sent += 1;
            if shape.rate.is_some() && shape.ending == Ending::Acknowledged {
                self.times.push_back(Instant::now());
            }
            if shape.each_alone || out.len() >= WRITE_BYTES {
                counts.bytes += out.len() as u64;
                self.stream.write_all(&out).await?;
                if shape.each_alone {
                    self.stream.flush().await?;
                }
                out.clear();
            }
        }
        counts.bytes += out.len() as u64;
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        out.clear();
        self.out = out;
        Ok(())
    }

    /// Sends until the deadline, then waits for the missing acknowledgements. In loads with a rate, `phase` delays the
    /// first message by this fraction of the interval, so that connections do not all send at once.
    pub(crate) async fn drive(
        &mut self,
        shape: Shape,
        deadline: Instant,
        phase: f64,
    ) -> anyhow::Result<LoadCounts> {
        let mut counts = LoadCounts::default();
        match (shape.ending, shape.rate) {
            (Ending::Acknowledged, None) => self.drive_full(&shape, deadline, &mut counts).await?,
            (Ending::Acknowledged, Some(rate)) => {
                self.drive_paced(&shape, (rate, phase), deadline, &mut counts).await?
            }
            (Ending::Closed | Ending::CheckedByCaller, rate) => {
                self.drive_unanswered(&shape, rate, deadline, &mut counts).await?;
            }
        }
        if shape.ending == Ending::Closed {
            self.stream.shutdown().await?;
            // The server closes, with or without a TLS close_notify.
            let _ = timeout(TIMEOUT, self.stream.read_buf(&mut self.input)).await.context("not closed")?;
        }
        Ok(counts)
    }

    async fn drive_unanswered(
        &mut self,
        shape: &Shape,
        rate: Option<f64>,
        deadline: Instant,
        counts: &mut LoadCounts,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let most = UNANSWERED_AT_ONCE.min(shape.in_flight);
        while Instant::now() < deadline {
            let Some(rate) = rate else {
                self.send(most, shape, counts).await?;
                tokio::task::yield_now().await;
                continue;
            };
            let due = due(started.elapsed(), rate, counts.sent);
            self.send(due.min(most), shape, counts).await?;
            let next = started + Duration::from_secs_f64(counts.sent as f64 / rate);
            sleep_until(next.min(deadline).into()).await;
        }
        Ok(())
    }

    async fn drive_full(
        &mut self,
        shape: &Shape,
        deadline: Instant,
        counts: &mut LoadCounts,
    ) -> anyhow::Result<()> {
        loop {
            let waiting = usize::try_from(counts.sent - counts.acknowledged).unwrap_or(usize::MAX);
            if Instant::now() < deadline {
                self.send(shape.in_flight.saturating_sub(waiting), shape, counts).await?;
            } else if waiting == 0 {
                return Ok(());
            }
            self.receive(counts).await?;
        }
    }

    async fn drive_paced(
        &mut self,
        shape: &Shape,
        (rate, phase): (f64, f64),
        deadline: Instant,
        counts: &mut LoadCounts,
    ) -> anyhow::Result<()> {
        let first = Duration::from_secs_f64(phase / rate);
        let started = Instant::now() + first;
        let ticks = Ticks::start(first, Duration::from_secs_f64(1.0 / rate).max(TICK_MIN))?;
        let mut end = pin!(sleep_until(deadline.into()));
        loop {
            let waiting = usize::try_from(counts.sent - counts.acknowledged).unwrap_or(usize::MAX);
            let now = Instant::now();
            if now >= deadline {
                if waiting == 0 {
                    return Ok(());
                }
                self.receive(counts).await?;
                continue;
            }
            let since = now.checked_duration_since(started);
            let due = since.map_or(0, |since| due(since, rate, counts.sent));
            let room = shape.in_flight.saturating_sub(waiting);
            if due > 0 {
                self.send(due.min(room), shape, counts).await?;
            }
            tokio::select! {
                received = self.receive(counts), if counts.sent > counts.acknowledged => received?,
                tick = ticks.next(), if room > due => tick?,
                () = &mut end => {}
            }
        }
    }
}
