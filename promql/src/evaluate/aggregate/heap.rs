//! The heap of `topk` and `bottomk`, which is that of Go's `container/heap` step by step: of equal values, the same ones
//! stay as in Prometheus.

/// A value and the number of its series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) value: f64,
    pub(super) series: usize,
}

/// The best values so far, the worst of them first.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap<const TOP: bool>(Vec<Entry>);

impl<const TOP: bool> Heap<TOP> {
    /// Considers a value where so many may stay; returns whether there is one more entry.
    pub(super) fn offer(&mut self, entry: Entry, count: usize) -> bool {
        if self.0.len() < count {
            self.0.push(entry);
            self.up();
            return true;
        }
        let Some(worst) = self.0.first_mut() else { return false };
        let better = if TOP { worst.value < entry.value } else { worst.value > entry.value };
        if better || (worst.value.is_nan() && !entry.value.is_nan()) {
            *worst = entry;
            self.down();
        }
        false
    }

    /// In no particular order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The best first, NaN last.
    pub(super) fn into_sorted(mut self) -> Vec<Entry> {
        self.0.sort_by(|a, b| {
            let order = if TOP { b.value.partial_cmp(&a.value) } else { a.value.partial_cmp(&b.value) };
            order.unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()))
        });
        self.0
    }

    /// Whether one is worse than another; NaN is worse than all.
    fn is_worse(&self, one: usize, other: usize) -> bool {
        let (Some(one), Some(other)) = (self.0.get(one), self.0.get(other)) else { return false };
        one.value.is_nan() || if TOP { one.value < other.value } else { one.value > other.value }
    }

    fn up(&mut self) {
        let mut place = self.0.len().saturating_sub(1);
        while place > 0 {
            let parent = (place - 1) / 2;
            if !self.is_worse(place, parent) {
                break;
            }
            self.0.swap(parent, place);
            place = parent;
        }
    }

    fn down(&mut self) {
        let mut place = 0;
        loop {
            let mut child = 2 * place + 1;
            if child >= self.0.len() {
                break;
            }
            if self.is_worse(child + 1, child) {
                child += 1;
            }
            if !self.is_worse(child, place) {
                break;
            }
            self.0.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<const TOP: bool>(values: &[f64], count: usize) -> Vec<usize> {
        let mut heap = Heap::<TOP>::default();
        values.iter().enumerate().for_each(|(series, value)| {
            heap.offer(Entry { value: *value, series }, count);
        });
        heap.into_sorted().iter().map(|entry| entry.series).collect()
    }

    #[test]
    fn the_best_values_stay_in_order() {
        assert_eq!(chosen::<true>(&[3.0, 9.0, 1.0, 7.0, 5.0], 3), [1, 3, 4]);
        assert_eq!(chosen::<false>(&[3.0, 9.0, 1.0, 7.0, 5.0], 3), [2, 0, 4]);
        assert_eq!(chosen::<true>(&[3.0], 3), [0]);
        assert_eq!(chosen::<true>(&[3.0], 0), [0; 0]);
    }

    #[test]
    fn nan_stays_only_if_nothing_else_is_left() {
        assert_eq!(chosen::<true>(&[f64::NAN, 1.0, f64::NEG_INFINITY], 2), [1, 2]);
        assert_eq!(chosen::<false>(&[f64::NAN, 1.0, f64::INFINITY], 2), [1, 2]);
        assert_eq!(chosen::<true>(&[f64::NAN, 1.0], 2), [1, 0]);
    }

    #[test]
    fn of_equal_values_the_first_stay() {
        assert_eq!(chosen::<true>(&[1.0, 1.0, 1.0], 2), [0, 1]);
        assert_eq!(chosen::<true>(&[1.0, 1.0, 1.0], 1), [0]);
    }
}
