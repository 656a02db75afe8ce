//! The readings as a histogram.

use super::bins::{Bin, Bins, MAX_BINS};
use super::mapping;
use super::sketch::Sketch;
use super::{EXACT_MAX, Partial, Values};

/// A bucket of a histogram that holds readings.
///
/// Of a bucket of positive values, the low end belongs to it; of negative values, the high one. A bucket of zeros has
/// both ends at 0. Two buckets overlap only at an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The least value.
    pub low: f64,
    /// The greatest value; infinite in the last bucket before the end of the range of `f64`.
    pub high: f64,
    /// Number of readings, at least 1; saturates.
    pub count: u64,
}

impl Partial {
    /// The readings that are numbers, in buckets by rising value; those without readings are left out.
    ///
    /// The ends are those of the sketch's bins, 35 per doubling of the magnitude, also of few readings: so buckets of
    /// different partials are the same or apart. (Ends are rounded, and a value next to one may be on its other side. If
    /// the values of one sign fall into more than [`MAX_BINS`] bins, the bucket nearest to zero begins at zero.)
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut few = Sketch::default();
        let mut buffer = [0.0; EXACT_MAX];
        let sketch = match &self.values {
            Values::Many(many) => &many.sketch,
            Values::Timed(timed) => few.with_all(timed.sorted(&mut buffer)),
            Values::Untimed(untimed) => few.with_all(untimed.values.values()),
        };
        let negative = magnitudes(&sketch.negative).rev();
        let negative = negative.map(|bucket| Bucket { low: -bucket.high, high: -bucket.low, ..bucket });
        let zeros = (sketch.zeros > 0).then_some(Bucket { low: 0.0, high: 0.0, count: sketch.zeros });
        negative.chain(zeros).chain(magnitudes(&sketch.positive)).collect()
    }
}

/// Buckets of the magnitudes of one sign, by rising magnitude.
fn magnitudes(bins: &Bins) -> impl DoubleEndedIterator<Item = Bucket> {
    let bins = bins.iter().as_slice();
    let is_full = bins.len() >= MAX_BINS;
    bins.iter().enumerate().map(move |(number, Bin { key, count })| {
        // The lowest of all bins holds what was displaced too.
        let low = if is_full && number == 0 { 0.0 } else { mapping::least_magnitude(*key) };
        Bucket { low, high: mapping::least_magnitude(key.saturating_add(1)), count: *count }
    })
}

impl Sketch {
    fn with_all(&mut self, values: &[f64]) -> &Self {
        values.iter().for_each(|value| self.push(*value));
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Timestamp;

    fn partial(values: &[f64]) -> Partial {
        let mut partial = Partial::empty();
        for (number, value) in values.iter().enumerate() {
            partial.push(Timestamp::from_nanos(number as i64), *value);
        }
        partial
    }

    #[test]
    fn few_and_many_readings_have_the_same_buckets() {
        let values = [-3.0, -3.0, 0.0, 0.5, 1.0, 1e300];
        let few = partial(&values).buckets();
        let many: Vec<f64> = values.iter().copied().cycle().take(values.len() * 100).collect();
        let many = partial(&many).buckets();
        assert_eq!(few.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [2, 1, 1, 1, 1]);
        assert_eq!(few.len(), many.len());
        for (few, many) in few.iter().zip(&many) {
            assert_eq!((few.low, few.high, few.count * 100), (many.low, many.high, many.count));
        }
        assert_eq!(Partial::empty().buckets(), []);
    }

    proptest! {
        #[test]
        fn every_reading_is_in_a_bucket(values in prop::collection::vec(-1e3..1e3, 0..200)) {
            let buckets = partial(&values).buckets();
            prop_assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), values.len() as u64);
            prop_assert!(buckets.is_sorted_by(|a, b| a.high <= b.low && a.low < b.high));
            for value in values {
                let slack = value.abs() * 1e-12;
                let near = |bucket: &Bucket| bucket.low - slack <= value && value <= bucket.high + slack;
                prop_assert!(buckets.iter().any(near), "{value}");
            }
        }
    }
}
