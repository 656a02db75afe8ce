//! From text to the library's syntax tree.

mod spans;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use promql_parser::parser::Expr;

use crate::{
    error::{PromqlError, Span},
    guard::{Guarded, guard, name_as_matcher, unexpected},
    plan::{Matcher, Selectors},
};

/// Deepest tree: everything that walks over it, down to the evaluation, needs some stack for each level.
const DEPTH_MAX: usize = 256;

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The library's tree; values of regular expressions in it are placeholders of `patterns`.
    pub(crate) tree: Expr,
    /// As it was written.
    pub(crate) text: Arc<str>,
    /// The regular expressions, in order.
    pub(crate) patterns: Arc<[Arc<str>]>,
    /// Where each node is written: a node before its parts, parts in the order of the text.
    pub(crate) spans: Arc<[Span]>,
}

/// Parses an expression.
///
/// # Errors
/// [`PromqlError::Bad`], with the position where it is known: text that is no PromQL, is beyond a bound, or has a function
/// without an answer here.
pub fn parse(text: &str) -> Result<Expression, PromqlError> {
    let Guarded { text: rewritten, tokens, patterns } = guard(text)?;
    // The guard refuses what is known to make the parser panic; this is for what is not known.
    let parsed = catch_unwind(AssertUnwindSafe(|| promql_parser::parser::parse(&rewritten)));
    let tree = match parsed {
        Ok(Ok(tree)) => tree,
        Ok(Err(error)) => return Err(readable(&error).unwrap_or_else(|| unexpected(text, &tokens))),
        Err(_) => return Err(PromqlError::bad("parse error: the parser failed on this expression")),
    };
    if is_deeper(&tree, DEPTH_MAX) {
        return Err(PromqlError::bad(format!(
            "the expression is nested more than {DEPTH_MAX} levels deep (each operator in a row is one): group operands with \
             parentheses, or split it"
        )));
    }
    let spans = spans::spans(&tree, text, &tokens);
    Ok(Expression { tree, text: text.into(), patterns: patterns.into(), spans: spans.into() })
}

/// What the library says of what is wrong, if it says something.
fn readable(error: &str) -> Option<PromqlError> {
    if error.contains("invalid promql query") || error.contains("ParseError") {
        return None;
    }
    // Its values may be placeholders.
    let reason = match error.split_once(" twice: ") {
        Some((start, _)) => format!("{start} twice"),
        None => error.to_owned(),
    };
    Some(PromqlError::bad(format!("parse error: {reason}")))
}

fn is_deeper(tree: &Expr, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return true };
    match tree {
        Expr::Aggregate(of) => {
            is_deeper(&of.expr, levels) || of.param.as_ref().is_some_and(|of| is_deeper(of, levels))
        }
        Expr::Unary(of) => is_deeper(&of.expr, levels),
        Expr::Binary(of) => is_deeper(&of.lhs, levels) || is_deeper(&of.rhs, levels),
        Expr::Paren(of) => is_deeper(&of.expr, levels),
        Expr::Subquery(of) => is_deeper(&of.expr, levels),
        Expr::Call(of) => of.args.args.iter().any(|of| is_deeper(of, levels)),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => false,
    }
}

/// Parses a vector selector, as in `match[]`; a metric may be named like a keyword there.
///
/// # Errors
/// [`PromqlError::Bad`]; also for an `offset` or `@`, and if every series would match.
pub fn parse_matchers(text: &str) -> Result<Arc<[Matcher]>, PromqlError> {
    let is_selector = |parsed: &Expression| matches!(parsed.tree, Expr::VectorSelector(_));
    let expression = match parse(text) {
        Ok(expression) if is_selector(&expression) => expression,
        other => match name_as_matcher(text).map(|text| parse(&text)) {
            Some(Ok(expression)) if is_selector(&expression) => expression,
            _ => other?,
        },
    };
    let Expr::VectorSelector(selector) = &expression.tree else {
        return Err(PromqlError::bad(format!(
            "a vector selector such as temperature{{site=\"berlin\"}} is wanted, not {text:?}"
        )));
    };
    if selector.offset.is_some() || selector.at.is_some() {
        return Err(PromqlError::bad("offset and @ have no place in a selector of series"));
    }
    Selectors::new(&expression).matchers(selector, Span { from: 0, to: text.len() })
}
