//! Readings for the tests: hand-made ones, and arbitrary ones with many ties, odd times and difficult values.

use crate::{Partial, Timestamp};
use proptest::prelude::*;

pub(super) type Reading = (Timestamp, f64);

/// A time in milliseconds.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

pub(super) fn partial_of(readings: impl IntoIterator<Item = Reading>) -> Partial {
    let mut partial = Partial::empty();
    partial.push_run(readings);
    partial
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-300i32..300).prop_map(|tenths| f64::from(tenths) / 10.0),
        2 => -1e6..1e6,
        2 => prop::num::f32::NORMAL.prop_map(f64::from),
        1 => prop::num::f64::NORMAL,
        1 => prop::num::f64::SUBNORMAL,
        1 => prop::sample::select(vec![0.0, -0.0, f64::MAX, -f64::MAX, 1e308, -1e308, 5e-324, 2.5, -2.5]),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        6 => (-20i64..20).prop_map(at),
        2 => (-20_000i64..20_000).prop_map(at),
        1 => any::<i64>().prop_map(Timestamp::from_nanos),
        1 => prop::sample::select(vec![Timestamp::MIN, Timestamp::MAX]),
    ]
}

/// Up to `most` readings, ordinary or arbitrary ones.
pub(super) fn readings(most: usize) -> impl Strategy<Value = Vec<Reading>> {
    let ordinary = ((0i64..10_000).prop_map(at), (2000i32..2300).prop_map(|v| f64::from(v) / 100.0));
    prop_oneof![
        1 => prop::collection::vec(ordinary, 0..=most),
        2 => prop::collection::vec((time(), value()), 0..=most),
    ]
}
