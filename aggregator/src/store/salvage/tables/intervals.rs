//! Rows of one series merged by interval.

use std::collections::BTreeMap;

use catchment_partial::{Collector, DecodeError, Partial, Parts, Spares, Timestamp, Width, Window};

use crate::store::tables::{coarsen::interval_of, resolution::Resolution};

/// The intervals at hand of one series.
#[derive(Debug)]
pub(in crate::store) struct Intervals {
    resolution: Resolution,
    /// What rows hold besides values and states; `None`: only what does not depend on the order of readings.
    parts: Option<Parts>,
    open: BTreeMap<(Timestamp, Width), Merging>,
    spares: Spares,
}

/// The rows of an interval, merged.
#[derive(Debug)]
enum Merging {
    /// In their order, as a flush does it: what depends on the order stays known.
    InOrder(Collector),
    Unordered(Partial),
}

impl Merging {
    fn new(parts: Option<Parts>) -> Self {
        parts.map_or_else(|| Self::Unordered(Partial::empty()), |parts| Self::InOrder(Collector::new(parts)))
    }
}

impl Intervals {
    pub(in crate::store) fn new(resolution: Resolution, parts: Option<Parts>) -> Self {
        Self { resolution, parts, open: BTreeMap::new(), spares: Spares::default() }
    }

    /// Adds a row; rows come in order of their start. Emits the intervals that end at or before its start.
    ///
    /// # Errors
    /// The row is malformed.
    pub(in crate::store) fn push(
        &mut self,
        window: Window,
        body: &[u8],
        emit: &mut dyn FnMut(Window, Partial),
    ) -> Result<(), DecodeError> {
        self.close(Some(window.start()), emit);
        let interval = self.open.entry(interval_of(self.resolution, window));
        match interval.or_insert_with(|| Merging::new(self.parts)) {
            Merging::InOrder(rows) => rows.push(body, window.start(), &mut self.spares),
            Merging::Unordered(merged) => merged.merge_encoded_across_series(body, window.start()),
        }
    }

    /// Emits what is left.
    pub(in crate::store) fn finish(&mut self, emit: &mut dyn FnMut(Window, Partial)) {
        self.close(None, emit);
    }

    fn close(&mut self, before: Option<Timestamp>, emit: &mut dyn FnMut(Window, Partial)) {
        while let Some(first) = self.open.first_entry() {
            let (start, width) = *first.key();
            let window = Window::containing(start, width);
            // Only the first, so that intervals come in order although those of several widths overlap.
            if before.is_some_and(|before| window.end() > before) {
                return;
            }
            match first.remove() {
                Merging::InOrder(mut rows) => emit(window, rows.take(&mut self.spares)),
                Merging::Unordered(merged) => emit(window, merged),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use catchment_partial::SeriesOrder;

    use super::*;

    #[test]
    fn an_hour_made_again_knows_the_order_of_dense_readings() {
        let mut intervals = Intervals::new(Resolution::Hour, Some(Parts::ORDER));
        let width = Width::from_millis(10_000).unwrap();
        let (mut body, mut hours) = (Vec::new(), Vec::new());
        for number in 0..720 {
            let window = Window::containing(Timestamp::from_millis(number * 10_000).unwrap(), width);
            let mut partial = Partial::empty();
            (0..10).for_each(|n| {
                let time = window.start().saturating_add_nanos(n * 1_000_000_000);
                partial.push(time, (number * 10 + n) as f64);
            });
            body.clear();
            partial.encode(window.start(), &mut body);
            intervals.push(window, &body, &mut |interval, merged| hours.push((interval, merged))).unwrap();
        }
        intervals.finish(&mut |interval, merged| hours.push((interval, merged)));
        assert_eq!(hours.len(), 2);
        for (interval, merged) in hours {
            let mut order = SeriesOrder::new(&[]);
            order.push(interval, &merged);
            assert_eq!(order.finish(interval.start(), interval.end()).changes(), Some(3_599));
        }
    }
}
