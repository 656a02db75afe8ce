//! The columns of a batch.

use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{Batch, SeriesRef};

/// A batch to which rows are added.
pub(super) struct Columns {
    batch: Batch,
    bodies: Vec<u8>,
    /// The last row's series, window and part.
    last: [i64; 3],
}

/// The name of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowName {
    /// Index in the batch's list of series.
    pub(super) series: i64,
    /// Start of the window in widths since the Unix epoch.
    pub(super) window: i64,
    /// Position in the gateway's journal.
    pub(super) part: i64,
    /// Position of the last reading's entry, after the part.
    pub(super) revision: u64,
}

impl Columns {
    /// Of the batch with this number of shard 0.
    pub(super) fn new(number: u64, width_ms: i64, series: Vec<SeriesRef>) -> Self {
        let batch = Batch {
            number,
            width_ms: u32::try_from(width_ms).unwrap_or(u32::MAX),
            series,
            ..Batch::default()
        };
        Self { batch, bodies: Vec::new(), last: [0; 3] }
    }

    /// Adds a row whose partial has times relative to its window.
    pub(super) fn push(&mut self, name: RowName, partial: &Partial) {
        let Self { batch, bodies, last } = self;
        let [series, window, part] = *last;
        batch.series_index.push(name.series - series);
        batch.window.push(name.window - window);
        batch.part.push(name.part - part);
        batch.revision.push(name.revision);
        *last = [name.series, name.window, name.part];
        let before = bodies.len();
        partial.encode(Timestamp::from_nanos(0), bodies);
        batch.body_bytes.push(u32::try_from(bodies.len() - before).unwrap_or(u32::MAX));
    }

    pub(super) fn finish(self) -> Batch {
        Batch { bodies: self.bodies.into(), ..self.batch }
    }
}
