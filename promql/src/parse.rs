//! From text to the library's syntax tree.

mod spans;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use promql_parser::{label::Matcher as Parsed, parser::Expr};

use crate::{
    error::{PromqlError, Span},
    guard::{Condition, Guarded, guard, name_as_matcher, unexpected},
    plan::{Matcher, Selectors},
};

/// Deepest tree: everything that walks over it, down to the evaluation, needs some stack for each level.
const DEPTH_MAX: usize = 256;

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The library's tree; matchers in it have numbers of `conditions` as their values.
    pub(crate) tree: Expr,
    /// As it was written.
    pub(crate) text: Arc<str>,
    /// The conditions of all matchers.
    pub(crate) conditions: Arc<[Condition]>,
    /// Where each node is written: a node before its parts, parts in the order of the text.
    pub(crate) spans: Arc<[Span]>,
}

/// Parses an expression.
///
/// # Errors
/// [`PromqlError::Bad`], with the position where it is known: text that is no PromQL, is beyond a bound, or has a function
/// without an answer here.
pub fn parse(text: &str) -> Result<Expression, PromqlError> {
    let Guarded { text: rewritten, tokens, conditions } = guard(text)?;
    // The guard refuses what is known to make the parser panic; this is for what is not known.
    let parsed = catch_unwind(AssertUnwindSafe(|| promql_parser::parser::parse(&rewritten)));
    let tree = match parsed {
        Ok(Ok(tree)) => tree,
        Ok(Err(error)) => return Err(unexpected(text, &tokens).unwrap_or_else(|| readable(&error))),
        Err(_) => return Err(PromqlError::bad("parse error: the parser failed on this expression")),
    };
    if is_deeper(&tree, DEPTH_MAX) {
        return Err(PromqlError::bad(format!(
            "the expression is nested more than {DEPTH_MAX} levels deep (each operator in a row is one): group operands with \
             parentheses, or split it"
        )));
    }
    let spans = spans::spans(&tree, text, &tokens);
    Ok(Expression { tree, text: text.into(), conditions: conditions.into(), spans: spans.into() })
}

impl Expression {
    /// The condition of a matcher of the tree.
    pub(crate) fn condition(&self, of: &Parsed) -> Option<&Condition> {
        self.conditions.get(of.value.parse::<usize>().ok()?)
    }
}

/// Words of the library, and those of Prometheus' documentation.
const WORDS: [(&str, &str); 9] = [
    ("'", "\""),
    ("type matrix", "type range vector"),
    ("type vector", "type instant vector"),
    ("got matrix", "got range vector"),
    ("got: matrix", "got range vector"),
    ("got vector", "got instant vector"),
    ("between vectors", "between instant vectors"),
    ("scalar or vector", "scalar or instant vector"),
    ("an vector selector or matrix selector", "an instant vector selector or range vector selector"),
];

/// What the library says; it gives no place.
fn readable(error: &str) -> PromqlError {
    // Values of matchers are not those that were written.
    let reason =
        error.split_once(" twice: ").map_or_else(|| error.to_owned(), |(start, _)| format!("{start} twice"));
    let reason = WORDS.iter().fold(reason, |reason, (from, to)| reason.replace(from, to));
    PromqlError::bad(format!("parse error: {reason}"))
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

#[cfg(test)]
mod tests;
