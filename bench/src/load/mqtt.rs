//! MQTT 3.1.1 with QoS 1: one reading per publish, as a small JSON object. Written from the standard, for any broker.

use std::sync::Arc;

use anyhow::{bail, ensure};
use bytes::{Buf as _, BytesMut};

use super::{
    connection::{ProtocolClient, Replies},
    walk::{METRICS, Walk},
};

/// Publishes made ahead; devices cycle through them from different offsets.
const AHEAD: usize = 4_096;
const TOPIC: &str = "telemetry";

/// The payloads of publishes, made ahead.
pub(crate) struct MessagePool {
    payloads: Vec<String>,
}

impl MessagePool {
    /// Temperatures.
    pub(crate) fn new() -> Arc<Self> {
        let [temperature, ..] = METRICS;
        let mut walk = Walk::new(temperature, 1);
        let payloads = (0..AHEAD).map(|_| format!("{{\"temperature\":{}}}", walk.next())).collect();
        Arc::new(Self { payloads })
    }
}

/// A length-prefixed text. Ours are far shorter than 64 KiB.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Appends a length in MQTT's encoding.
fn put_length(mut length: usize, out: &mut Vec<u8>) {
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// CONNECT with a clean session and no keep-alive.
pub(crate) fn connect(client: &str) -> Vec<u8> {
    let body = [text("MQTT"), vec![4, 2, 0, 0], text(client)].concat();
    let mut out = vec![0x10];
    put_length(body.len(), &mut out);
    out.extend(body);
    out
}

/// A device that publishes.
pub(crate) struct Mqtt {
    pool: Arc<MessagePool>,
    client: String,
    id: u16,
    acknowledged: u64,
    greeted: bool,
    place: usize,
}

impl Mqtt {
    /// A client of this identifier.
    pub(crate) fn new(pool: &Arc<MessagePool>, client: String, device: usize) -> Self {
        let place = device.wrapping_mul(331) % AHEAD;
        Self { pool: Arc::clone(pool), client, id: 0, acknowledged: 0, greeted: false, place }
    }
}

impl ProtocolClient for Mqtt {
    fn greeting(&mut self) -> Option<Vec<u8>> {
        Some(connect(&self.client))
    }

    fn write_message(&mut self, out: &mut Vec<u8>) -> u64 {
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.place = (self.place + 1) % AHEAD;
        let payload = self.pool.payloads.get(self.place).map_or("", String::as_str);
        out.push(0x32);
        put_length(2 + TOPIC.len() + 2 + payload.len(), out);
        out.extend_from_slice(&(TOPIC.len() as u16).to_be_bytes());
        out.extend_from_slice(TOPIC.as_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(payload.as_bytes());
        1
    }

    fn read_replies(&mut self, input: &mut BytesMut) -> anyhow::Result<Replies> {
        // CONNACK and PUBACK have four bytes in version 3.1.1.
        while let Some(&[kind, length, _, last]) = input.first_chunk::<4>() {
            ensure!(length == 2, "packet {kind:#x} of {length} bytes");
            match kind {
                0x20 => {
                    ensure!(last == 0, "CONNECT is refused with {last}");
                    self.greeted = true;
                }
                0x40 => self.acknowledged += 1,
                other => bail!("unexpected packet {other:#x}"),
            }
            input.advance(4);
        }
        Ok(Replies { greeted: self.greeted, acknowledged: self.acknowledged })
    }
}
