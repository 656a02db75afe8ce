//! Messages of an answer into record batches of bounded size. The points of many small series share a batch.

mod labels;
mod values;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMillisecondArray, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};
use catchment_proto::wire::{Point, PointColumns, SeriesPoints, ValueColumn};

use self::{labels::Labels, values::Values};
use crate::layout::Layout;

/// Rows and bytes, about, at which a batch is full. A message adds at most its own points beyond.
pub const BATCH_ROWS: usize = 32_768;
/// See [`BATCH_ROWS`].
pub const BATCH_BYTES: usize = 1 << 20;

/// The rows of the next batch.
#[derive(Debug)]
pub struct Rows {
    layout: Layout,
    schema: SchemaRef,
    times: Vec<i64>,
    selectors: Vec<u32>,
    labels: Labels,
    values: Vec<Values>,
    /// Approximate memory.
    bytes: usize,
}

impl Rows {
    /// No rows yet; `schema`: of the layout, maybe with metadata.
    #[must_use]
    pub fn new(layout: Layout, schema: SchemaRef) -> Self {
        let labels = Labels::new(&layout.labels);
        let values = layout.aggregates.iter().map(|(_, kind)| Values::new(*kind)).collect();
        Self { layout, schema, times: Vec::new(), selectors: Vec::new(), labels, values, bytes: 0 }
    }

    /// The schema of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Whether the batch should be taken before the next message.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Adds the points of a message. A column that is too short, or not of the kind of its aggregate, has no values.
    pub fn push(&mut self, message: SeriesPoints) {
        let SeriesPoints { labels, points, columns, selector } = message;
        // An older aggregator sends points.
        let PointColumns { start_ms, columns } =
            columns.unwrap_or_else(|| columns_of(points, self.values.len()));
        let rows = start_ms.len();
        if rows == 0 {
            return;
        }
        let mut start = 0_i64;
        self.times.extend(start_ms.iter().map(|later| {
            start = start.wrapping_add(*later);
            start
        }));
        self.bytes += rows * size_of::<i64>();
        if self.layout.selector {
            self.selectors.resize(self.times.len(), selector);
            self.bytes += rows * size_of::<u32>();
        }
        self.bytes += self.labels.push(labels, rows);
        let mut columns = columns.into_iter();
        for values in &mut self.values {
            self.bytes += values.push(columns.next().unwrap_or_default(), rows);
        }
    }

    /// Takes the rows as a batch; it may have none.
    ///
    /// # Errors
    /// Never but for a defect, or texts of more than 2 GiB in one batch.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.times.len();
        let times = TimestampMillisecondArray::from(std::mem::take(&mut self.times));
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(times.with_timezone(Arc::clone(&self.layout.time_zone)))];
        if self.layout.selector {
            columns.push(Arc::new(UInt32Array::from(std::mem::take(&mut self.selectors))));
        }
        self.labels.take(&mut columns)?;
        for values in &mut self.values {
            columns.push(values.take()?);
        }
        self.bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

/// Points as columns.
fn columns_of(points: Vec<Point>, aggregates: usize) -> PointColumns {
    let mut all = PointColumns::default();
    all.columns.resize_with(aggregates, ValueColumn::default);
    let mut last_ms = 0;
    for Point { start_ms, values } in points {
        all.start_ms.push(start_ms.wrapping_sub(std::mem::replace(&mut last_ms, start_ms)));
        let mut values = values.into_iter();
        for column in &mut all.columns {
            column.values.push(values.next().unwrap_or_default());
        }
    }
    all
}

#[cfg(test)]
mod tests;
