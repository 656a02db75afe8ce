//! Compares quantiles with the true ranks and with the published crate `sketches-ddsketch`.

use super::*;
use proptest::prelude::*;
use sketches_ddsketch::{Config, DDSketch};

fn check_against_truth_and_oracle(mut values: Vec<f64>) {
    let mut sketch = Sketch::default();
    let mut oracle = DDSketch::new(Config::new(0.01, 4096, 1e-12));
    for &value in &values {
        sketch.push(value);
        oracle.add(value);
    }
    values.sort_by(f64::total_cmp);
    let highest = values.len() - 1;
    for q in [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999] {
        let rank = (q * highest as f64) as usize;
        let truth = values[rank];
        let ours = sketch.at_rank(rank as u64);
        let theirs = oracle.quantile(q).unwrap().unwrap();
        assert!((ours - truth).abs() <= 0.01 * truth.abs(), "q {q}: {ours} for {truth}");
        assert!(
            (ours - theirs).abs() <= 0.0201 * truth.abs(),
            "q {q}: {ours}, oracle {theirs}, true {truth}"
        );
    }
    assert_eq!(sketch.count(), values.len() as u64);
}

#[test]
fn ranks_beyond_the_count_give_the_greatest() {
    let mut sketch = Sketch::default();
    assert_eq!(sketch.at_rank(0), 0.0);
    [-4.0, 0.0, 4.0].iter().for_each(|&value| sketch.push(value));
    let values: Vec<_> = [0, 1, 2, u64::MAX].map(|rank| sketch.at_rank(rank)).into();
    assert_eq!(values, [-values[2], 0.0, values[2], values[2]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn normal_values(values in prop::collection::vec(18.0..22.0, 1..2000)) {
        check_against_truth_and_oracle(values);
    }

    #[test]
    fn both_signs_and_zeros_over_many_magnitudes(
        values in prop::collection::vec(
            prop_oneof![
                3 => (-10.0..10.0, prop::bool::ANY).prop_map(|(e, minus)| {
                    let magnitude = 10f64.powf(e);
                    if minus { -magnitude } else { magnitude }
                }),
                1 => Just(0.0),
            ],
            1..1000,
        )
    ) {
        check_against_truth_and_oracle(values);
    }
}
