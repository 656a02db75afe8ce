//! Compares values with what a script expects.

use catchment_promql::{Labels, Samples, Series, Value};

use crate::script::{Eval, Expected, Number};

/// Relative difference of two computations of the same number.
const TOLERANCE: f64 = 1e-12;
/// Relative difference of a quantile that a partial answers.
const QUANTILE_TOLERANCE: f64 = 0.01;
/// Digits from which on a number counts as rounded where the script writes it.
const ROUNDED_DIGITS: usize = 7;

/// The value of one step.
#[derive(Debug)]
pub(crate) enum Step {
    Scalar(f64),
    Vector(Vec<(Labels, f64)>),
}

/// The step of a value.
///
/// # Errors
/// It is a text, or has windows.
pub(crate) fn step(value: &Value, step: usize) -> Result<Step, String> {
    let number = |series: &Series| match &series.samples {
        Samples::Floats(column) => Ok(column.get(step).map(|number| (series.labels.clone(), number))),
        Samples::Windows(_) => Err(format!("{:?} has windows", series.labels)),
    };
    match value {
        Value::Scalar(numbers) => Ok(Step::Scalar(numbers[step])),
        Value::Vector(series) => {
            let numbers: Result<Vec<_>, _> = series.iter().map(number).collect();
            Ok(Step::Vector(numbers?.into_iter().flatten().collect()))
        }
        Value::Text(text) => Err(format!("the text {text}")),
    }
}

/// Compares a step with what an eval expects.
///
/// # Errors
/// The first difference.
pub(crate) fn compare(eval: &Eval, step: &Step, ordered: bool) -> Result<(), String> {
    let tolerance =
        if eval.expression.contains("quantile_over_time") { QUANTILE_TOLERANCE } else { TOLERANCE };
    match (&eval.expected, step) {
        (Expected::Scalar(expected), Step::Scalar(number)) if equal(expected, *number, tolerance) => Ok(()),
        (Expected::Vector(expected), Step::Vector(series)) => {
            if series.len() != expected.len() {
                return Err(format!("{} series, not {}: {series:?}", series.len(), expected.len()));
            }
            let pairs = expected.iter().enumerate().map(|(place, (labels, number))| {
                let found = match ordered {
                    true => series.get(place).filter(|(found, _)| found == labels),
                    false => series.iter().find(|(found, _)| found == labels),
                };
                (labels, number, found)
            });
            for (labels, number, found) in pairs {
                match found {
                    Some((_, found)) if equal(number, *found, tolerance) => {}
                    Some((_, found)) => return Err(format!("{found:?}, not {} for {labels:?}", number.text)),
                    None => return Err(format!("no {labels:?} (at its place) in {series:?}")),
                }
            }
            Ok(())
        }
        (expected, step) => Err(format!("{step:?}, not {expected:?}")),
    }
}

/// Whether a number is the expected one, or is rounded to it where the script rounds.
fn equal(expected: &Number, number: f64, tolerance: f64) -> bool {
    let value = expected.value;
    if value.is_nan() || number.is_nan() {
        return value.is_nan() && number.is_nan();
    }
    if value.is_infinite() || number.is_infinite() {
        return value == number;
    }
    if value == number || (value - number).abs() <= tolerance * value.abs() {
        return true;
    }
    let (mantissa, exponent) = expected.text.split_once(['e', 'E']).unwrap_or((&expected.text, "0"));
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect::<String>();
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if digits.trim_start_matches('0').len() < ROUNDED_DIGITS {
        return false;
    }
    let unit = 10_f64.powi(exponent.parse::<i32>().unwrap() - i32::try_from(decimals).unwrap());
    (value - number).abs() <= 0.5 * unit
}

#[test]
fn rounded_numbers_are_equal_and_short_ones_are_exact() {
    let number = |text: &str| Number { value: text.parse().unwrap(), text: text.to_owned() };
    let equal = |text: &str, value| equal(&number(text), value, TOLERANCE);
    assert!(equal("3.249615", 3.249_615_361_9) && !equal("3.249615", 3.249_616));
    assert!(equal("0.1", 0.1 + 1e-17) && !equal("0.1", 0.100_01));
    assert!(equal("NaN", f64::NAN) && !equal("NaN", 1.0) && !equal("1", f64::NAN));
    assert!(equal("+Inf", f64::INFINITY) && !equal("Inf", f64::NEG_INFINITY) && !equal("0", 1e-300));
    assert!(equal("2.4258259770489514e+08", 242_582_597.704_895_14));
}
