//! A device that numbers its messages, resends them until they are acknowledged, and records each reading in the
//! model once. Whatever happens to connection and gateway, the model then knows the expected result.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use catchment_proto::wire::{Column, DeviceMessage, Hello, Readings, SeriesName, device_message::Kind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    connection::{Connection, Credentials, Protocol, frame},
    eventually::wait_limit,
    model::{Labels, Model, Reading},
};

/// Unacknowledged messages in flight.
const IN_FLIGHT: usize = 64;
/// A connection without an acknowledgement for this long is given up: it may be frozen.
const SILENCE: Duration = Duration::from_secs(3);
/// Pause before a reconnect.
const PAUSE: Duration = Duration::from_millis(30);

/// Values with the same time and labels.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Event time, Unix milliseconds.
    pub time_ms: i64,
    /// The series' own labels.
    pub labels: Labels,
    /// Values by metric.
    pub values: Vec<(String, f64)>,
}

impl Sample {
    /// One value without labels.
    pub fn one(time_ms: i64, metric: &str, value: f64) -> Self {
        Self { time_ms, labels: Labels::new(), values: vec![(metric.to_owned(), value)] }
    }
}

/// A device of the world.
pub struct Device {
    identity: PathBuf,
    gateway: SocketAddr,
    protocol: Protocol,
    /// Labels `site`, `gateway` and `device`, given by the certificate and the gateway.
    place: Labels,
    model: Model,
    epoch: String,
    seq: u64,
    pending: VecDeque<(u64, Vec<u8>)>,
    /// Number of pending messages sent on this connection.
    sent: usize,
    connection: Option<Connection>,
    refused: Vec<Value>,
    acknowledged: Arc<AtomicU64>,
}

impl Device {
    /// A device that has not connected yet.
    pub fn new(
        identity: PathBuf,
        gateway: SocketAddr,
        protocol: Protocol,
        place: Labels,
        model: Model,
    ) -> Self {
        Self {
            identity,
            gateway,
            protocol,
            place,
            model,
            epoch: "boot-1".to_owned(),
            seq: 0,
            pending: VecDeque::new(),
            sent: 0,
            connection: None,
            refused: Vec::new(),
            acknowledged: Arc::default(),
        }
    }

    /// Shared counter of acknowledged messages.
    pub fn acknowledged(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.acknowledged)
    }

    /// Refusals that the gateway sent.
    pub fn refused(&self) -> &[Value] {
        &self.refused
    }

    /// Reboots the device with a new epoch; unacknowledged messages would be lost with their numbers, so settle first.
    ///
    /// # Panics
    /// When something is pending.
    pub fn reboot(&mut self, epoch: &str) {
        assert!(self.pending.is_empty(), "settle before a reboot");
        (self.epoch, self.seq, self.connection) = (epoch.to_owned(), 0, None);
    }

    /// Breaks the connection without close_notify.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a message, waiting while too many are in flight, and records it in the model.
    ///
    /// # Panics
    /// When nothing can be delivered within the wait limit.
    pub async fn send(&mut self, sample: &Sample) {
        self.put(sample);
        self.advance(IN_FLIGHT).await;
    }

    /// Disconnects in the middle of a message: some of its bytes are sent, then the connection ends. The message
    /// stays pending and is sent whole on the next connection.
    pub async fn send_torn(&mut self, sample: &Sample, cut: usize) {
        let Some(mut connection) = self.connection.take().filter(|_| self.sent == self.pending.len()) else {
            self.put(sample);
            return;
        };
        self.put(sample);
        if let Some((_, bytes)) = self.pending.back() {
            let part = &bytes[..cut % bytes.len()];
            // The connection may already be broken; ignore that.
            let _ = timeout(SILENCE, connection.send(part)).await;
        }
    }

    /// Numbers a message and records it, without sending it yet.
    fn put(&mut self, sample: &Sample) {
        for (metric, value) in &sample.values {
            let mut labels = self.place.clone();
            labels.extend(sample.labels.clone());
            let (metric, time_ms) = (metric.clone(), sample.time_ms);
            self.model.note(Reading { metric, labels, time_ms, value: *value });
        }
        self.seq += 1;
        let bytes = self.encode(sample);
        self.pending.push_back((self.seq, bytes));
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Panics
    /// When that does not happen within the wait limit.
    pub async fn settle(&mut self) {
        self.advance(0).await;
    }

    /// Resends the last messages, given again as `samples`, although they were acknowledged, as a device does that
    /// missed the acknowledgements.
    ///
    /// # Panics
    /// When the gateway does not acknowledge them.
    pub async fn repeat(&mut self, samples: &[Sample]) {
        let first = self.seq + 1 - samples.len() as u64;
        for (seq, sample) in (first..).zip(samples) {
            let last = std::mem::replace(&mut self.seq, seq);
            let bytes = self.encode(sample);
            self.seq = last;
            self.pending.push_back((seq, bytes));
        }
        // On this connection, after its welcome: the gateway itself must detect the duplicates.
        let connection = self.connection.as_mut().expect("repeats need an open connection");
        for (_, bytes) in self.pending.drain(..) {
            connection.send(&bytes).await.unwrap();
        }
        loop {
            let answer = timeout(wait_limit(), connection.answer()).await.unwrap().unwrap().unwrap();
            if answer["ack"].as_u64().unwrap() >= self.seq {
                return;
            }
        }
    }

    /// Works until at most `most` messages are pending.
    async fn advance(&mut self, most: usize) {
        let deadline = Instant::now() + wait_limit();
        loop {
            let error = match self.try_advance(most).await {
                Ok(()) => return,
                Err(error) => error,
            };
            assert!(
                Instant::now() < deadline,
                "{:?}: {} unacknowledged messages: {error}",
                self.place,
                self.pending.len()
            );
            sleep(PAUSE).await;
        }
    }

    async fn try_advance(&mut self, most: usize) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => timeout(SILENCE, self.connect()).await??,
        };
        while let Some((_, bytes)) = self.pending.get(self.sent) {
            timeout(SILENCE, connection.send(bytes)).await??;
            self.sent += 1;
        }
        while let Some(answer) = connection.ready_answer().await? {
            self.take(answer)?;
        }
        while self.pending.len() > most {
            let answer = timeout(SILENCE, connection.answer()).await??;
            self.take(answer.ok_or(io::ErrorKind::UnexpectedEof)?)?;
        }
        // Keep the connection only if everything succeeded.
        self.connection = Some(connection);
        Ok(())
    }

    /// Opens a connection, up to the welcome.
    async fn connect(&mut self) -> io::Result<Connection> {
        let credentials = Credentials::of(&self.identity);
        let mut connection = Connection::open(self.gateway, credentials, self.protocol).await?;
        match self.protocol {
            Protocol::Json => connection.line(&json!({"hello": {"epoch": self.epoch}}).to_string()).await?,
            Protocol::Frames => {
                let hello = Kind::Hello(Hello { epoch: self.epoch.clone() });
                connection.send(&frame(&DeviceMessage { kind: Some(hello) })).await?;
            }
        }
        let answer = connection.answer().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let welcome = &answer["welcome"];
        assert_eq!(welcome["epoch"], self.epoch, "{answer}");
        let ack = welcome["ack"].as_u64().expect("a welcome has an ack");
        assert!(ack <= self.seq, "the welcome acknowledges {ack}, but only {} were sent", self.seq);
        self.acknowledge(ack);
        self.sent = 0;
        Ok(connection)
    }

    fn take(&mut self, answer: Value) -> io::Result<()> {
        if let Some(ack) = answer["ack"].as_u64() {
            assert!(ack <= self.seq, "{ack} is acknowledged, but only {} were sent", self.seq);
            self.acknowledge(ack);
            return Ok(());
        }
        if answer.get("error").is_some() {
            self.refused.push(answer);
            return Ok(());
        }
        Err(io::Error::other(format!("unexpected: {answer}")))
    }

    fn acknowledge(&mut self, ack: u64) {
        while self.pending.front().is_some_and(|(seq, _)| *seq <= ack) {
            self.pending.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn encode(&self, sample: &Sample) -> Vec<u8> {
        match self.protocol {
            Protocol::Json => {
                let values: serde_json::Map<String, Value> =
                    sample.values.iter().map(|(metric, value)| (metric.clone(), json!(value))).collect();
                let mut message = json!({"seq": self.seq, "ts": sample.time_ms, "values": values});
                if !sample.labels.is_empty() {
                    message["labels"] = json!(sample.labels);
                }
                format!("{message}\n").into_bytes()
            }
            Protocol::Frames => {
                // Each message defines its indexes anew, so that it can be decoded on any connection.
                let define = (1..).zip(&sample.values).map(|(index, (metric, _))| SeriesName {
                    index,
                    metric: metric.clone(),
                    labels: sample.labels.clone(),
                });
                let columns = (1..).zip(&sample.values).map(|(series, (_, value))| Column {
                    series,
                    first_time_ns: sample.time_ms * 1_000_000,
                    step_ns: Vec::new(),
                    values: vec![*value],
                    states: Vec::new(),
                });
                let readings = Readings {
                    seq: self.seq,
                    define: define.collect(),
                    columns: columns.collect(),
                    readings: Vec::new(),
                };
                frame(&DeviceMessage { kind: Some(Kind::Readings(readings)) })
            }
        }
    }
}
