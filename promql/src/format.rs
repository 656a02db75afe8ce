//! Prints an expression as `format_query` does.

use crate::parse::Expression;

/// The expression, formatted: one line, or indented lines where it is long. It parses to the same plan.
#[must_use]
pub fn format(expression: &Expression) -> String {
    expression.tree.prettify()
}
