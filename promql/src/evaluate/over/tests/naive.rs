//! Functions of samples, one after another, as Prometheus computes them.

use super::*;
use crate::evaluate::quantile;

/// A value of the samples after `start_ms` until `end_ms`.
pub(super) fn value(function: F, samples: &[(i64, f64)], start_ms: i64, end_ms: i64) -> Option<f64> {
    let within: Vec<_> = samples.iter().filter(|(time, _)| *time > start_ms && *time <= end_ms).collect();
    let (first, last) = (within.first()?, within.last()?);
    let values = || within.iter().map(|(_, value)| *value);
    let pairs = || within.windows(2).map(|pair| (pair[0].1, pair[1].1));
    let sum = || {
        let (mut sum, mut lost) = (0.0_f64, 0.0);
        for value in values() {
            let total = sum + value;
            lost += if sum.abs() >= value.abs() { sum - total + value } else { value - total + sum };
            sum = total;
        }
        sum + lost
    };
    let count = within.len() as f64;
    let extreme = |better: fn(f64, f64) -> bool| {
        within.iter().copied().fold(*first, |best, sample| {
            if better(sample.1, best.1) || best.1.is_nan() { sample } else { best }
        })
    };
    let reading = |sample: &(i64, f64)| (sample.0 - 1) as f64 / 1_000.0;
    Some(match function {
        F::SumOverTime => sum(),
        F::AvgOverTime => sum() / count,
        F::CountOverTime => count,
        F::PresentOverTime => 1.0,
        F::MinOverTime => extreme(|a, b| a <= b).1,
        F::MaxOverTime => extreme(|a, b| a >= b).1,
        F::TsOfMinOverTime => reading(extreme(|a, b| a <= b)),
        F::TsOfMaxOverTime => reading(extreme(|a, b| a >= b)),
        F::FirstOverTime => first.1,
        F::LastOverTime => last.1,
        F::TsOfFirstOverTime => reading(first),
        F::TsOfLastOverTime => reading(last),
        F::StdvarOverTime => {
            let mean = sum() / count;
            values().map(|value| (value - mean).powi(2)).sum::<f64>() / count
        }
        F::Resets => pairs().filter(|(a, b)| b < a).count() as f64,
        F::Changes => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
        F::QuantileOverTime => quantile::of_numbers(0.3, &mut values().collect::<Vec<_>>()),
        F::Rate | F::Increase | F::Delta => {
            if within.len() < 2 {
                return None;
            }
            let is_counter = function != F::Delta;
            let lost: f64 = pairs().filter(|(a, b)| is_counter && b < a).map(|(a, _)| a).sum();
            let difference = last.1 - first.1 + lost;
            let sampled = (last.0 - first.0) as f64 / 1_000.0;
            let apart = sampled / (count - 1.0);
            let shorten = |ms: i64| {
                let seconds = ms as f64 / 1_000.0;
                if seconds >= apart * 1.1 { apart / 2.0 } else { seconds }
            };
            let mut before = shorten(first.0 - start_ms);
            if is_counter && difference > 0.0 && first.1 >= 0.0 {
                let to_zero = sampled * (first.1 / difference);
                if to_zero < before {
                    before = to_zero;
                }
            }
            let factor = (sampled + before + shorten(end_ms - last.0)) / sampled;
            let range = (end_ms - start_ms) as f64 / 1_000.0;
            difference * if function == F::Rate { factor / range } else { factor }
        }
        other => panic!("not a function of numbers: {other:?}"),
    })
}
