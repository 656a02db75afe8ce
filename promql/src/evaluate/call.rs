//! Functions of values.

use super::Context;
use crate::{
    error::{PromqlError, Span},
    function::Function,
    grid::Grid,
    plan::Node,
    value::Value,
};

/// The value of a function on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    function: Function,
    arguments: &[Node],
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let _ = (context, function, arguments, span, grid);
    Err(PromqlError::execution("not built yet"))
}

/// The negated operand.
pub(super) async fn negate(context: &Context<'_>, operand: &Node, grid: Grid) -> Result<Value, PromqlError> {
    let _ = (context, operand, grid);
    Err(PromqlError::execution("not built yet"))
}
