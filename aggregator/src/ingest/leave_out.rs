//! Leaves windows out of a batch before it goes to the store.

use catchment_partial::Timestamp;
use catchment_proto::Batch;

/// Leaves out the windows that start after a time, and the series that no window refers to any more; returns how many
/// windows. What the batch says of its shard (number, watermark, history) stays.
pub(super) fn leave_out_after(batch: &mut Batch, latest: Timestamp) -> usize {
    let before = batch.entries.len();
    batch.entries.retain(|entry| entry.window.start() <= latest);
    let left_out = before - batch.entries.len();
    if left_out > 0 {
        leave_out_unused_series(batch);
    }
    left_out
}

fn leave_out_unused_series(batch: &mut Batch) {
    let mut used = vec![false; batch.series.len()];
    for entry in &batch.entries {
        if let Some(used) = used.get_mut(entry.series as usize) {
            *used = true;
        }
    }
    // Index of each series among those that stay.
    let mut next = 0;
    let mut places = Vec::with_capacity(used.len());
    for used in &used {
        places.push(next);
        next += u32::from(*used);
    }
    for entry in &mut batch.entries {
        if let Some(place) = places.get(entry.series as usize) {
            entry.series = *place;
        }
    }
    let mut used = used.into_iter();
    batch.series.retain(|_| used.next().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use catchment_proto::wire;

    use super::*;
    use crate::testing::{batch, key};

    /// Windows of series `a` at 10 s and 30 s, of `b` at 20 s and 40 s.
    fn sample() -> Batch {
        let mut both = batch(7, key("d", "a", &[]), &[(10_000, 1.0), (30_000, 2.0)], 50_000);
        let other = batch(7, key("d", "b", &[]), &[(20_000, 3.0), (40_000, 4.0)], 50_000);
        both.series.extend(other.series);
        both.entries
            .extend(other.entries.into_iter().map(|entry| catchment_proto::Entry { series: 1, ..entry }));
        both
    }

    #[test]
    fn windows_after_a_time_are_left_out_with_the_series_that_only_they_have() {
        let whole = sample();
        for (latest_ms, windows, series) in
            [(40_000, 4, 0..2), (39_999, 3, 0..2), (20_000, 2, 0..2), (19_999, 1, 0..1), (0, 0, 0..0)]
        {
            let (mut batch, latest) = (sample(), Timestamp::from_millis(latest_ms).unwrap());
            assert_eq!(leave_out_after(&mut batch, latest), 4 - windows, "{latest_ms}");
            assert_eq!((batch.entries.len(), &batch.series[..]), (windows, &whole.series[series]));
            for entry in &batch.entries {
                assert!(whole.entries.contains(entry) && entry.window.start() <= latest);
            }
            assert_eq!(Batch::try_from(wire::Batch::from(&batch)).as_ref(), Ok(&batch));
            assert_eq!((batch.number, batch.watermark), (whole.number, whole.watermark));
        }
        let mut swapped = sample();
        swapped.series.swap(0, 1);
        swapped.entries.iter_mut().for_each(|entry| entry.series = 1 - entry.series);
        assert_eq!(leave_out_after(&mut swapped, Timestamp::from_millis(10_000).unwrap()), 3);
        assert_eq!((&swapped.series[..], &swapped.entries[..]), (&whole.series[..1], &whole.entries[..1]));
    }
}
