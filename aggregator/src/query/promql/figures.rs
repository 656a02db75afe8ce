//! Readings of one stretch of time as figures, and figures of several series over the same stretch.

use catchment_partial::{CounterFigures, Partial, Point};
use catchment_promql::{Columns, Figures, Stamp};

/// A reading counts as a sample one millisecond after its time, rounded down to milliseconds.
fn stamp(point: Point) -> Stamp {
    Stamp { value: point.value, sample_ms: point.time.as_millis().saturating_add(1) }
}

const NOTHING: Stamp = Stamp { value: 0.0, sample_ms: 0 };

/// Figures of no reading yet.
const EMPTY: Figures = Figures {
    count: 0.0,
    sum: 0.0,
    lost: 0.0,
    deviations: 0.0,
    min: NOTHING,
    max: NOTHING,
    first: NOTHING,
    last: NOTHING,
    correction: 0.0,
    resets: 0.0,
    changes: 0.0,
};

/// The wanted figures of a partial; `None`: it has no numbers.
pub(super) fn of_partial(partial: &Partial, columns: Columns) -> Option<Figures> {
    let (first, last) = (partial.first()?, partial.last()?);
    let mut figures =
        Figures { count: partial.count() as f64, first: stamp(first), last: stamp(last), ..EMPTY };
    if columns.sum || columns.deviations {
        figures.sum = partial.sum();
    }
    if columns.deviations {
        figures.deviations = partial.variance().map_or(f64::INFINITY, |variance| variance * figures.count);
    }
    if let (true, Some(min), Some(max)) = (columns.extent, partial.min(), partial.max()) {
        (figures.min, figures.max) = (stamp(min), stamp(max));
    }
    Some(figures)
}

/// Sets what a counter needs. Where the order of the readings is not known, it is not a number.
pub(super) fn set_counter(figures: &mut Figures, counter: Option<CounterFigures>) {
    (figures.correction, figures.resets, figures.changes) = match counter {
        Some(of) => (of.correction, of.resets as f64, of.changes as f64),
        None => (f64::NAN, f64::NAN, f64::NAN),
    };
}

/// Adds the figures of other readings in the same stretch of time. Returns whether both are a counter at the same time, so
/// that their increases were added.
pub(super) fn add(own: &mut Figures, other: &Figures, columns: Columns) -> bool {
    if columns.deviations {
        own.deviations = deviations(own, other);
    }
    let (sum, lost) = two_sum(own.sum, other.sum);
    let overlap = columns.counter && add_counter(own, other);
    own.sum = sum;
    own.lost = if sum.is_finite() { own.lost + other.lost + lost } else { 0.0 };
    own.count += other.count;
    own.min = if (other.min.value, -other.min.sample_ms) < (own.min.value, -own.min.sample_ms) {
        other.min
    } else {
        own.min
    };
    own.max = if (other.max.value, other.max.sample_ms) > (own.max.value, own.max.sample_ms) {
        other.max
    } else {
        own.max
    };
    if key(&other.first) < key(&own.first) {
        own.first = other.first;
    }
    if key(&other.last) > key(&own.last) {
        own.last = other.last;
    }
    overlap
}

fn key(stamp: &Stamp) -> (i64, f64) {
    (stamp.sample_ms, stamp.value)
}

/// A sum and what its rounding lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_rounded = sum - a;
    let a_rounded = sum - b_rounded;
    (sum, (a - a_rounded) + (b - b_rounded))
}

/// Squared deviations from the common mean.
fn deviations(a: &Figures, b: &Figures) -> f64 {
    let difference = a.sum / a.count - b.sum / b.count;
    a.deviations + b.deviations + difference * difference * (a.count * b.count / (a.count + b.count))
}

/// Call before first and last are merged.
fn add_counter(own: &mut Figures, other: &Figures) -> bool {
    let increase = |of: &Figures| of.last.value - of.first.value + of.correction;
    let follows = own.last.sample_ms <= other.first.sample_ms;
    let precedes = other.last.sample_ms <= own.first.sample_ms;
    let increases = increase(own) + increase(other);
    own.correction += other.correction;
    own.resets += other.resets;
    own.changes += other.changes;
    if follows || precedes {
        let (before, after) =
            if follows { (own.last.value, other.first.value) } else { (other.last.value, own.first.value) };
        if after < before {
            own.correction += before;
            own.resets += 1.0;
        }
        if after != before {
            own.changes += 1.0;
        }
        return false;
    }
    // What lies between the readings of one and those of the other is not known: the increases add up.
    let first = if key(&other.first) < key(&own.first) { other.first } else { own.first };
    let last = if key(&other.last) > key(&own.last) { other.last } else { own.last };
    own.correction = increases - (last.value - first.value);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::partial;

    const ALL: Columns = Columns {
        sum: true,
        deviations: true,
        extent: true,
        counter: false,
        sketch: false,
        single_windows: false,
    };

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
    }

    proptest! {
        #[test]
        fn figures_of_two_parts_are_those_of_all_readings(
            mut readings in prop::collection::vec((0_i64..10_000, -50..50_i32), 2..80), at in 1_usize..79,
        ) {
            readings.sort_by_key(|(ms, _)| *ms);
            readings.dedup_by_key(|(ms, _)| *ms);
            let all: Vec<_> = readings.iter().map(|(ms, value)| (*ms, f64::from(*value) / 8.0)).collect();
            let (a, b): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(n, _)| n % at == 0);
            let of = |readings: Vec<(usize, &(i64, f64))>| {
                let readings: Vec<_> = readings.into_iter().map(|(_, reading)| *reading).collect();
                of_partial(&partial(&readings), ALL)
            };
            let whole = of_partial(&partial(&all), ALL).unwrap();
            let (Some(mut own), Some(other)) = (of(a), of(b)) else { return Ok(()) };
            add(&mut own, &other, ALL);
            prop_assert_eq!((own.count, own.first, own.last), (whole.count, whole.first, whole.last));
            prop_assert_eq!((own.min.value, own.max.value), (whole.min.value, whole.max.value));
            prop_assert!(close(own.sum + own.lost, whole.sum));
            prop_assert!(close(own.deviations, whole.deviations), "{} {}", own.deviations, whole.deviations);
        }
    }

    #[test]
    fn a_counter_goes_on_where_another_gateway_takes_over_and_adds_up_where_two_overlap() {
        let counter = |times: [i64; 2], values: [f64; 2]| Figures {
            count: 2.0,
            first: Stamp { value: values[0], sample_ms: times[0] },
            last: Stamp { value: values[1], sample_ms: times[1] },
            changes: 1.0,
            ..EMPTY
        };
        let columns = Columns { counter: true, ..Columns::default() };
        let (early, late) = (counter([1, 2], [5.0, 9.0]), counter([3, 4], [2.0, 3.0]));
        for (mut own, other) in [(early, late), (late, early)] {
            assert!(!add(&mut own, &other, columns));
            assert_eq!((own.first.value, own.last.value, own.correction), (5.0, 3.0, 9.0));
            assert_eq!((own.resets, own.changes), (1.0, 3.0));
        }
        let (mut own, other) = (counter([1, 4], [5.0, 9.0]), counter([2, 3], [1.0, 2.0]));
        assert!(add(&mut own, &other, columns));
        assert_eq!(own.last.value - own.first.value + own.correction, 5.0);
    }
}
