//! Not built yet.

use super::Context;
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    plan::Selector,
    value::Value,
};

/// Its value on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let _ = (context, of, span, grid);
    Err(PromqlError::execution("not built yet"))
}

/// Visits its series batch by batch.
pub(super) async fn each_batch(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
    visit: &mut super::Visit<'_>,
) -> Result<(), PromqlError> {
    match value(context, of, span, grid).await? {
        Value::Vector(series) => visit(series),
        Value::Scalar(_) | Value::Text(_) => Ok(()),
    }
}

/// For each step the time of the last reading, Unix seconds.
pub(super) async fn timestamps(
    context: &Context<'_>,
    of: &Selector,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    value(context, of, span, grid).await
}
