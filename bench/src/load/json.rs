//! JSON lines with ten readings and the device's time each, numbered or not.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};

use super::{
    connection::{ProtocolClient, Replies},
    now_ns,
    walk::{METRICS, Walk},
};

/// Lines made ahead; devices cycle through them from different offsets.
const AHEAD: usize = 2_048;

/// The ends of lines, from the values on, made ahead.
pub(crate) struct MessagePool {
    ends: Vec<String>,
    readings: u64,
}

impl MessagePool {
    /// Lines with the first `metrics` metrics.
    pub(crate) fn new(metrics: usize) -> Arc<Self> {
        Self::seeded(metrics, AHEAD, 1)
    }

    /// `lines` lines with values of their own, from a seed.
    pub(crate) fn seeded(metrics: usize, lines: usize, seed: u64) -> Arc<Self> {
        let mut walks: Vec<_> = METRICS
            .iter()
            .take(metrics)
            .zip(seed..)
            .map(|(metric, seed)| (metric.0, Walk::new(*metric, seed)))
            .collect();
        let mut line = || {
            let values: Vec<String> =
                walks.iter_mut().map(|(name, walk)| format!("\"{name}\":{}", walk.next())).collect();
            format!(",\"values\":{{{}}}}}\n", values.join(","))
        };
        let ends = (0..lines.max(1)).map(|_| line()).collect();
        Arc::new(Self { ends, readings: metrics.min(METRICS.len()) as u64 })
    }
}

/// A device that speaks JSON lines.
pub(crate) struct Json {
    pool: Arc<MessagePool>,
    /// The epoch, if the device numbers its lines.
    epoch: Option<String>,
    seq: u64,
    acknowledged: u64,
    greeted: bool,
    place: usize,
    time_ms: i64,
    text: String,
}

impl Json {
    /// A device; with an epoch it numbers its lines.
    pub(crate) fn new(pool: &Arc<MessagePool>, epoch: Option<String>, device: usize) -> Self {
        let place = device.wrapping_mul(331) % pool.ends.len().max(1);
        let pool = Arc::clone(pool);
        Self { pool, epoch, seq: 0, acknowledged: 0, greeted: false, place, time_ms: 0, text: String::new() }
    }
}

impl ProtocolClient for Json {
    fn greeting(&mut self) -> Option<Vec<u8>> {
        let epoch = self.epoch.as_deref()?;
        Some(format!("{{\"hello\":{{\"epoch\":\"{epoch}\"}}}}\n").into_bytes())
    }

    fn write_message(&mut self, out: &mut Vec<u8>) -> u64 {
        self.seq += 1;
        self.time_ms = self.time_ms.max(now_ns() / 1_000_000);
        self.place = (self.place + 1) % self.pool.ends.len().max(1);
        self.text.clear();
        // Writing to a String cannot fail.
        let _ = match self.epoch {
            Some(_) => write!(self.text, "{{\"seq\":{},\"ts\":{}", self.seq, self.time_ms),
            None => write!(self.text, "{{\"ts\":{}", self.time_ms),
        };
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(self.pool.ends.get(self.place).map_or(&[], String::as_bytes));
        self.pool.readings
    }

    fn read_replies(&mut self, input: &mut BytesMut) -> anyhow::Result<Replies> {
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = input.split_to(end);
            input.advance(1);
            let line = std::str::from_utf8(&line)?;
            if line.contains("\"error\"") {
                bail!("refused: {line}");
            }
            if line.contains("\"welcome\"") {
                self.greeted = true;
            } else {
                let digits = line.split_once("\"ack\":").context("an answer without ack")?.1;
                let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
                self.acknowledged = digits.parse()?;
            }
        }
        Ok(Replies { greeted: self.greeted, acknowledged: self.acknowledged })
    }
}
