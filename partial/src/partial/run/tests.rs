use proptest::prelude::*;

use super::*;

fn value() -> impl Strategy<Value = f64> {
    let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
    prop_oneof![
        4 => (-3_000..3_000_i32).prop_map(|n| f64::from(n) / 100.0),
        2 => (90_000..110_000_i32).prop_map(|n| f64::from(n) / 100.0),
        1 => prop::sample::select(vec![0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 1e300, -1e-300]),
        1 => finite,
    ]
}

fn readings(most: usize) -> impl Strategy<Value = Vec<(Timestamp, f64)>> {
    let time = prop_oneof![3 => 0..20_i64, 1 => any::<i64>()];
    prop::collection::vec((time.prop_map(Timestamp::from_nanos), value()), 0..most)
}

fn encoded(partial: &Partial) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(Timestamp::from_nanos(0), &mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_run_equals_single_pushes(
        runs in prop::collection::vec(prop_oneof![readings(5), readings(40), readings(200)], 1..6)
    ) {
        let (mut one_by_one, mut by_runs) = (Partial::empty(), Partial::empty());
        for run in &runs {
            for (time, value) in run {
                one_by_one.push(*time, *value);
            }
            by_runs.push_run(run.iter().copied());
            prop_assert_eq!(&by_runs, &one_by_one);
            prop_assert_eq!(encoded(&by_runs), encoded(&one_by_one));
            prop_assert!(by_runs.memory() <= one_by_one.memory(), "{} > {}", by_runs.memory(), one_by_one.memory());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn encoded_windows_with_their_order_equal_single_pushes(
        windows in prop::collection::vec((0..60_i64, prop::collection::vec((0..20_i64, 1..9_i32), 0..=32)), 1..30),
        in_order: bool,
        parts in 0..8_u8,
        zero: bool,
    ) {
        let start = Partial::with_parts(crate::Parts::from_bits(parts).unwrap());
        let (mut one_by_one, mut found) = (start.clone(), start);
        for (number, (at, mut readings)) in (0..).zip(windows) {
            let start = if in_order { 20 * number } else { 5 * at };
            readings.sort_unstable();
            let mut window = Partial::empty();
            for (offset, value) in readings {
                let value = f64::from(if zero { value - 3 } else { value });
                window.push(Timestamp::from_nanos(start + offset), value);
                one_by_one.push(Timestamp::from_nanos(start + offset), value);
            }
            found.merge_encoded(&encoded(&window), Timestamp::from_nanos(0)).unwrap();
            prop_assert_eq!(&found, &one_by_one);
        }
    }
}

#[test]
fn long_runs_of_great_values_do_not_overflow() {
    let count = (1 << 20) + 5;
    for value in [f64::MAX, 1.0f64.next_down(), 3.0] {
        let mut partial = Partial::empty();
        partial.push_run((0..count).map(|at| (Timestamp::from_nanos(at), value)));
        assert_eq!(partial.count(), count as u64);
        assert_eq!(partial.mean(), Some(value));
        assert_eq!(partial.stddev(), Some(0.0));
    }
}
