//! Reading partials: memory and blocks merged.
//!
//! Reads bucket by bucket, memory first and blocks second: a row that has left memory is in a block by then. A name
//! found twice counts once, with its highest revision. At most one bucket of one series is held at a time.

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use crate::store::{
    Chunk, SeriesId, StoreError, StoredPartial,
    blocks::groups::group_of,
    embedded::{inner::Inner, locks::read},
    memtable::row::{Row, bucket_end, bucket_of, resolve},
};

/// See [`super::Store::chunk`]: a chunk is a bucket.
pub(in crate::store) fn chunk<D: Disk>(
    inner: &Inner<D>,
    series: SeriesId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Option<Chunk>, StoreError> {
    inner.apply_durable();
    if inner.is_half_applied() {
        // Memory may lack acknowledged batches.
        inner.healthy()?;
    }
    // Before its first window there is nothing, although its group may have blocks.
    let first = read(&inner.state).catalog.series.get(series.0).map(|series| series.first);
    let from = first.map_or(from, |first| from.max(first));
    if from >= to {
        return Ok(None);
    }
    let Some((bucket, rows)) = next_bucket(inner, series.0, from, to)? else { return Ok(None) };
    let stored = |row: Row| StoredPartial { window: row.name.window(), body: row.body };
    Ok(Some(Chunk { rows: rows.into_iter().map(stored).collect(), next: bucket_end(bucket) }))
}

/// The first bucket in which a series may have windows that start in [from, to), and its windows there, resolved; may
/// be none.
pub(in crate::store) fn next_bucket<D: Disk>(
    inner: &Inner<D>,
    series: u32,
    from: Timestamp,
    to: Timestamp,
) -> Result<Option<(i64, Vec<Row>)>, StoreError> {
    let in_memory = read(&inner.state).first_bucket(series, from, to);
    let last = bucket_of(to.saturating_sub_nanos(1));
    let in_blocks =
        inner.blocks.first_bucket(group_of(series), bucket_of(from), last).map_err(StoreError::Read)?;
    let (bucket, mut rows) = match (in_memory, in_blocks) {
        (None, None) => return Ok(None),
        (Some((bucket, rows)), flushed) if flushed.is_none_or(|flushed| bucket <= flushed) => (bucket, rows),
        (_, Some(bucket)) => (bucket, Vec::new()),
        (Some(memory), None) => memory,
    };
    if in_blocks == Some(bucket) {
        let blocks = inner.blocks.bucket(group_of(series), bucket, Some(series)).map_err(StoreError::Read)?;
        for (_, flushed) in blocks {
            let flushed = flushed.map_err(|bad| {
                StoreError::Read(format!("{bad}; `catchment-aggregator store verify` lists all damage"))
            })?;
            rows.extend(flushed.rows.into_iter().filter(|row| row.name.start >= from && row.name.start < to));
        }
    }
    resolve(&mut rows);
    Ok(Some((bucket, rows)))
}
