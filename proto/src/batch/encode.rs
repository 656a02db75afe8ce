//! Writes a batch as a message that names all its series.

use catchment_partial::Timestamp;
use prost::encoding::{self, WireType};

use super::{Batch, ColumnEncoder, Entry, RefusedReadings};
use crate::wire;

impl Batch {
    /// Appends the batch, encoded as a [`wire::Batch`] that names all its series.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let wire = self.columns();
        let mut put_bytes = |tag, bytes: &[u8]| {
            encoding::encode_key(tag, WireType::LengthDelimited, out);
            encoding::encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        };
        self.series.iter().for_each(|series| put_bytes(tag::SERIES, series.encoded()));
        prost::Message::encode_raw(&wire, out);
    }

    /// The message without names.
    fn columns(&self) -> wire::Batch {
        let body_bytes = self.entries.iter().map(|entry| entry.body.len()).sum();
        let mut columns = ColumnEncoder::with_capacity(self.entries.len(), body_bytes);
        for Entry { series, window, part, revision, body } in &self.entries {
            columns.push(*series, *window, (*part, *revision), |bodies| bodies.extend_from_slice(body));
        }
        wire::Batch {
            shard: self.shard,
            number: self.number,
            watermark_ms: self.watermark.map_or(0, Timestamp::as_millis),
            live: self.live,
            width_ms: self.width.as_millis(),
            names_epoch: self.names_epoch,
            history: self.history.wire(self.width),
            refused: self.refused.iter().map(|of| of.wire()).collect(),
            ..columns.finish()
        }
    }
}

impl RefusedReadings {
    /// The message.
    pub fn wire(self) -> wire::RefusedReadings {
        wire::RefusedReadings { hour: self.hour, readings: self.readings }
    }
}

/// Field numbers of `ingest.proto`.
mod tag {
    pub(super) const SERIES: u32 = 6;
}

impl From<&Batch> for wire::Batch {
    fn from(batch: &Batch) -> Self {
        let series = batch.series.iter().map(|series| wire::SeriesRef::from(series.key())).collect();
        Self { series, ..batch.columns() }
    }
}
