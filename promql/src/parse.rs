//! From text to the library's syntax tree.

use std::sync::Arc;

use promql_parser::parser::Expr;

use crate::{error::PromqlError, plan::Matcher};

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The library's tree.
    pub(crate) tree: Expr,
    /// As it was written.
    pub(crate) text: Arc<str>,
}

/// Parses an expression.
///
/// # Errors
/// [`PromqlError::Bad`], with the position where it is known.
pub fn parse(text: &str) -> Result<Expression, PromqlError> {
    let tree = promql_parser::parser::parse(text).map_err(PromqlError::Bad)?;
    Ok(Expression { tree, text: text.into() })
}

/// Parses a vector selector, as in `match[]`.
///
/// # Errors
/// [`PromqlError::Bad`]; also for an `offset` or `@`, and if every series would match.
pub fn parse_matchers(text: &str) -> Result<Arc<[Matcher]>, PromqlError> {
    let _ = text;
    Err(PromqlError::bad("not built yet"))
}
