//! From a parsed expression to a plan: checks the kinds of all operands, refuses what has no answer, resolves `@`.

use super::Plan;
use crate::{error::PromqlError, grid::Grid, parse::Expression};

impl Plan {
    /// Plans an expression on a grid, whose ends are those of `@ start()` and `@ end()`.
    ///
    /// # Errors
    /// [`PromqlError::Bad`] for what is mistyped, refused by design (with what to use instead) or beyond a bound.
    pub fn new(expression: &Expression, grid: Grid) -> Result<Self, PromqlError> {
        let _ = (expression, grid);
        Err(PromqlError::bad("not built yet"))
    }
}
