//! Reading partials: memory and packs as one.
//!
//! Bucket by bucket, memory first and packs second: a row that has left memory is in a pack by then. A name found
//! twice counts once, with its highest revision. At most one bucket of one series is held at a time.

use std::ops::ControlFlow;

use catchment_journal::Disk;
use catchment_partial::{Partial, Timestamp, Window};

use super::{
    SeriesId, StoreError,
    groups::group_of,
    inner::{Inner, read},
    row::{Row, bucket_end, bucket_of, resolve},
};

/// See [`super::Store::scan`].
pub(super) fn scan<D: Disk>(
    inner: &Inner<D>,
    series: &[SeriesId],
    from: Timestamp,
    to: Timestamp,
    visit: &mut dyn FnMut(SeriesId, Window, &Partial) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    inner.settle();
    if inner.is_torn() {
        // Memory may lack what was acknowledged.
        inner.healthy()?;
    }
    for id in series {
        // Before its first window there is nothing of it, though there may be packs of its group.
        let first = read(&inner.state).catalog.series.get(id.0).map(|series| series.first);
        let mut at = first.map_or(from, |first| from.max(first));
        while at < to {
            let Some((bucket, rows)) = next_bucket(inner, id.0, at, to)? else { break };
            for row in &rows {
                let window = row.name.window();
                let partial = Partial::decode(&row.body, window.start()).map_err(|e| {
                    StoreError::Read(format!("series {}, window {:?}: {e}", id.0, window.start()))
                })?;
                if visit(*id, window, &partial).is_break() {
                    return Ok(());
                }
            }
            at = bucket_end(bucket);
        }
    }
    Ok(())
}

/// The first bucket in which a series may have windows that start in [from, to), and these, resolved: there may be none.
pub(super) fn next_bucket<D: Disk>(
    inner: &Inner<D>,
    series: u32,
    from: Timestamp,
    to: Timestamp,
) -> Result<Option<(i64, Vec<Row>)>, StoreError> {
    let in_memory = read(&inner.state).first_bucket(series, from, to);
    let last = bucket_of(to.saturating_sub_nanos(1));
    let in_packs =
        inner.packs.first_bucket(group_of(series), bucket_of(from), last).map_err(StoreError::Read)?;
    let (bucket, mut rows) = match (in_memory, in_packs) {
        (None, None) => return Ok(None),
        (Some((bucket, rows)), packed) if packed.is_none_or(|packed| bucket <= packed) => (bucket, rows),
        (_, Some(bucket)) => (bucket, Vec::new()),
        (Some(memory), None) => memory,
    };
    if in_packs == Some(bucket) {
        let packs = inner.packs.bucket(group_of(series), bucket, Some(series)).map_err(StoreError::Read)?;
        for (_, packed) in packs {
            let packed = packed.map_err(|bad| {
                StoreError::Read(format!(
                    "{bad}; `catchment-aggregator store verify` tells all that is damaged"
                ))
            })?;
            rows.extend(packed.rows.into_iter().filter(|row| row.name.start >= from && row.name.start < to));
        }
    }
    resolve(&mut rows);
    Ok(Some((bucket, rows)))
}
