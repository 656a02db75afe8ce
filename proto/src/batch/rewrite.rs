//! The same batch with other bodies, for a peer that reads an earlier encoding of partials.

use catchment_partial::{Width, Window};

use super::{
    BatchError, ColumnEncoder,
    columns::{self, Row},
    decode::check_columns,
};
use crate::wire;

/// Rewrites the body of each partial: `rewrite` takes its window and its body, and appends the new body. Where it returns
/// false, the partial is left out of the batch, and so is the name of a series that no other partial has: a batch must not
/// name more series than it has partials. After an error the batch is as it was.
///
/// # Errors
/// [`BatchError`]: the columns contradict; or the error of `rewrite`.
pub fn rewrite_bodies<E: From<BatchError>>(
    batch: &mut wire::Batch,
    mut rewrite: impl FnMut(Window, &[u8], &mut Vec<u8>) -> Result<bool, E>,
) -> Result<(), E> {
    let count = check_columns(batch)?;
    let width = Width::from_millis(batch.width_ms).map_err(BatchError::from)?;
    let mut rewritten = ColumnEncoder::with_capacity(count, batch.bodies.len());
    let mut names = Names { of: vec![None; batch.series.len()], kept: Vec::new() };
    let (mut bodies, mut new) = (&*batch.bodies, Vec::new());
    let lengths = || BatchError::Bodies(batch.bodies.len());
    for (entry, row) in columns::rows(batch).enumerate() {
        let Row { series, window, part, folded, body_bytes } = row?;
        let window = Window::from_index(window, width).ok_or(BatchError::Range(entry))?;
        let revision = part.checked_add(folded).ok_or(BatchError::Range(entry))?;
        let (body, rest) = bodies.split_at_checked(body_bytes as usize).ok_or_else(lengths)?;
        bodies = rest;
        new.clear();
        if rewrite(window, body, &mut new)? {
            rewritten.push(names.keep(series), window, (part, revision), |out| out.extend_from_slice(&new));
        }
    }
    if !bodies.is_empty() {
        return Err(lengths().into());
    }
    let columns = rewritten.finish();
    if !batch.series.is_empty() {
        let mut series: Vec<_> = std::mem::take(&mut batch.series).into_iter().map(Some).collect();
        let kept = names.kept.iter().filter_map(|index| series.get_mut(*index)?.take());
        batch.series = kept.collect();
    }
    batch.series_index = columns.series_index;
    batch.window = columns.window;
    batch.part = columns.part;
    batch.revision = columns.revision;
    batch.body_bytes = columns.body_bytes;
    batch.bodies = columns.bodies;
    Ok(())
}

/// The names of series that are kept, in the order in which partials use them.
struct Names {
    /// New index by old index. A batch without names refers to series that were named before.
    of: Vec<Option<u32>>,
    kept: Vec<usize>,
}

impl Names {
    fn keep(&mut self, series: u32) -> u32 {
        let next = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        match self.of.get_mut(series as usize) {
            None => series,
            Some(Some(known)) => *known,
            Some(unknown) => {
                self.kept.push(series as usize);
                *unknown.insert(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> wire::Batch {
        let width = Width::from_millis(10_000).unwrap();
        let mut columns = ColumnEncoder::default();
        for (series, window, part, body) in
            [(0, 7, 5, &b"one"[..]), (2, 6, 9, b"two"), (1, 8, 2, b""), (1, 9, 4, b"four")]
        {
            let window = Window::from_index(window, width).unwrap();
            columns.push(series, window, (part, part + 3), |out| out.extend_from_slice(body));
        }
        wire::Batch { shard: 4, number: 6, width_ms: 10_000, ..columns.finish() }
    }

    fn copy(_: Window, body: &[u8], out: &mut Vec<u8>) -> Result<bool, BatchError> {
        out.extend_from_slice(body);
        Ok(true)
    }

    #[test]
    fn a_copy_is_equal() {
        let mut batch = sample();
        rewrite_bodies(&mut batch, copy).unwrap();
        assert_eq!(batch, sample());
    }

    #[test]
    fn others_keep_their_names_when_a_partial_is_left_out() {
        let mut batch = sample();
        rewrite_bodies(&mut batch, |window, body, out| {
            out.push(window.index() as u8);
            Ok::<_, BatchError>(body != b"two")
        })
        .unwrap();
        assert_eq!((&*batch.bodies, &batch.body_bytes[..]), (&[7, 8, 9][..], &[1, 1, 1][..]));
        let name = |row: Row| (row.series, row.window, row.part, row.folded);
        let names: Vec<_> = columns::rows(&batch).map(|row| name(row.unwrap())).collect();
        assert_eq!(names, [(0, 7, 5, 3), (1, 8, 2, 3), (1, 9, 4, 3)]);
    }

    #[test]
    fn a_batch_names_only_series_that_it_still_has() {
        let name = |device: &str| wire::SeriesRef { device: device.to_owned(), ..wire::SeriesRef::default() };
        let named = wire::Batch { series: ["a", "b", "c"].map(name).to_vec(), ..sample() };
        let mut batch = named.clone();
        rewrite_bodies(&mut batch, |_, body, _| Ok::<_, BatchError>(body == b"two" || body == b"four"))
            .unwrap();
        assert_eq!(batch.series, ["c", "b"].map(name));
        let series: Vec<_> = columns::rows(&batch).map(|row| row.unwrap().series).collect();
        assert_eq!(series, [0, 1]);
        let mut batch = named.clone();
        rewrite_bodies(&mut batch, |_, _, _| Ok::<_, BatchError>(false)).unwrap();
        assert!(batch.series.is_empty() && batch.body_bytes.is_empty());
        let mut batch = named;
        rewrite_bodies(&mut batch, copy).unwrap();
        let series: Vec<_> = columns::rows(&batch).map(|row| row.unwrap().series).collect();
        assert_eq!((&batch.series[..], &series[..]), (&["a", "c", "b"].map(name)[..], &[0, 1, 2, 2][..]));
    }

    #[test]
    fn what_contradicts_is_an_error_and_changes_nothing() {
        for spoil in [
            (|batch| batch.body_bytes[3] = 5) as fn(&mut wire::Batch),
            |batch| batch.body_bytes[3] = 3,
            |batch| batch.part.truncate(3),
            |batch| batch.width_ms = 0,
            |batch| batch.part[0] = -1,
        ] {
            let mut batch = sample();
            spoil(&mut batch);
            let before = batch.clone();
            assert!(rewrite_bodies(&mut batch, copy).is_err(), "{before:?}");
            assert_eq!(batch, before);
        }
    }
}
