//! A month of windows of a few series, delivered as a backlog: two readings a window, all windows of a series one after
//! the other.
//!
//! The values are a formula of series, window and reading ([`HISTORY_SQL`] is the same in SQL), so that another store can
//! hold the raw readings.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{self, Batch, DeliverRequest, deliver_request, deliver_response};

use super::delivery;

/// Width of the windows, milliseconds.
pub(crate) const WIDTH_MS: i64 = 10_000;
/// The readings of the history in SQL, with the numbers of series and windows and the start in Unix milliseconds to be
/// put in place.
pub(crate) const HISTORY_SQL: &str = "SELECT 'press-' || lpad((s // 10)::VARCHAR, 5, '0') AS device, \
    'm' || (s % 10)::VARCHAR AS metric, \
    make_timestamp((START_MS + w * 10000 + 1000 + k * 5000) * 1000) AS time, \
    (1500 + ((w * 2 + k) * 7919 + s * 104729) % 2111) / 100.0 AS value \
    FROM range(SERIES) a(s), range(WINDOWS) b(w), range(2) c(k)";
/// Windows a batch: as a gateway closes them.
const BATCH: i64 = 1_024;
/// Batches that are not acknowledged at once.
const IN_FLIGHT: u64 = 64;

/// The history: series, windows of each, and when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    pub(crate) series: i64,
    pub(crate) windows: i64,
    /// Unix milliseconds, a multiple of the width.
    pub(crate) start_ms: i64,
}

/// Ten metrics a device.
fn name(series: i64) -> wire::SeriesRef {
    wire::SeriesRef {
        device: format!("press-{:05}", series / 10),
        metric: format!("m{}", series % 10),
        labels: Vec::new(),
    }
}

fn value(series: i64, window: i64, reading: i64) -> f64 {
    (1_500 + ((window * 2 + reading) * 7_919 + series * 104_729) % 2_111) as f64 / 100.0
}

impl History {
    /// End of its last window, Unix milliseconds.
    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms + self.windows * WIDTH_MS
    }

    fn batch(&self, series: i64, from: i64, number: u64) -> Batch {
        let windows: Vec<i64> = (from..self.windows.min(from + BATCH)).collect();
        let mut bodies = Vec::new();
        let mut body_bytes = Vec::new();
        for window in &windows {
            let before = bodies.len();
            let mut partial = Partial::empty();
            for reading in 0..2 {
                let time = Timestamp::from_nanos((1_000 + reading * 5_000) * 1_000_000);
                partial.push(time, value(series, *window, reading));
            }
            partial.encode(Timestamp::from_nanos(0), &mut bodies);
            body_bytes.push(u32::try_from(bodies.len() - before).unwrap_or(u32::MAX));
        }
        let first = |at: usize, first: i64, step: i64| if at == 0 { first } else { step };
        let count = windows.len();
        let start = self.start_ms / WIDTH_MS;
        Batch {
            shard: 0,
            number,
            watermark_ms: self.start_ms,
            width_ms: WIDTH_MS as u32,
            series: vec![name(series)],
            series_index: vec![0; count],
            window: (0..count).map(|at| first(at, start + from, 1)).collect(),
            part: (0..count).map(|at| first(at, number as i64 * 100_000, 40)).collect(),
            revision: vec![20; count],
            body_bytes,
            bodies: Bytes::from(bodies),
            ..Batch::default()
        }
    }

    /// Delivers all of it. Returns once everything is acknowledged.
    ///
    /// # Errors
    /// The stream failed.
    pub(crate) fn deliver(self, addr: SocketAddr, identity: &Path) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(self.send(addr, identity))
    }

    async fn send(self, addr: SocketAddr, identity: &Path) -> anyhow::Result<()> {
        let (sending, mut answers) = delivery::begin(addr, identity, 1).await?;
        let (mut number, mut acknowledged) = (0_u64, 0_u64);
        for series in 0..self.series {
            for from in (0..self.windows).step_by(BATCH as usize) {
                number += 1;
                let batch = self.batch(series, from, number);
                sending.send(DeliverRequest { kind: Some(deliver_request::Kind::Batch(batch)) }).await?;
                while number - acknowledged > IN_FLIGHT {
                    acknowledged = acknowledgement(&mut answers).await?;
                }
            }
        }
        while acknowledged < number {
            acknowledged = acknowledgement(&mut answers).await?;
        }
        ensure!(acknowledged == number, "more is acknowledged than was sent");
        Ok(())
    }
}

async fn acknowledgement(answers: &mut tonic::Streaming<wire::DeliverResponse>) -> anyhow::Result<u64> {
    match answers.message().await?.context("the aggregator ended the stream")?.kind {
        Some(deliver_response::Kind::Ack(ack)) => Ok(ack.number),
        other => bail!("not an acknowledgement: {other:?}"),
    }
}
