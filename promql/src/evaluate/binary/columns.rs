//! An operator over the columns of two series, or of one and numbers that are the same for all series.

use super::operators::{Arithmetic, Comparison, Numeric};
use crate::{steps::Steps, value::Column};

/// Numbers of one side.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    /// One for each step.
    Each(&'a [f64]),
    /// The same at all.
    Same(f64),
}

/// Which operand's numbers pass a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    Left,
    Right,
}

/// The result at those steps where both sides have numbers.
pub(super) fn combined(
    operator: Numeric,
    returns_bool: bool,
    left: Numbers<'_>,
    right: Numbers<'_>,
    steps: Steps,
    passed: Passed,
    count: usize,
) -> Column {
    match operator {
        Numeric::Arithmetic(operator) => Column::at(arithmetic(operator, left, right, count), steps),
        Numeric::Comparison(operator) if returns_bool => {
            let values = zip(left, right, count, |left, right| f64::from(u8::from(operator.of(left, right))));
            Column::at(values, steps)
        }
        Numeric::Comparison(operator) => {
            let holds = compared(operator, left, right, steps);
            let values = match if passed == Passed::Left { left } else { right } {
                Numbers::Each(values) => values.to_vec(),
                Numbers::Same(value) => vec![value; count],
            };
            Column::at(values, holds)
        }
    }
}

fn arithmetic(operator: Arithmetic, left: Numbers<'_>, right: Numbers<'_>, count: usize) -> Vec<f64> {
    // One loop for each of the simple operators, which the compiler can then vectorise.
    match operator {
        Arithmetic::Add => zip(left, right, count, |left, right| left + right),
        Arithmetic::Sub => zip(left, right, count, |left, right| left - right),
        Arithmetic::Mul => zip(left, right, count, |left, right| left * right),
        Arithmetic::Div => zip(left, right, count, |left, right| left / right),
        other => zip(left, right, count, |left, right| other.of(left, right)),
    }
}

/// The steps where a comparison holds.
fn compared(operator: Comparison, left: Numbers<'_>, right: Numbers<'_>, mut steps: Steps) -> Steps {
    steps.retain(|step| operator.of(left.at(step), right.at(step)));
    steps
}

#[inline]
fn zip(left: Numbers<'_>, right: Numbers<'_>, count: usize, of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    match (left, right) {
        (Numbers::Each(left), Numbers::Each(right)) => {
            left.iter().zip(right).map(|(left, right)| of(*left, *right)).collect()
        }
        (Numbers::Each(left), Numbers::Same(right)) => left.iter().map(|left| of(*left, right)).collect(),
        (Numbers::Same(left), Numbers::Each(right)) => right.iter().map(|right| of(left, *right)).collect(),
        (Numbers::Same(left), Numbers::Same(right)) => vec![of(left, right); count],
    }
}

impl Numbers<'_> {
    #[inline]
    fn at(&self, step: usize) -> f64 {
        match self {
            Self::Each(values) => values.get(step).copied().unwrap_or(f64::NAN),
            Self::Same(value) => *value,
        }
    }
}
