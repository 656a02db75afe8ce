//! InfluxDB line protocol: two fields per line, with the device's time in nanoseconds. There are no replies.

use std::{fmt::Write as _, sync::Arc};

use bytes::BytesMut;

use super::{
    connection::{ProtocolClient, Replies},
    now_ns,
    walk::{METRICS, Walk},
};

/// Lines made ahead; devices cycle through them from different offsets.
const AHEAD: usize = 4_096;
/// Readings per line.
pub(crate) const FIELDS: u64 = 2;

/// The fields of lines, made ahead.
pub(crate) struct MessagePool {
    fields: Vec<String>,
}

impl MessagePool {
    /// Temperature and humidity.
    pub(crate) fn new() -> Arc<Self> {
        let [temperature, humidity, ..] = METRICS;
        let (mut first, mut second) = (Walk::new(temperature, 1), Walk::new(humidity, 2));
        let line = |_| format!(" temperature={},humidity={} ", first.next(), second.next());
        Arc::new(Self { fields: (0..AHEAD).map(line).collect() })
    }
}

/// A device that writes lines.
pub(crate) struct LineProtocol {
    pool: Arc<MessagePool>,
    head: String,
    place: usize,
    time: i64,
    text: String,
}

impl LineProtocol {
    /// The device of a room.
    pub(crate) fn new(pool: &Arc<MessagePool>, device: usize) -> Self {
        let place = device.wrapping_mul(331) % AHEAD;
        let head = format!("env,room={device}");
        Self { pool: Arc::clone(pool), head, place, time: 0, text: String::new() }
    }
}

impl ProtocolClient for LineProtocol {
    fn write_message(&mut self, out: &mut Vec<u8>) -> u64 {
        // No two lines of a series have the same time: the reference would keep only one of them.
        self.time = now_ns().max(self.time + 1_000);
        self.place = (self.place + 1) % AHEAD;
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(self.pool.fields.get(self.place).map_or(&[], String::as_bytes));
        self.text.clear();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", self.time);
        out.extend_from_slice(self.text.as_bytes());
        FIELDS
    }

    fn read_replies(&mut self, input: &mut BytesMut) -> anyhow::Result<Replies> {
        anyhow::bail!("{} unexpected bytes from the server: line protocol has no replies", input.len())
    }
}
