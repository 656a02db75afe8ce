//! Classic histograms: numbers of readings up to bounds, as Prometheus understands them.

use crate::evaluate::{quantile, text};

/// Relative differences between counts that are thought to come from rounding.
const ROUNDING: f64 = 1e-12;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Readings up to this one are counted.
    bound: f64,
    count: f64,
}

/// A histogram at one step.
#[derive(Default)]
pub(super) struct Buckets(Vec<Bucket>);

/// Where counts were less than those of lower bounds.
#[derive(Default)]
pub(super) struct Repairs {
    /// The lowest and the highest bound.
    bounds: Option<(f64, f64)>,
    difference: f64,
    histograms: u64,
}

impl Repairs {
    fn add(&mut self, bound: f64, difference: f64) {
        let (low, high) = self.bounds.unwrap_or((bound, bound));
        self.bounds = Some((low.min(bound), high.max(bound)));
        self.difference = self.difference.max(difference);
    }

    /// What is to be said of them.
    pub(super) fn text(&self) -> Option<String> {
        let (low, high) = self.bounds?;
        let difference = format!("{:.1e}", self.difference).parse().unwrap_or(self.difference);
        Some(format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets {} to \
             {}, with a max diff of {}, over {} samples",
            text::short(low),
            text::short(high),
            text::short(difference),
            self.histograms
        ))
    }
}

impl Buckets {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a bucket, whose bound is not less than those before; of equal bounds the counts are added.
    pub(super) fn push(&mut self, bound: f64, count: f64) {
        match self.0.last_mut() {
            Some(last) if last.bound == bound => last.count += count,
            _ => self.0.push(Bucket { bound, count }),
        }
    }

    /// The number of all readings; `None` unless the highest bound is infinite.
    fn total(&self) -> Option<f64> {
        self.0.last().filter(|last| last.bound == f64::INFINITY).map(|last| last.count)
    }

    /// The quantile, interpolated within a bucket. Decreasing counts are raised first.
    pub(super) fn quantile(&mut self, quantile: f64, repairs: &mut Repairs) -> f64 {
        if let Some(beyond) = quantile::beyond(quantile) {
            return beyond;
        }
        if self.total().is_none() {
            return f64::NAN;
        }
        self.make_monotonic(repairs);
        let (Some(total), [finite @ .., _]) = (self.total(), &*self.0) else { return f64::NAN };
        let (Some(lowest), Some(highest)) = (finite.first(), finite.last()) else { return f64::NAN };
        if total == 0.0 {
            return f64::NAN;
        }
        let rank = quantile * total;
        // As sort.Search, also where a count or the rank is NaN.
        let place = finite.partition_point(|bucket| {
            !matches!(
                bucket.count.partial_cmp(&rank),
                Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal)
            )
        });
        let Some(bucket) = finite.get(place) else { return highest.bound };
        let before = place.checked_sub(1).and_then(|place| finite.get(place));
        match before {
            None if lowest.bound <= 0.0 => lowest.bound,
            None => bucket.bound * (rank / bucket.count),
            Some(before) => {
                let share = (rank - before.count) / (bucket.count - before.count);
                before.bound + (bucket.bound - before.bound) * share
            }
        }
    }

    /// The fraction of the readings after `lower` up to `upper`, interpolated within buckets.
    pub(super) fn fraction(&self, lower: f64, upper: f64) -> f64 {
        let Some(total) = self.total() else { return f64::NAN };
        if total == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        let rank = |value: f64| self.rank(value).filter(|rank| *rank <= total).unwrap_or(total);
        (rank(upper) - rank(lower)) / total
    }

    /// How many readings are at most a value; `None`: it is beyond all bounds.
    fn rank(&self, value: f64) -> Option<f64> {
        // Readings are thought to be positive if the lowest bound is.
        let first = self.0.first()?.bound;
        let mut low = if first > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        let mut rank = 0.0;
        for bucket in &self.0 {
            if low >= value {
                return Some(rank);
            }
            if bucket.bound > value {
                // There is nothing to interpolate in a bucket without a lower end.
                return Some(if low == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (value - low) / (bucket.bound - low)
                });
            }
            low = bucket.bound;
            rank = bucket.count;
        }
        None
    }

    /// Raises counts that are less than those of lower bounds; differences by rounding are not reported.
    fn make_monotonic(&mut self, repairs: &mut Repairs) {
        let Some(mut before) = self.0.first().map(|first| first.count) else { return };
        let mut is_repaired = false;
        for bucket in self.0.iter_mut().skip(1) {
            if bucket.count == before {
                continue;
            }
            if is_rounding(before, bucket.count) {
                bucket.count = before;
            } else if bucket.count < before {
                repairs.add(bucket.bound, before - bucket.count);
                is_repaired = true;
                bucket.count = before;
            } else {
                before = bucket.count;
            }
        }
        repairs.histograms += u64::from(is_repaired);
    }
}

/// Whether two different counts are equal but for rounding.
fn is_rounding(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        difference < ROUNDING * f64::MIN_POSITIVE
    } else {
        difference / sum.min(f64::MAX) < ROUNDING
    }
}
