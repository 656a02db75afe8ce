//! Devices: they take readings, may number their messages, and resend until acknowledged.

use std::collections::VecDeque;

use catchment_gateway::session::protocol::Protocol;
use catchment_proto::{Labels, MetricName, Name, SeriesKey};

use crate::{
    messages,
    random::Random,
    truth::{Reading, Truth},
};

/// Most unacknowledged messages; beyond, a device takes no more readings.
const BUFFER_MAX: usize = 12;

/// Value and state of a reading, from quarters: mostly a value, sometimes a boolean or a state alone.
fn value(quarters: i64) -> (Option<f64>, Option<&'static str>) {
    match quarters.rem_euclid(10) {
        0 => (None, Some(if quarters < 0 { "auto" } else { "manual" })),
        1 => (Some(1.0), Some("true")),
        2 => (Some(0.0), Some("false")),
        _ => (Some(quarters as f64 / 4.0), None),
    }
}

/// A message of a device.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its sequence number; without numbers, its ordinal on the connection.
    pub seq: u64,
    /// Its readings.
    pub readings: Vec<Reading>,
}

/// From a gateway to a device.
#[derive(Clone, Copy, Debug)]
pub enum ToDevice {
    /// Highest durable sequence number of the epoch.
    Welcome(u64),
    /// Everything up to a number is durable.
    Ack(u64),
}

/// A connection, seen from the device.
#[derive(Debug, Default)]
pub struct Wire {
    /// Its number at the gateway.
    pub session: u64,
    /// Bytes in flight to the gateway.
    pub up: Vec<u8>,
    /// In flight to the device.
    pub down: VecDeque<ToDevice>,
    welcomed: bool,
    /// Messages of the buffer sent on this connection.
    sent: usize,
}

/// A device.
#[derive(Debug)]
pub struct Device {
    /// Its name.
    pub name: Name,
    /// Number of its gateway.
    pub gateway: usize,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its series.
    pub series: Vec<(MetricName, Labels)>,
    /// Its connection, while it has one.
    pub wire: Option<Wire>,
    numbered: bool,
    boots: u64,
    last_seq: u64,
    buffer: VecDeque<Message>,
}

impl Device {
    /// A device of a gateway.
    pub fn new(number: usize, gateway: usize, random: &mut Random) -> Self {
        let name = Name::new(&format!("d{number}")).expect("a letter and digits");
        let metric = |n: usize| MetricName::new(["temperature", "pressure"][n % 2]).expect("letters");
        let room = Labels::new([("room", "3")]).expect("one label");
        let series = [(metric(0), Labels::none()), (metric(1), Labels::none()), (metric(0), room)];
        let count = 1 + random.index(series.len());
        // A numbered line of JSON has one reading: fewer of those.
        let protocol = if random.chance(700) { Protocol::Frames } else { Protocol::Json };
        Self {
            name,
            gateway,
            protocol,
            series: series.into_iter().take(count).collect(),
            wire: None,
            numbered: random.chance(750),
            boots: 1,
            last_seq: 0,
            buffer: VecDeque::new(),
        }
    }

    /// A series as text.
    fn series_text(&self, series: usize) -> String {
        let (metric, labels) = self.series[series].clone();
        SeriesKey { device: self.name.clone(), metric, labels }.to_string()
    }

    /// Takes readings into a message. `now`: nanoseconds by a correct clock.
    pub fn take(&mut self, now: i64, random: &mut Random, gateway: &str, truth: &mut Truth) {
        if self.buffer.len() >= BUFFER_MAX || (!self.numbered && self.wire.is_none()) {
            return;
        }
        let mut readings = Vec::new();
        let most = match self.protocol {
            Protocol::Json if self.numbered => 1,
            _ if random.chance(50) => 30,
            _ => 3,
        };
        for _ in 0..=random.below(most) {
            let back = match random.below(20) {
                0 => random.between(0, 120_000),
                1 => random.between(-20_000, 0),
                2 => 0,
                _ => random.between(0, 1_500),
            };
            let time = (now / 1_000_000 - back) * 1_000_000;
            let (value, state) = value(random.between(-400, 400));
            readings.push(Reading { series: random.index(self.series.len()), time, value, state });
        }
        self.last_seq += if self.numbered { 1 + random.below(2) } else { 1 };
        for reading in &readings {
            truth.taken(gateway, &self.series_text(reading.series), reading);
        }
        self.buffer.push_back(Message { seq: self.last_seq, readings });
    }

    /// Opens a connection.
    pub fn connect(&mut self, session: u64) {
        let mut wire = Wire { session, welcomed: !self.numbered, ..Wire::default() };
        if self.numbered {
            wire.up = messages::hello(self.protocol, &format!("boot-{}", self.boots));
        }
        self.wire = Some(wire);
    }

    /// Puts the next message on the connection.
    pub fn send(&mut self) {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.welcomed) else { return };
        if let Some(message) = self.buffer.get(wire.sent) {
            wire.sent += 1;
            wire.up.extend(messages::message(self.protocol, message, self.numbered, &self.series));
        }
    }

    /// Reads the next reply.
    pub fn receive(&mut self, gateway: &str, truth: &mut Truth) {
        let Some(wire) = &mut self.wire else { return };
        let Some(down) = wire.down.pop_front() else { return };
        let (ToDevice::Welcome(ack) | ToDevice::Ack(ack)) = down;
        wire.welcomed = true;
        let durable = self.buffer.iter().take_while(|message| message.seq <= ack).count();
        wire.sent = wire.sent.saturating_sub(durable);
        for message in self.buffer.drain(..durable).collect::<Vec<_>>() {
            for reading in &message.readings {
                truth.acknowledged(gateway, &self.series_text(reading.series), reading);
            }
        }
    }

    /// Loses the connection; returns what is still in flight to the gateway. Without numbers the device cannot resend
    /// unacknowledged messages.
    pub fn disconnect(&mut self, gateway: &str, truth: &mut Truth) -> Option<Wire> {
        let wire = self.wire.take()?;
        if !self.numbered {
            self.give_up(gateway, truth);
        }
        Some(wire)
    }

    /// Restarts the device without its state: a new epoch.
    pub fn reboot(&mut self, gateway: &str, truth: &mut Truth) -> Option<Wire> {
        self.give_up(gateway, truth);
        self.boots += 1;
        self.wire.take()
    }

    fn give_up(&mut self, gateway: &str, truth: &mut Truth) {
        self.last_seq = 0;
        for message in std::mem::take(&mut self.buffer) {
            for reading in &message.readings {
                truth.given_up(gateway, &self.series_text(reading.series), reading);
            }
        }
    }

    /// Whether everything that it took is acknowledged.
    pub fn is_done(&self) -> bool {
        self.buffer.is_empty()
    }
}
