//! Two operands: scalars, or vectors whose series are matched.
//!
//! ```text
//! operands → signatures of series (once, from labels) → pairs → one column operation for each pair
//! ```

mod columns;
mod operators;
mod pairs;
mod scalar;
mod sets;
mod sides;

use super::{Context, Held};
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    plan::{Binary, BinaryOperator, Kind},
    value::{Series, Value},
};

/// Its value on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Binary,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    use BinaryOperator::{And, Or, Unless};
    match (of.left.kind, of.right.kind) {
        (Kind::Scalar, Kind::Scalar) => scalar::both(context, of, grid).await,
        (Kind::Vector, Kind::Scalar) => scalar::vector(context, of, span, grid, false).await,
        (Kind::Scalar, Kind::Vector) => scalar::vector(context, of, span, grid, true).await,
        (Kind::Vector, Kind::Vector) if matches!(of.operator, And | Or | Unless) => {
            sets::value(context, of, grid).await
        }
        (Kind::Vector, Kind::Vector) => pairs::value(context, of, span, grid).await,
        (Kind::Text, _) | (_, Kind::Text) => {
            Err(PromqlError::execution("binary expression must contain only scalar and instant vector types"))
        }
    }
}

/// Says that a pair of samples has no result.
fn incompatible(context: &Context<'_>, of: &Binary, span: Span, left_windows: bool, right_windows: bool) {
    use BinaryOperator::{Div, Mul, Sub};
    let kind = |windows: bool| if windows { "histogram" } else { "float" };
    let symbol = operators::symbol(of.operator);
    let advice = match (of.operator, left_windows, right_windows) {
        (Mul, true, false) | (Mul, false, true) | (Div, true, false) | (Sub, true, true) => {
            " (windows are neither scaled nor subtracted: use what histogram_sum or histogram_quantile gives)"
        }
        _ => "",
    };
    let text = format!(
        "incompatible sample types encountered for binary operator {symbol:?}: {} {symbol} {}{advice}",
        kind(left_windows),
        kind(right_windows)
    );
    context.inform(&text, span);
}

/// Both operands, held.
async fn operands<'c, 'a>(
    context: &'c Context<'a>,
    of: &'c Binary,
    grid: Grid,
) -> Result<(Vec<Series>, Vec<Series>, Held<'c, 'a>, usize), PromqlError> {
    let mut held = context.hold();
    let left = context.vector(&of.left, grid).await?;
    let mut bytes: usize = left.iter().map(Series::bytes).sum();
    held.set(bytes)?;
    let right = context.vector(&of.right, grid).await?;
    bytes += right.iter().map(Series::bytes).sum::<usize>();
    held.set(bytes)?;
    Ok((left, right, held, bytes))
}
