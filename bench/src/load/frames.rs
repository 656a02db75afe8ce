//! Frames of `catchment/1`: columns of several series, sampled at a regular pace that ends now.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use catchment_proto::{
    frame,
    wire::{self, device_message, gateway_message::Kind},
};
use prost::Message as _;

use super::{
    connection::{ProtocolClient, Replies},
    now_ns,
    walk::{METRICS, Walk},
};

/// Application protocol of frames.
pub(crate) const ALPN: &[u8] = b"catchment/1";
/// Largest reply, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Values made ahead for each series; devices cycle through them from different offsets.
const AHEAD: usize = 8_192;

/// The values of all series, made ahead.
pub(crate) struct MessagePool {
    series: Vec<Vec<f64>>,
}

impl MessagePool {
    /// Values of ten metrics.
    pub(crate) fn new() -> Arc<Self> {
        let walk = |(index, metric): (usize, &_)| {
            let mut walk = Walk::new(*metric, index as u64 + 1);
            (0..AHEAD).map(|_| walk.next()).collect()
        };
        Arc::new(Self { series: METRICS.iter().enumerate().map(walk).collect() })
    }
}

/// A device that numbers its frames.
pub(crate) struct Frames {
    pool: Arc<MessagePool>,
    epoch: String,
    /// Values per series and frame.
    each: usize,
    seq: u64,
    acknowledged: u64,
    greeted: bool,
    place: usize,
    /// Time of the last value sent, Unix nanoseconds.
    time: i64,
    message: wire::Readings,
}

impl Frames {
    /// Frames with `each` values of each of the first `series` metrics.
    pub(crate) fn new(
        pool: &Arc<MessagePool>,
        epoch: String,
        device: usize,
        series: usize,
        each: usize,
    ) -> Self {
        let names = METRICS.iter().take(series);
        let define = (1..).zip(names).map(|(index, (metric, ..))| wire::SeriesName {
            index,
            metric: (*metric).to_owned(),
            labels: std::iter::once(("line".to_owned(), "3".to_owned())).collect(),
        });
        let define: Vec<_> = define.collect();
        let column = |name: &wire::SeriesName| wire::Column {
            series: name.index,
            step_ns: if each > 1 { vec![0] } else { Vec::new() },
            ..wire::Column::default()
        };
        let columns = define.iter().map(column).collect();
        let message = wire::Readings { define, columns, ..wire::Readings::default() };
        let place = device.wrapping_mul(1_009) % AHEAD;
        let pool = Arc::clone(pool);
        Self { pool, epoch, each, seq: 0, acknowledged: 0, greeted: false, place, time: now_ns(), message }
    }

    /// Advances the message to the next number, values and times.
    fn advance(&mut self) {
        self.seq += 1;
        self.message.seq = self.seq;
        if self.seq == 2 {
            self.message.define.clear();
        }
        let each = i64::try_from(self.each).unwrap_or(1);
        // At least a microsecond per value: the device's clock advances and never goes back.
        let step = ((now_ns() - self.time) / each).max(1_000);
        let end = if self.place + self.each > AHEAD { self.each } else { self.place + self.each };
        let range = end - self.each..end;
        self.place = end;
        for (column, values) in self.message.columns.iter_mut().zip(&self.pool.series) {
            column.first_time_ns = self.time + step;
            column.step_ns.iter_mut().for_each(|only| *only = step);
            column.values.clear();
            column.values.extend_from_slice(values.get(range.clone()).unwrap_or_default());
        }
        self.time += step * each;
    }
}

impl ProtocolClient for Frames {
    fn greeting(&mut self) -> Option<Vec<u8>> {
        let hello = device_message::Kind::Hello(wire::Hello { epoch: self.epoch.clone() });
        let mut out = Vec::new();
        frame::put(&wire::DeviceMessage { kind: Some(hello) }, &mut out);
        Some(out)
    }

    fn write_message(&mut self, out: &mut Vec<u8>) -> u64 {
        self.advance();
        // Moved in and out again, so that its columns keep their capacity.
        let kind = device_message::Kind::Readings(std::mem::take(&mut self.message));
        let message = wire::DeviceMessage { kind: Some(kind) };
        frame::put(&message, out);
        if let Some(device_message::Kind::Readings(readings)) = message.kind {
            self.message = readings;
        }
        (self.each * self.message.columns.len()) as u64
    }

    fn read_replies(&mut self, input: &mut BytesMut) -> anyhow::Result<Replies> {
        take_answers(input, &mut self.greeted, &mut self.acknowledged)
    }
}

/// Takes complete replies of a gateway from the received bytes.
///
/// # Errors
/// A refusal, or bytes that are not a reply.
pub(crate) fn take_answers(
    input: &mut BytesMut,
    greeted: &mut bool,
    acknowledged: &mut u64,
) -> anyhow::Result<Replies> {
    while let Some((body, _)) = frame::split(input, ANSWER_BYTES_MAX)? {
        let length = body.len();
        let message = wire::GatewayMessage::decode(body)?;
        input.advance(frame::HEADER_BYTES + length);
        match message.kind {
            Some(Kind::Welcome(_)) => *greeted = true,
            Some(Kind::Ack(ack)) => *acknowledged = ack.ack,
            Some(Kind::Refusal(refusal)) => anyhow::bail!("refused: {}", refusal.message),
            None => {}
        }
    }
    Ok(Replies { greeted: *greeted, acknowledged: *acknowledged })
}
