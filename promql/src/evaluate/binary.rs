//! Not built yet.

use super::Context;
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    plan::Binary,
    value::Value,
};

/// Its value on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Binary,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let _ = (context, of, span, grid);
    Err(PromqlError::execution("not built yet"))
}
