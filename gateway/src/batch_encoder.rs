//! Encodes closed windows as a batch for the wire, and a batch as a record of the outbox.
//!
//! An outbox record is the batch's number (8 bytes, big-endian), then the encoded batch, so that the number can be
//! read without decoding the batch.

use catchment_partial::{Timestamp, Width, Window};
use catchment_proto::{
    ColumnEncoder, SeriesKey, Span,
    batch::window_indices,
    wire::{self, RefusedReadings, SeriesRef},
};
use hashbrown::HashMap;
use prost::Message;

use crate::fold::{Emission, Emitted, State};

/// Most partials of a batch.
pub const BATCH_PARTIALS: u32 = 1_024;
/// Memory of the partials and names of a batch, in bytes, beyond which no further one is added. Encoded they are
/// smaller, so a batch stays far below the largest that an aggregator accepts.
pub const BATCH_MEMORY: usize = 1 << 20;

/// A batch of the windows of an emission.
pub fn encode_batch(shard: u32, state: &State, emission: &Emission) -> wire::Batch {
    let mut batch = columns(shard, state, &emission.closed);
    batch.number = emission.number;
    batch.width_ms = emission.width.as_millis();
    batch.watermark_ms = emission.watermark.map_or(0, watermark_ms);
    batch.history = emission.history.wire(emission.width);
    let refused = emission.refused.iter();
    batch.refused = refused.map(|of| RefusedReadings { hour: of.hour, readings: of.readings }).collect();
    batch
}

/// A batch of open windows of one width.
pub fn encode_live_batch(shard: u32, state: &State, open: &[Emitted]) -> wire::Batch {
    let mut batch = columns(shard, state, open);
    batch.live = true;
    batch.width_ms = open.first().map_or(0, |first| first.window.width().as_millis());
    batch.watermark_ms = state.watermark().map_or(0, watermark_ms);
    batch
}

/// A watermark as sent. Rounding down the earliest timestamp would leave the accepted range.
pub fn watermark_ms(watermark: Timestamp) -> i64 {
    watermark.as_millis().max(i64::MIN / 1_000_000)
}

fn columns(shard: u32, state: &State, windows: &[Emitted]) -> wire::Batch {
    let mut columns = ColumnEncoder::default();
    let mut series: Vec<SeriesRef> = Vec::new();
    let mut indexes: HashMap<(u32, u32), u32> = HashMap::new();
    for emitted in windows {
        let place = (emitted.device, emitted.series);
        let Some((device, metric, labels)) = state.key(emitted.device, emitted.series) else { continue };
        let index = *indexes.entry(place).or_insert_with(|| {
            let key = SeriesKey { device: device.clone(), metric: metric.clone(), labels: labels.clone() };
            series.push(SeriesRef::from(&key));
            u32::try_from(series.len() - 1).unwrap_or(u32::MAX)
        });
        columns.push(index, emitted.window, (emitted.part, emitted.revision), |bodies| {
            emitted.partial.encode(emitted.window.start(), bodies);
        });
    }
    wire::Batch { shard, series, ..columns.finish() }
}

/// The time that the windows of a batch cover; `None`: it has no windows.
pub fn batch_span(batch: &wire::Batch) -> Option<Span> {
    let width = Width::from_millis(batch.width_ms).ok()?;
    Span::over(window_indices(batch).filter_map(|index| Window::from_index(index, width)))
}

/// The outbox record of a batch.
pub fn encode_record(batch: &wire::Batch) -> Vec<u8> {
    let mut record = Vec::with_capacity(8 + batch.encoded_len());
    record.extend_from_slice(&batch.number.to_be_bytes());
    batch.encode_raw(&mut record);
    record
}

/// Splits an outbox record into the batch's number and its bytes.
pub fn split_record(record: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = record.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}
