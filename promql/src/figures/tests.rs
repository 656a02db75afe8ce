use proptest::prelude::*;

use super::*;

fn figures(points: &[(i64, f64)]) -> Figures {
    points.iter().map(|(time, value)| Figures::of_sample(*time, *value)).reduce(|a, b| a.joined(&b)).unwrap()
}

/// Values that are added exactly, and NaN.
fn points() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![8 => (-3_i32..4).prop_map(f64::from), 1 => Just(f64::NAN)];
    prop::collection::vec((0_i64..10, value), 1..8)
}

/// All but the deviations, whose last digits depend on the order.
fn exact(of: &Figures) -> String {
    format!("{:?}", Figures { deviations: 0.0, ..*of })
}

proptest! {
    #[test]
    fn joining_is_associative(a in points(), b in points(), c in points()) {
        let (a, b, c) = (figures(&a), figures(&b), figures(&c));
        let (left, right) = (a.joined(&b).joined(&c), a.joined(&b.joined(&c)));
        prop_assert_eq!(exact(&left), exact(&right));
        let apart = (left.deviations - right.deviations).abs();
        prop_assert!(apart <= 1e-12 || (left.deviations.is_nan() && right.deviations.is_nan()));
    }

    #[test]
    fn deviations_are_those_of_all(points in prop::collection::vec(1e6..1e6 + 1.0, 1..50)) {
        let all: Vec<_> = points.iter().map(|value| (0, *value)).collect();
        let mean = points.iter().sum::<f64>() / points.len() as f64;
        let expected: f64 = points.iter().map(|value| (value - mean).powi(2)).sum();
        let deviations = figures(&all).deviations;
        prop_assert!((deviations - expected).abs() <= 1e-8 * expected.max(1e-6), "{deviations} {expected}");
    }
}

#[test]
fn joining_is_not_commutative() {
    let (a, b) = (figures(&[(1, 1.0), (2, 5.0)]), figures(&[(3, 3.0)]));
    assert_eq!((a.joined(&b).resets, a.joined(&b).correction), (1.0, 5.0));
    assert_eq!((b.joined(&a).resets, b.joined(&a).correction), (1.0, 3.0));
}
