//! Operators with scalars.

use super::{
    columns::{Numbers, Passed, combined},
    incompatible,
    operators::Numeric,
};
use crate::{
    error::{PromqlError, Span},
    evaluate::{
        Context,
        pace::{Pace, SERIES_VALUES},
        unique,
    },
    grid::Grid,
    plan::Binary,
    value::{Samples, Series, Value},
};

fn numeric(of: &Binary) -> Result<Numeric, PromqlError> {
    let symbol = super::operators::symbol(of.operator);
    let refused =
        || PromqlError::execution(format!("set operator {symbol:?} not allowed in binary scalar expression"));
    Numeric::of(of.operator).ok_or_else(refused)
}

/// Of two scalars; comparisons give 0 or 1.
pub(super) async fn both(context: &Context<'_>, of: &Binary, grid: Grid) -> Result<Value, PromqlError> {
    let operator = numeric(of)?;
    let mut left = context.scalar(&of.left, grid).await?;
    let right = context.scalar(&of.right, grid).await?;
    for (left, right) in left.iter_mut().zip(right) {
        *left = match operator {
            Numeric::Arithmetic(operator) => operator.of(*left, right),
            Numeric::Comparison(operator) => f64::from(u8::from(operator.of(*left, right))),
        };
    }
    Ok(Value::Scalar(left))
}

/// Of a vector and a scalar, which may be on the left. A comparison lets pass the vector's values on either side.
pub(super) async fn vector(
    context: &Context<'_>,
    of: &Binary,
    span: Span,
    grid: Grid,
    scalar_left: bool,
) -> Result<Value, PromqlError> {
    let operator = numeric(of)?;
    let (vector, scalar) = if scalar_left { (&of.right, &of.left) } else { (&of.left, &of.right) };
    let numbers = context.scalar(scalar, grid).await?;
    let series = context.vector(vector, grid).await?;
    let was_ordered = unique::is_ordered(&series);
    // Results take the place of the operands.
    let mut held = context.hold();
    held.set(series.iter().map(Series::bytes).sum::<usize>() + numbers.len() * 8)?;
    let mut pace = Pace::new(context);
    let mut results = Vec::with_capacity(series.len());
    for Series { labels, samples } in series {
        pace.did(grid.count + SERIES_VALUES).await?;
        let Samples::Floats(column) = samples else {
            incompatible(context, of, span, !scalar_left, scalar_left);
            continue;
        };
        let steps = crate::steps::Steps::from_words(column.words().to_vec());
        let (own, others) = (Numbers::Each(column.values()), Numbers::Each(&numbers));
        let (left, right, passed) =
            if scalar_left { (others, own, Passed::Right) } else { (own, others, Passed::Left) };
        let result = combined(operator, of.returns_bool, left, right, steps, passed, grid.count);
        let labels = if operator.drops_name(of.returns_bool) { labels.without_name() } else { labels };
        results.push(Series::floats(labels, result));
    }
    unique::unique(results, was_ordered).map(Value::Vector)
}
