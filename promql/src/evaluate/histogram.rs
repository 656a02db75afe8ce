//! Not built yet.

use super::Context;
use crate::{
    error::{PromqlError, Span},
    function::Function,
    grid::Grid,
    plan::Node,
    value::Value,
};

/// Its value on a grid.
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
